/**
 * Promise: a state in between ends the process. Faults are injected from outside, into one thread alone, past the
 * rehearsal: strace without -f traces one task.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { live } from './live'
import { tasks } from './outside'
import { type Subject, start } from './subject'

const options = { user: 'nobody', supplementalGroups: ['mail'], capabilities: 'cap_net_bind_service+ep' }

/** strace(1), "Tampering": the system call is not made, and returns this. */
const inject = (call: string, fault: string) => ['-e', `trace=${call}`, '-e', `inject=${call}:${fault}`]

async function ending(subject: Subject): Promise<{ signal: unknown; line: string }> {
  subject.tell('harden', options)
  const { signal, stderr } = await subject.ended
  return { signal, line: stderr }
}

/** The last line, whole, and nothing after it. */
function isLastLine(t: Test, line: string, pattern: RegExp): void {
  t.match(line, pattern)
  t.match(line, /^privdrop: fatal: [^\n]*\n$/)
}

const steps: [step: string, call: string][] = [
  ['bounding', 'prctl'],
  ['setgroups', 'setgroups'],
  ['setresgid', 'setresgid'],
  ['setresuid', 'setresuid'],
  ['capset', 'capset'],
]

/** Attaches to this one thread. */
async function tracer(t: Test, tid: number, call: string, fault: string): Promise<ChildProcess> {
  const strace = spawn('strace', ['-p', String(tid), '-o', '/dev/null', ...inject(call, fault)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  t.teardown(() => strace.kill('SIGKILL'))
  await once(strace.stderr, 'data') // 'strace: Process 4711 attached'
  return strace
}

const other = (subject: Subject): number =>
  tasks(subject.pid)
    .map(({ tid }) => tid)
    .filter((tid) => tid !== subject.pid)
    .pop() as number

for (const [step, call] of steps) {
  // A thread is asked about its sets by more than 41 prctl calls, the main thread twice; the next 40 drop bits.
  const mainOnly = call === 'prctl' ? ':when=100' : ''
  const otherOnly = call === 'prctl' ? ':when=60' : ''

  live(`${step} fails in the main thread alone`, ['root', 'strace'], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    await tracer(t, subject.pid, call, `error=EAGAIN${mainOnly}`)
    const { signal, line } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    isLastLine(t, line, new RegExp(`step '${step}' \\(${call}\\) in thread ${subject.pid}: .*errno 11;`))
  })

  live(`${step} fails in another thread alone`, ['root', 'strace'], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    const tid = other(subject)
    await tracer(t, tid, call, `error=EAGAIN${otherOnly}`)
    const { signal, line } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    isLastLine(t, line, new RegExp(`step '${step}' \\(${call}\\) in thread ${tid}: .*errno 11;`))
  })
}

for (const [call, field, found] of [
  ['setgroups', 'groups', 'none'],
  ['setresgid', 'group', '0 0 0 0'],
  ['setresuid', 'user', '0 0 0 0'],
] as const)
  live(`${call} claims to have succeeded, in another thread alone`, ['root', 'strace'], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    const tid = other(subject)
    await tracer(t, tid, call, 'retval=0')
    const { signal, line } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    isLastLine(t, line, new RegExp(`thread ${tid} \\(node\\): ${field}: wanted [0-9 ]+, found ${found};`))
  })

live('a fault in every thread is found in the rehearsal', ['root', 'strace'], async (t) => {
  const subject = await start(t, {
    wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...inject('setresuid', 'error=EAGAIN')],
  })
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'setresuid', errno: -11 })
})
