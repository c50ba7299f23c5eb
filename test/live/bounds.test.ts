/**
 * Promise: no wait is without a bound. A file system that does not answer, a pipe that another process holds, more groups than
 * can be read in a second: each leads to a refusal, to the end of the process, or is not waited for. (test/evidence/bounds.test.ts
 * has what takes longer.)
 */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { FileSystem } from './fuse'
import { live } from './live'
import { common, hardened, roots, settled } from './outside'
import { tracer } from './strace'
import { filtered, folder, loadThreads, Refusal, type Subject, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const dead = ['root', 'fuse', 'nsenter', 'cc'] as const

/** Its file open, by a shell that leaves it so. */
const withFile = (system: FileSystem, redirection: string): string[] => [
  ...system.wrapper,
  ...['sh', '-c', `exec "$@" ${redirection}${system.file}`, 'sh'],
]

live('a file is open whose file system does not answer', [...dead], async (t) => {
  const system = await FileSystem.mount(t)
  const jail = folder(t)
  const subject = await start(t, { wrapper: withFile(system, '7<') })
  await subject.ask('warmPool', 4)
  await dies(system, subject)
  await system.bounded(t, subject.ask('harden', { ...options, chroot: jail }))
  t.same(common(subject.pid), hardened)
  t.same(roots(subject.pid), [`${jail} ${jail}`])
  t.notOk(system.wasAsked, 'nothing of it has been asked')
})

/** The same without a path to it: whether the new user can exchange it is not asked then. */
const withFileUnmounted = (system: FileSystem, redirection: string): string[] => [
  ...[...system.wrapper, 'unshare', '--mount', 'sh', '-c'],
  ...[`exec ${redirection}${system.file} && umount --lazy ${system.folder} && exec "$@"`, 'sh'],
]

live('a log is open whose file system does not answer', [...dead], async (t) => {
  const system = await FileSystem.mount(t)
  const subject = await start(t, { wrapper: withFile(system, '7>>') })
  const before = await settled(subject.pid)
  await dies(system, subject)
  t.match(await system.bounded(t, subject.refusal('harden', options)), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'exchange',
    errno: -constants.errno.ETIMEDOUT,
    found: system.file,
    remedy: /file system answers/,
  })
  // what the kernel does not let go is left behind until then, and the next call reaps it
  await system.unmount()
  do await subject.ask('plan', options)
  while (readFileSync(`/proc/${subject.pid}/task/${subject.pid}/children`, 'latin1'))
  const after = JSON.stringify(await settled(subject.pid)).replace(`${system.file} (deleted)`, system.file)
  t.equal(after, JSON.stringify(before), 'nothing has changed')
})

/** What this file system does not have the kernel has learned by then, and asks no more. */
async function dies(system: FileSystem, subject: Subject): Promise<void> {
  await subject.ask('plan', options)
  await system.die()
}

/** How it ends when a step fails in its main thread alone. */
async function endOf(t: Test, system: FileSystem, subject: Subject, main = subject.pid) {
  await tracer(t, main, 'setresuid', 'error=EAGAIN')
  const answer = await system.bounded(
    t,
    subject.ask('harden', options).catch((error: Error) => error),
  )
  if (!(answer instanceof Error) || answer instanceof Refusal) throw new Error(`it goes on: ${JSON.stringify(answer)}`)
  return system.bounded(t, subject.ended)
}

live('the end, with its last line to a file whose file system does not answer', [...dead, 'strace'], async (t) => {
  const system = await FileSystem.mount(t)
  const subject = await start(t, { wrapper: withFileUnmounted(system, '2>>') })
  await subject.ask('warmPool', 4)
  await subject.ask('listen', 25, '127.0.0.70')
  await dies(system, subject)
  t.equal((await endOf(t, system, subject)).signal, 'SIGABRT')
  await system.says('asked')
  const next = createServer().listen(25, '127.0.0.70')
  await once(next, 'listening')
  t.pass('what was to write it holds no listener')
  next.close()
})

