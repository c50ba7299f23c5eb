/** Promise: what was named still works, and nothing else does. Powers, not bits; every "cannot" has its "could before". */
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { CAP_NET_BIND_SERVICE, mask, NONE } from './outside'
import { loadIds, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const SHADOW = '/etc/shadow'
const HOST = '127.0.0.25'

live('port 25 is closed and opened again, by the main thread and by a Worker', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  await subject.ask('listen', 25, HOST)
  await subject.ask('harden', options)
  await subject.ask('close')
  await subject.ask('listen', 25, HOST)
  await subject.ask('close')
  t.equal(await subject.ask('askWorker', 0, 'listen', 25, HOST), 25, 'a Worker from before')
  await subject.ask('startWorkers', 1)
  t.equal(await subject.ask('askWorker', 1, 'listen', 25, '127.0.0.26'), 25, 'a Worker from afterwards')
})

live('without the capability port 25 is lost, to the main thread and to a Worker', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  await subject.ask('listen', 25, '127.0.0.27')
  await subject.ask('harden', { user: 'nobody' })
  await subject.ask('close')
  t.match(await subject.refusal('listen', 25, '127.0.0.27'), { code: 'EACCES', syscall: 'listen' })
  t.match(await subject.refusal('askWorker', 0, 'listen', 25, '127.0.0.27'), { code: 'EACCES' })
})

live("root's files: sync, callback, promise and Worker give the same answer", ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  const ways = ['readSync', 'readCallback', 'readPromise'] as const
  for (const way of ways) t.ok(await subject.ask(way, SHADOW), `${way} before`)
  t.ok(await subject.ask('askWorker', 0, 'read', SHADOW), 'Worker before')
  await subject.ask('harden', options)
  // more often than the pool has threads
  for (let round = 0; round < 8; round++)
    for (const way of ways) t.equal((await subject.refusal(way, SHADOW)).code, 'EACCES', `${way} after`)
  t.equal((await subject.refusal('askWorker', 0, 'read', SHADOW)).code, 'EACCES', 'Worker after')
  await subject.ask('startWorkers', 1)
  t.equal((await subject.refusal('askWorker', 1, 'read', SHADOW)).code, 'EACCES', 'Worker from afterwards')
})

live('a group that could read them does not stay', ['root', 'setpriv'], async (t) => {
  // what setgid + setuid leave behind: the supplementary groups
  const drop = async (t: Test, harden: boolean): Promise<unknown> => {
    const ids = harden ? [] : ['--regid=65534', '--reuid=65534']
    const subject = await start(t, { wrapper: ['setpriv', '--groups=0,42', ...ids, '--'] })
    if (harden) await subject.ask('harden', options)
    return subject.ask('readSync', SHADOW).then(
      () => 'read',
      (refusal) => refusal.fields.code,
    )
  }
  t.equal(await drop(t, false), 'read', 'setgid + setuid')
  t.equal(await drop(t, true), 'EACCES', 'harden')
})

live('nobody gets back to root', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadIds(t, subject)
  t.equal(await subject.ask('native', 'seteuid', 65534), 0)
  t.equal(await subject.ask('native', 'seteuid', 0), 0) // it could, as long as root is the saved id
  await subject.ask('harden', options)
  for (const call of ['setuid', 'seteuid', 'setgid', 'setegid', 'setgroups'])
    t.equal(await subject.ask('native', call, 0), constants.errno.EPERM, call)
})

const capabilitySets = (status: string) =>
  status.match(/^Cap(?:Inh|Prm|Eff|Amb):\s+\S+$/gm)?.map((line) => line.split('\t')[1])

live('a child has no capability', ['root'], async (t) => {
  const subject = await start(t)
  const own = () => subject.ask('run', 'cat', ['/proc/self/status'])
  t.notSame(capabilitySets((await own()).stdout), [NONE, NONE, NONE, NONE], 'before')
  await subject.ask('harden', options)
  const { stdout } = await own()
  t.same(capabilitySets(stdout), [NONE, NONE, NONE, NONE])
  t.match(stdout, `CapBnd:\t${mask(CAP_NET_BIND_SERVICE)}`)
  t.match(stdout, 'Uid:\t65534\t65534\t65534\t65534')
  t.match(stdout, 'NoNewPrivs:\t1')
})

/** Reads /etc/shadow by a copy of cat that root owns and any user may run with root's user id. */
async function setUserIdRead(t: Test, noNewPrivileges: boolean): Promise<{ status: number | null }> {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  copyFileSync('/bin/cat', join(folder, 'cat'))
  chmodSync(join(folder, 'cat'), 0o4755)
  const subject = await start(t)
  await subject.ask('harden', { ...options, noNewPrivileges })
  return subject.ask('run', join(folder, 'cat'), [SHADOW])
}

live('a set-user-ID program gains nothing', ['root'], async (t) => {
  t.equal((await setUserIdRead(t, true)).status, 1)
  t.equal((await setUserIdRead(t, false)).status, 0, 'unless noNewPrivileges is false')
})

live('the process cannot be looked into by its own user', ['root', 'setpriv'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', options)
  // the owner of these is root while the process is not dumpable (proc(5))
  const other = await start(t, {
    wrapper: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'],
  })
  t.equal((await other.refusal('readSync', `/proc/${subject.pid}/environ`)).code, 'EACCES')
  t.equal((await other.refusal('readSync', `/proc/${subject.pid}/maps`)).code, 'EACCES')
  const third = await start(t, { wrapper: ['setpriv', '--regid=65534', '--keep-groups', '--'] })
  t.ok(await third.ask('readSync', `/proc/${subject.pid}/maps`), 'root can')
})
