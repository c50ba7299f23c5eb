/**
 * Promise: what surrounds the threads is reported too: other processes that keep root, a copy of the package, the
 * inspector. And the rehearsal disturbs nothing.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants as flags, openSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import { live } from './live'
import { common, hardened, settled, tasks } from './outside'
import {
  copy,
  filtered,
  folder,
  KCMP,
  KCMP_VM,
  loadIds,
  loadThreads,
  type Options,
  type Subject,
  start,
} from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

live('two copies of the package: what one has promised the other knows', ['root', 'cc'], async (t) => {
  const other = join(copy(), 'dist/index.js')
  const subject = await start(t)
  await loadIds(t, subject)
  await subject.ask('startWorkers', 1)
  t.match(await subject.ask('auditByCopy', other), { promise: null })
  await subject.ask('harden', { ...options, capabilities: 'cap_setgid+ep' })
  const byBoth = async () => [(await subject.ask('audit')).report, await subject.ask('auditByCopy', other)]
  for (const report of await byBoth())
    t.match(report, { promise: { groups: '', permitted: 'cap_setgid' }, discrepancies: [] })
  t.equal(await subject.ask('native', 'setgroups', 4), 0)
  for (const { discrepancies } of await byBoth()) {
    t.equal(discrepancies.length, tasks(subject.pid).length)
    t.match(discrepancies[0], { tid: subject.pid, field: 'groups', wanted: '', found: '4' })
  }
  t.match(
    await subject.ask('askWorker', 0, 'audit'),
    { discrepancies: [{ field: 'groups' }] },
    'a Worker of the same copy',
  )
  const ignorant = (await subject.ask('askWorker', 0, 'auditByCopy', other)) as object
  t.match(ignorant, { promise: null })
  t.notOk('discrepancies' in ignorant, 'a Worker of the other copy does not say that there are none')
})

live('a child that a Worker starts after the first look', ['root', 'strace'], async (t) => {
  // main is held where the rehearsing child has ended
  const slow = ['-e', 'trace=wait4', '-e', 'inject=wait4:delay_enter=300000']
  const subject = await start(t, { wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...slow] })
  await subject.ask('startWorkers', 1)
  t.equal(await subject.ask('askWorker', 0, 'startInRehearsal', subject.pid), 'watching')
  const { report } = await subject.ask('harden', options)
  const pid = (await subject.ask('askWorker', 0, 'started')) as number
  t.match(common(pid).uid, '0 0 0 0', 'it is root, and stays it')
  t.match(report.findings[0], {
    code: 'HARDEN_CHILDREN_ROOT',
    level: 'danger',
    message: new RegExp(`: ${pid} \\(cat\\)$`),
  })
})

const kcmpIs: [title: string, how: (t: Test) => Options][] = [
  ['', () => ({})],
  [', and kcmp(2) is refused', (t) => ({ wrapper: filtered(t, KCMP, constants.errno.EPERM) })],
  [', and kcmp(2) kills', (t) => ({ wrapper: filtered(t, KCMP, 0) })],
  // of another process, kcmp(2) waits for an execve(2), which any user can keep from ending
  [', and it may not be compared', (t) => ({ wrapper: filtered(t, KCMP, 0, KCMP_VM) })],
]
for (const [title, how] of kcmpIs)
  for (const sibling of [false, true])
    live(`a ${sibling ? 'sibling' : 'child'} that shares the memory${title}`, ['root', 'cc'], async (t) => {
      const subject = await start(t, how(t))
      await loadThreads(t, subject)
      const pid = (await subject.ask('native', 'startSharing', sibling)) as number
      t.equal(common(pid).uid, '0 0 0 0')
      const before = await settled(subject.pid)
      t.match(await subject.refusal('harden', options), {
        code: 'ERR_HARDEN_SHARED_MEMORY',
        step: 'shared memory',
        tid: pid,
        found: `${pid}`,
        remedy: /CLONE_VM/,
      })
      t.same(await settled(subject.pid), before, 'nothing has changed')
      await subject.ask('native', 'stopSharing')
      while (tasks(pid).some(({ permitted }) => permitted) && !isZombie(pid)) await new Promise(setImmediate)
      await subject.ask('harden', options)
      t.same(common(subject.pid), hardened)
    })

const isZombie = (pid: number): boolean => /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))

/** SigIgn of proc_pid_status(5); SIGUSR1 is bit 9. */
const ignoresSigusr1 = (pid: number): boolean => {
  const [, mask = '0'] = /^SigIgn:\t([\da-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return ((BigInt(`0x${mask}`) >> 9n) & 1n) === 1n
}

live('a listener of SIGUSR1 for which Node has installed no handler', ['root'], async (t) => {
  const without = await start(t)
  await without.ask('listenInVain')
  process.kill(without.pid, 'SIGUSR1')
  while ((await without.ask('inspectorUrl')) === null);
  t.same(without.signals, [], 'the signal opens the inspector')

  const subject = await start(t)
  await subject.ask('listenInVain')
  await subject.ask('harden', options)
  t.ok(ignoresSigusr1(subject.pid))
  process.kill(subject.pid, 'SIGUSR1')
  await subject.ask('warmPool', 4)
  t.equal(await subject.ask('inspectorUrl'), null)
  t.same((await subject.ask('audit')).report.discrepancies, [])
})

live('audit() tells of an inspector that opens afterwards', ['root'], async (t) => {
  for (const allowInspector of [false, true]) {
    const subject = await start(t)
    const differs = async (): Promise<object[]> => (await subject.ask('audit')).report.discrepancies
    await subject.ask('harden', { ...options, allowInspector })
    t.same(await differs(), [])
    await subject.ask('openInspector')
    const found = [{ tid: subject.pid, field: 'inspector', wanted: 'closed', found: await subject.ask('inspectorUrl') }]
    t.match(await differs(), allowInspector ? [] : found)
    t.equal((await differs()).length, allowInspector ? 0 : 1)
    await subject.ask('closeInspector')
    t.same(await differs(), [])
  }
})

live('audit() tells of SIGUSR1 that has its default action again', ['root'], async (t) => {
  const subject = await start(t)
  const differs = async (): Promise<object[]> => (await subject.ask('audit')).report.discrepancies
  await subject.ask('harden', options)
  await subject.ask('listenForSigusr1')
  t.same(await differs(), [], "the application's own handler")
  await subject.ask('listenNoMore')
  t.notOk(ignoresSigusr1(subject.pid))
  const found = await differs()
  t.match(found, [{ tid: subject.pid, field: 'SIGUSR1', wanted: 'ignored', found: 'default' }])
  t.equal(found.length, 1)
})

const opensAFile = (pid: number): boolean => readFileSync(`/proc/${pid}/syscall`, 'latin1').startsWith('257 ') // openat

live('a FIFO that is to be read: its writer goes on waiting for a reader', ['root'], async (t) => {
  const path = folder(t)
  const [fifo, text] = [join(path, 'fifo'), join(path, 'text')]
  writeFileSync(text, 'for a reader')
  execFileSync('mkfifo', ['-m', '644', fifo])
  const writer: ChildProcess = spawn('sh', ['-c', 'exec cat "$1" >"$2"', 'sh', text, fifo], { stdio: 'ignore' })
  const ended = once(writer, 'exit')
  t.teardown(() => writer.kill('SIGKILL'))
  while (!opensAFile(writer.pid as number)) await new Promise(setImmediate)
  const subject: Subject = await start(t)
  await subject.ask('harden', { ...options, rehearse: { read: [fifo] } })
  t.ok(opensAFile(writer.pid as number), 'it waits still')
  const reader = openSync(fifo, flags.O_RDONLY)
  const read = Buffer.alloc(64)
  t.equal(read.toString('latin1', 0, readSync(reader, read)), 'for a reader')
  closeSync(reader)
  t.same(await ended, [0, null])
})

live('a port that is rehearsed: another process listens there meanwhile', ['root', 'strace'], async (t) => {
  // the rehearsing child is held where it has bound the port, in IPv4 and in IPv6
  const slow = ['-e', 'trace=bind', '-e', 'inject=bind:delay_exit=300000']
  const subject = await start(t, { wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...slow] })
  let over = false
  const done = subject.ask('harden', { ...options, rehearse: { bind: [2525] } }).finally(() => {
    over = true
  })
  let times = 0
  for (; !over; times++)
    for (const host of ['127.0.0.1', '::1', '0.0.0.0', '::']) {
      const server = createServer().listen(2525, host)
      await once(server, 'listening')
      await once(server.close(), 'close')
      await turn() // both events come before the loop polls: the answer has to be read, too
    }
  await done
  t.ok(times > 1, `${times} times`)
  t.same(common(subject.pid), hardened)
})