live('the same as process 1 of a pid namespace, which no line is worth', [...dead, 'strace'], async (t) => {
  const system = await FileSystem.mount(t)
  const wrapper = [
    ...withFileUnmounted(system, '2>>'),
    'unshare',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    '--',
  ]
  const subject = await start(t, { wrapper })
  const init = Number(readFileSync(`/proc/${subject.pid}/task/${subject.pid}/children`, 'latin1'))
  await dies(system, subject)
  t.equal((await endOf(t, system, subject, init)).code, 134)
  t.notOk(system.wasAsked)
})

live('another thread forks, and its children hold the pipe of the rehearsal', ['root', 'cc', 'strace'], async (t) => {
  const log = join(folder(t), 'log')
  // main is held between the pipe and the child of its own; the other thread forks by clone3(2)
  const fault = ['-e', 'trace=clone,kill', '-e', 'inject=clone:delay_enter=200000']
  const subject = await start(t, { wrapper: ['strace', '-D', '-f', '-qq', '-o', log, ...fault] })
  await loadThreads(t, subject)
  await subject.ask('native', 'startForking')
  const { report } = await subject.ask('harden', options)
  t.match(report.findings, [{ code: 'HARDEN_CHILDREN_ROOT' }])
  t.same(common(subject.pid), hardened)
  await subject.ask('native', 'stop')
  t.match(readFileSync(log, 'latin1'), /clone\(/)
  t.notMatch(readFileSync(log, 'latin1'), /kill\(/, 'the rehearsing child ended, and that was seen at once')
})

/** More than are compared in a second, in a process of so many threads. */
const GROUPS = Array.from({ length: 65536 }, (_, index) => index + 1)
const crowd = { env: { UV_THREADPOOL_SIZE: '32' } }
const tooMany = {
  code: 'ERR_HARDEN_NOT_PERMITTED',
  option: 'supplementalGroups',
  step: 'compare',
  remedy: /fewer groups/,
}

live('so many groups in so many threads are refused', ['root'], async (t) => {
  const subject = await start(t, crowd)
  await subject.ask('warmPool', 32)
  const before = await settled(subject.pid)
  t.match(await subject.refusal('harden', { ...options, supplementalGroups: GROUPS }), tooMany)
  t.same(await settled(subject.pid), before, 'nothing has changed')
  await subject.ask('harden', { ...options, supplementalGroups: GROUPS.slice(0, 100) })
  t.equal(common(subject.pid).groups, GROUPS.slice(0, 100).join(' '))
})

live('a process that has so many now', ['root', 'python3'], async (t) => {
  const python = 'import os, sys; os.setgroups(range(1, 65537)); os.execvp(sys.argv[1], sys.argv[1:])'
  const subject = await start(t, { ...crowd, wrapper: ['python3', '-c', python] })
  await subject.ask('warmPool', 32)
  t.match(await subject.refusal('harden', options), tooMany)
  t.equal(common(subject.pid).groups, GROUPS.join(' '), 'nothing has changed')
})

live('one thread has a seccomp filter more than the others', ['root', 'cc'], async (t) => {
  const REBOOT = 169 // of x86-64
  const subject = await start(t, { wrapper: filtered(t, REBOOT, constants.errno.EPERM) })
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startFiltered')
  const before = await settled(subject.pid)
  t.match(await subject.refusal('harden', { ...options, supplementalGroups: ['mail'] }), {
    code: 'ERR_HARDEN_THREAD_DIFFERS',
    step: 'compare',
    tid,
    message: /: Seccomp_filters: /,
    wanted: '1',
    found: '2',
  })
  t.same(await settled(subject.pid), before, 'nothing has changed')
  await subject.ask('native', 'stop')
  await subject.ask('harden', { ...options, supplementalGroups: ['mail'] })
  t.same(common(subject.pid), { ...hardened, groups: '8' })
})
