/**
 * Promise: a state in between ends the process, whatever the state is and wherever its last line goes. Faults are
 * injected from outside, into one thread alone, past the rehearsal: strace without -f traces one task.
 * (test/live/faults.test.ts tries them all.)
 */
import { closeSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { HardenOptions } from 'privdrop'
import type { Test } from 'tap'
import { live } from './live'
import { common, hardened, roots, tasks } from './outside'
import { inject, tracer } from './strace'
import { type Ending, fill, folder, type Options, piped, Refusal, type Subject, start } from './subject'

const options = { user: 'nobody', supplementalGroups: ['mail'], capabilities: 'cap_net_bind_service+ep' }

/** How it ends; that it goes on is an error here. */
async function ending(subject: Subject, asked: HardenOptions = options): Promise<Ending> {
  const answer = await subject.ask('harden', asked).catch((error: Error) => error)
  if (!(answer instanceof Error) || answer instanceof Refusal) throw new Error(`it goes on: ${JSON.stringify(answer)}`)
  return subject.ended
}

/** The last line, whole, and nothing before or after it. */
function isLastLine(t: Test, line: string, pattern: RegExp): void {
  t.match(line, new RegExp(`^privdrop: fatal: ${pattern.source}\n$`))
}

const half = 'the process ends because it would be half privileged'
const inHalf = `wanted success, found errno 11; ${half}`

const other = (subject: Subject): number =>
  tasks(subject.pid)
    .map(({ tid }) => tid)
    .filter((tid) => tid !== subject.pid)
    .pop() as number

for (const step of ['setgroups', 'setresgid', 'setresuid', 'capset']) {
  live(`${step} fails in the main thread alone`, ['root', 'strace'], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    await tracer(t, subject.pid, step, 'error=EAGAIN')
    const { signal, stderr } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    isLastLine(t, stderr, new RegExp(`step '${step}' \\(${step}\\) in thread ${subject.pid}: ${inHalf}`))
  })

  live(`${step} fails in another thread alone`, ['root', 'strace'], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    const tid = other(subject)
    await tracer(t, tid, step, 'error=EAGAIN')
    const { signal, stderr } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    isLastLine(t, stderr, new RegExp(`step '${step}' \\(${step}\\) in thread ${tid}: ${inHalf}`))
  })
}

const NOBODY = '65534 65534 65534 65534'
for (const [call, wanted, found] of [
  ['setgroups', 'Groups: 8 ', 'Groups: +'],
  ['setresgid', `Gid: ${NOBODY}`, 'Gid: 0 0 0 0'],
  ['setresuid', `Uid: ${NOBODY}`, 'Uid: 0 0 0 0'],
] as const)
  live(`${call} claims to have succeeded, in another thread alone`, ['root', 'strace'], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    const tid = other(subject)
    await tracer(t, tid, call, 'retval=0')
    const { signal, stderr } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    isLastLine(
      t,
      stderr,
      new RegExp(`step 'read back' \\(read\\) in thread ${tid}: wanted ${wanted}, found ${found}; ${half}`),
    )
  })

live('a fault in every thread is found in the rehearsal', ['root', 'strace'], async (t) => {
  const subject = await start(t, {
    wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...inject('setresuid', 'error=EAGAIN')],
  })
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'setresuid', errno: -11 })
})

/** Runs this before anything else in the subject. */
function preload(t: Test, source: string): Options {
  const file = join(folder(t), 'preload.js')
  writeFileSync(file, source)
  return { execArgv: ['--require', file] }
}

live('process 1 of a pid namespace', ['root', 'strace'], async (t) => {
  const subject = await start(t, { wrapper: ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--'] })
  const init = Number(readFileSync(`/proc/${subject.pid}/task/${subject.pid}/children`, 'latin1'))
  await tracer(t, init, 'setresuid', 'error=EAGAIN')
  const { code, stderr } = await ending(subject)
  t.equal(code, 134, 'no signal from inside can end it')
  isLastLine(t, stderr, new RegExp(`step 'setresuid' \\(setresuid\\) in thread 1: ${inHalf}`))
})

/** A call that fails, and one whose lack of effect is found in the comparison. */
const faults: [call: string, fault: string][] = [
  ['setresuid', 'error=EAGAIN'],
  ['setgroups', 'retval=0'],
]

for (const [call, fault] of faults) {
  const ends = async (t: Test, subject: Subject) => {
    await tracer(t, subject.pid, call, fault)
    const { signal, stderr } = await ending(subject)
    t.equal(signal, 'SIGABRT')
    t.equal(stderr, '')
  }

  live(`stderr is a full pipe that nobody reads: ${call} ${fault}`, ['root', 'strace'], async (t) => {
    const [subject, end] = await piped(t)
    fill(end)
    await ends(t, subject)
    closeSync(end)
  })

  live(`stderr is a pipe whose reader has gone: ${call} ${fault}`, ['root', 'strace'], async (t) => {
    const [subject, end] = await piped(t)
    closeSync(end)
    await ends(t, subject)
  })

  live(`the same, and SIGPIPE has its default action: ${call} ${fault}`, ['root', 'strace'], async (t) => {
    // what libuv leaves behind when the last listener goes
    const [subject, end] = await piped(
      t,
      preload(t, `process.once('SIGPIPE', () => {}); process.removeAllListeners('SIGPIPE')`),
    )
    closeSync(end)
    await ends(t, subject)
  })

  live(`stderr is closed: ${call} ${fault}`, ['root', 'strace'], async (t) => {
    await ends(t, await start(t, preload(t, `require('node:fs').closeSync(2)`)))
  })
}

// What harden() calls when every thread is proved, and an application may have replaced.
const replaced = ['process.chdir', 'process.emitWarning']
for (const [name, body] of [
  ['an exception', `throw new Error('odd')`],
  ['an exception that is none', 'throw undefined'],
  ['an exception that throws', 'throw { get message() { throw 1 } }'],
  ['recursion without end', 'process.chdir()'],
] as const)
  live(`${name} after the proof changes nothing`, ['root'], async (t) => {
    const say = `const called = new Set()
      const say = (name) => called.has(name) || (called.add(name), process.emit('warning', new Error(name)))`
    const replace = replaced.map((call) => `${call} = () => { say('${call}'); ${body} }`)
    // a danger, and so a warning
    const danger = `process.execArgv.push('--heapsnapshot-signal=SIGUSR2')`
    const subject = await start(t, preload(t, [say, danger, ...replace].join('\n')))
    const chroot = folder(t)
    const { report } = await subject.ask('harden', { ...options, chroot })
    const { warnings, published } = await subject.ask('heard')
    t.match(
      warnings,
      replaced.map((message) => ({ message })),
      'they were called',
    )
    t.same(common(subject.pid), { ...hardened, groups: '8' })
    t.same(roots(subject.pid), [`${chroot} ${chroot}`])
    t.same(published, [report])
  })
