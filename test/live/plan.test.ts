/** Promise: plan() says what harden() would do and whether it would be refused, changes nothing, and works for any
 * user. */
import { join } from 'node:path'
import { live } from './live'
import { common, settled } from './outside'
import { start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep', supplementalGroups: ['mail'] }

live('what it says is what harden() makes true', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await subject.ask('listen', 0, '127.0.0.1')
  await subject.ask('plan', options) // loads what is loaded once
  const before = await settled(subject.pid)
  const { made, table, frozen } = await subject.ask('plan', options)
  t.same(await settled(subject.pid), before, 'nothing has changed')
  t.match(made, {
    platform: 'linux',
    user: { real: 65534, effective: 65534, saved: 65534, fs: 65534 },
    groups: [8],
    capabilities: { permitted: ['cap_net_bind_service'], bounding: ['cap_net_bind_service'], ambient: [] },
    noNewPrivileges: true,
    refusals: [],
  })
  t.same(
    made.steps,
    [...['bounding', 'setgroups', 'setresgid', 'keepcaps', 'setresuid', 'capset', 'keepcaps back', 'no_new_privs']].map(
      (name) => ({ name, rehearsed: true }),
    ),
  )
  t.ok(frozen)
  t.match(table, /^permitted +cap_net_bind_service$/m)
  t.match(table, /^steps +bounding, setgroups, .*no_new_privs$/m)
  const { report } = await subject.ask('harden', options)
  const { steps: _steps, refusals: _refusals, ...promised } = made
  const { timings: _timings, threads: _threads, ...found } = report
  t.same(found, promised)
})

live('in a Worker, and when all is done', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  t.match(await subject.ask('askWorker', 0, 'plan', options), { refusals: [], groups: [8] })
  await subject.ask('harden', options)
  const { made } = await subject.ask('plan', options)
  const twice = { code: 'ERR_HARDEN_ALREADY_APPLIED' }
  t.match(made, { refusals: [twice], groups: [8] }, 'it is done once')
  t.equal(made.refusals.length, 1, 'and nothing else is refused')
  t.match((await subject.ask('plan', { user: 'mail' })).made.refusals, [twice, { step: 'setresgid' }])
  t.match(common(subject.pid), { uid: '65534 65534 65534 65534' })
})

live('a Worker that is terminated in the middle of it ends alone', ['root'], async (t) => {
  const subject = await start(t)
  t.equal(await subject.ask('terminate', 'plan', 150), 150)
  await subject.ask('harden', options)
})

live('for a plain user: as far as it could be rehearsed', ['root', 'setpriv'], async (t) => {
  const plain = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--']
  const subject = await start(t, { wrapper: plain })
  const before = await settled(subject.pid)
  const { made, table } = await subject.ask('plan', { user: 'mail', capabilities: 'cap_net_bind_service+ep' })
  t.same(await settled(subject.pid), before)
  t.match(made.refusals, [
    { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'setresgid', syscall: 'setresgid', errno: -1, remedy: /getuid/ },
  ])
  t.equal(made.refusals.length, 1)
  t.same(
    made.steps.map(({ name, rehearsed }: { name: string; rehearsed: boolean }) => [name, rehearsed]),
    [
      ['setresgid', false],
      ['setresuid', false],
      ['capset', false],
      ['no_new_privs', false],
    ],
  )
  t.match(table, /^steps +not rehearsed: setresgid, /m)
  t.match(table, /^refused +ERR_HARDEN_NOT_PERMITTED: /m)
  t.equal((await subject.refusal('harden', { user: 'mail' })).step, 'setresgid', 'harden() throws the same')
})

live('all that would be refused, not only the first', ['root'], async (t) => {
  const subject = await start(t)
  const root = join(__dirname, '../..')
  await subject.ask('opendir', '/etc')
  await subject.ask('openInspector')
  const before = await settled(subject.pid)
  const { made } = await subject.ask('plan', { ...options, chroot: root, rehearse: { read: ['/no/such/file'] } })
  t.same(await settled(subject.pid), before, 'nor is a descriptor left')
  t.match(made.refusals, [{ code: 'ERR_HARDEN_OPEN_DIRECTORY', found: '/etc' }, { code: 'ERR_HARDEN_INSPECTOR' }])
  await subject.ask('closeInspector')
  await subject.ask('closedir')
  const other = await subject.ask('plan', { ...options, chroot: root, rehearse: { read: ['/no/such/file'] } })
  t.match(other.made.refusals, [{ code: 'ERR_HARDEN_ACCESS', found: '/no/such/file' }])
  t.ok(other.made.steps.every(({ rehearsed }: { rehearsed: boolean }) => rehearsed))
})

live('what is wrong with the options is thrown', ['root'], async (t) => {
  const subject = await start(t)
  for (const [asked, code] of [
    [{}, 'ERR_HARDEN_USER_REQUIRED'],
    [{ user: 'no-such-user' }, 'ERR_UNKNOWN_CREDENTIAL'],
    [{ user: 'nobody', capabilities: 'cap_no+ep' }, 'ERR_HARDEN_CAPABILITIES'],
    [{ user: 'nobody', rehearse: { read: ['relative'] } }, 'ERR_INVALID_ARG_VALUE'],
  ] as const)
    t.equal((await subject.refusal('plan', asked)).code, code)
})
