/** Promise: what harden() reports appears where Node's users expect it. */
import { live } from './live'
import { start } from './subject'

live('dangers are warnings, with their code; notes are not', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--bounding-set', '-setpcap', '--'] })
  await subject.ask('listen', 0, '127.0.0.1')
  const { report } = await subject.ask('harden', { user: 'root', capabilities: 'cap_net_bind_service+ep' })
  const { warnings } = await subject.ask('heard')
  t.match(report.findings, [
    { code: 'HARDEN_USER_ROOT', level: 'danger' },
    { code: 'HARDEN_BOUNDING_KEPT', level: 'note' },
  ])
  const [{ code, message, remedy }] = report.findings
  t.same(warnings, [{ name: 'PrivdropWarning', code, message, detail: remedy }])
})

live('the report is published once it is done, and not before', ['root'], async (t) => {
  const subject = await start(t)
  await subject.refusal('harden', { user: 'no-such-user' })
  t.same((await subject.ask('heard')).published, [])
  const { report } = await subject.ask('harden', { user: 'nobody' })
  t.same((await subject.ask('heard')).published, [report])
})

live('NODE_DEBUG=privdrop traces the decisions and the parts', ['root'], async (t) => {
  const subject = await start(t, { env: { NODE_DEBUG: 'privdrop' } })
  await subject.ask('harden', { user: 'nobody', rehearse: { read: ['/etc/passwd'] } })
  subject.kill()
  const { stderr } = await subject.ended
  for (const line of [
    "step 'chroot' is left out: no 'chroot' is asked for",
    "question 'read' '/etc/passwd' \\(rehearse\\.read\\[0\\]\\): yes",
    'steps: .*setresuid, capset, no_new_privs',
    'park: every thread was stopped at attempt [1-9]\\d*',
  ])
    t.match(stderr, new RegExp(`^PRIVDROP ${subject.pid}: ${line}$`, 'm'))
  for (const step of ['resolve', 'rehearse', 'park', 'apply', 'read back'])
    t.match(stderr, new RegExp(`^PRIVDROP ${subject.pid}: ${step}: \\d+ us$`, 'm'))
})
