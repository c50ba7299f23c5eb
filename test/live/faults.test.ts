/**
 * Promise: either harden() throws and nothing has changed, or it is done; a failure in between ends the process. Here
 * each system call that it makes fails in turn, from outside: strace(1), "Tampering". `error=`: the call is not made
 * and fails; `retval=0`: the call is not made and claims success, which the read-back must detect.
 *
 * The calls are not listed here but recorded first, thread by thread. The log of each run tells which call was hit, and
 * on which side of the line.
 *
 * Left out: what no kernel does, and what therefore has no right outcome. These are a faked success of a call that only
 * fills in memory, makes a descriptor, a mapping or a process, or blocks signals; a FUTEX_WAKE that fails; and with it
 * the main thread's FUTEX_WAIT, of which there are as many as it takes. Also the rehearsing child's mmap and munmap:
 * such a fault hits each thread, and V8's own threads end the process when these fail.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { CAP_NET_BIND_SERVICE, mask, roots, type Snapshot, settled, tasks } from './outside'
import { Refusal, type Subject, start } from './subject'

/** Which thread is traced: main and the rehearsing child and all the others, or one alone. */
type Scope = 'all' | 'main' | 'another'
/** 'observe' to 'park' is before the line; 'after' is when every thread is proved. */
type Phase = 'observe' | 'plan' | 'descriptors' | 'hazards' | 'rehearse' | 'park' | 'past' | 'after'
type Outcome = 'refused' | 'aborted' | 'done'

/** A call as the log has it: the nth of its kind in that thread since strace was attached. */
interface Call {
  tid: number
  name: string
  nth: number
  label: string
  phase: Phase | undefined
  injected: boolean
  text: string
}

const above = mkdtempSync(join(tmpdir(), 'privdrop-'))
const jail = join(above, 'jail')
mkdirSync(jail)
chmodSync(jail, 0o777)
process.on('exit', () => rmSync(above, { recursive: true }))

/** Options for which every step is due. */
const options = {
  user: 'nobody',
  supplementalGroups: ['mail'],
  capabilities: 'cap_net_bind_service+ep',
  ambientCapabilities: 'cap_net_bind_service',
  chroot: jail,
  rehearse: { read: ['/'], write: ['/'], bind: [25] },
}

/** Calls that tell the phases apart. */
const markers = ['openat', 'mmap', 'rt_sigaction', 'rt_sigprocmask', 'prctl', 'clone']

/** Calls that cannot fail. */
const infallible = ['gettid', 'getpid', 'umask']

/** Calls that Node itself makes, at any time. */
const foreign = ['epoll_pwait', 'recvmsg', 'write', 'madvise', 'mprotect', 'brk', 'restart_syscall', 'rt_sigreturn']

/** Calls whose success can be faked with a plausible answer. */
const canPretend = (call: Call): boolean =>
  /^(?:prctl|capset|set|getres|getgroups|capget|kcmp|fchdir|chroot|chdir|getdents64|read$|close|lseek|munmap|faccessat|rt_tgsig)/.test(
    call.name,
  ) || call.text.startsWith('rt_sigaction(SIGUSR1')

/** Calls whose failure does no harm, so that harden() may continue: each with its reason. */
const harmless: [pattern: RegExp, reason: string][] = [
  [/: munmap/, 'memory stays'],
  [/: futex/, 'the wait is repeated, and who is not woken wakes by itself'],
  [/: kcmp/, 'it is not to be had everywhere; what the threads share is read back'],
  [/^park: (?:rt_tgsigqueueinfo|getdents64|lseek|statx STATX_NLINK)/, 'all are called once more'],
  [/^descriptors: getsockopt/, 'a socket that is none of those that are worth knowing of'],
  [/^(?:descriptors|park): close/, 'of a descriptor that was read: it is closed all the same'],
  [/^(?:descriptors|park): read/, 'what an io_uring is (Node 22 and later have one in each loop) is read once more'],
  [/^hazards: /, 'a finding is left out'],
  [
    /^rehearse: (?:fchdir|fcntl|faccessat2|statx STATX_TYPE)/,
    'that a descriptor would lead out or be closed to it is tried, and no more',
  ],
  [/^rehearse: poll/, 'the child has ended already'],
  [/^rehearse: close/, 'of a pipe: its end is waited for in vain'],
  [/^rehearse: exit_group/, 'it is repeated'],
  [/^plan: capget NULL/, 'libcap asks which version this is'],
  [/^(?:plan|descriptors|hazards): .+ of names /, 'another name service answers'],
  [/^plan: prctl PR_CAPBSET_READ/, 'libcap asks which capabilities there are'],
  [
    /^descriptors: (?:statx STATX_TYPE\|STATX_NLINK|fcntl|getpeername) error/,
    'a file or a socket that is worth a note is left out',
  ],
  [/^park: statx "TID\/task" error/, 'whether a process has more threads is then read from the folder itself'],
  [/^rehearse: \w+(?: \S+)? ahead error/, 'a finding is left out: what refuses a chroot has been said'],
  [/^park: mmap MAP_PRIVATE\|MAP_ANONYMOUS\|MAP_NORESERVE error/, 'a smaller probe is mapped'],
  [/^park: munmap error/, 'address space without memory stays'],
  [/^rehearse: wait4 helper error/, 'it has ended before the child went on, and would be reaped'],
  [/^after: /, 'every thread is proved'],
  [/^plan: close/, 'what is done with is left open'],
  [/^plan: (?:statx|readlink)/, 'of a descriptor that is no directory'],
  [/^rehearse: \w+ back error/, 'that it cannot be undone is what is wanted'],
]

const kernelErrors: Record<string, number> = constants.errno

/** What strace -y says of a descriptor. */
const descriptorPath = /(?<=\d|AT_FDCWD)<[^>]*>/g

/** The name service's files: the calls by which a C library reads them differ between versions. */
const ofNames = /^(?:\d+<|(?:AT_FDCWD<[^>]*>, )?")\/(?:etc|(?:usr\/)?lib)\//

/** V8 reserves memory as well, except where every thread is parked. */
const isOursAlone = /MAP_(?:SHARED|PRIVATE)\|MAP_ANONYMOUS, -1/
const isOurs = /MAP_(?:SHARED|PRIVATE)\|MAP_ANONYMOUS(?:\|MAP_NORESERVE)?, -1/

/** A folder by its descriptor, and a name in it: a path is walked. */
const component = /^\d+, "[^/"]+", /

function labelOf(name: string, args: string): string {
  const words = args.split(/, |\)/)
  const place = component.test(args) ? 'COMPONENT' : words[1]?.replace(/\d+/, 'TID')
  const rest = {
    prctl: /KEEPCAPS|PR_CAP_AMBIENT/.test(args) ? words.slice(0, 2).join(' ') : words[0],
    futex: words[1],
    mmap: words[3],
    kcmp: words[2],
    capget: args.includes('NULL') ? 'NULL' : undefined,
    openat: place,
    statx: words[1] === '""' ? words[3] : place,
    newfstatat: words[1],
    rt_sigaction: `${words[0]} ${words[1]?.replace(/\{sa_handler=(SIG_IGN)?.*/, '$1 set')}`,
    rt_sigprocmask: words[1] === '~[]' ? 'block' : 'restore',
  }[name]
  // the rehearsing child's attempts to undo what it has done
  const back = /^(?:set(?:resuid|resgid)0, 0, 0\)|setgroups1, \[0\]\)|capset.*CAP_CHOWN)/.test(name + args)
    ? ' back'
    : ''
  const beyond = name === 'prctl' && args.includes('CAP_???') ? ' beyond the last' : ''
  return `${name}${rest === undefined ? '' : ` ${rest}`}${back}${beyond}`
}

/** The phase that begins when /proc/self/task is opened, by the phase before. */
const next: Partial<Record<Phase, Phase>> = {
  observe: 'plan',
  plan: 'descriptors',
  hazards: 'rehearse',
  rehearse: 'park',
}

/** The phase of the main thread from this call on. */
function phaseOf(name: string, args: string, phase: Phase | undefined): Phase | undefined {
  if (name === 'openat' && args.includes('"/proc/self/task"')) return phase && (next[phase] ?? phase)
  if (name === 'openat' && /"\/(?:etc\/group|proc\/self\/stat)"/.test(args) && phase === 'descriptors') return 'hazards'
  if (name === 'mmap' && args.includes('MAP_SHARED|MAP_ANONYMOUS')) return 'rehearse'
  if (name !== 'rt_sigaction' || !args.startsWith('SIGUSR1')) return phase
  return phase === 'park' && args.includes('{sa_handler=SIG_IGN') ? 'past' : (phase ?? 'observe')
}

/** The calls in strace's log, those of harden() with their phase. A thread that was born meanwhile has made none of them. */
function parse(log: string, main: number, threads: number[], only?: number): Call[] {
  const calls: Call[] = []
  const children = [...log.matchAll(/^(?:\d+ +)?(?:clone\(|<\.\.\. clone resumed>).* = (\d+)$/gm)].map(([, pid]) =>
    Number(pid),
  )
  const own = [...threads, ...children]
  const counts = new Map<string, number>()
  const unfinished = new Map<string, Call>()
  /** Those that have walked the chroot's path, and walk what is only asked about ahead. */
  const through = new Set<number>()
  let phase: Phase | undefined
  let ownSignal = false
  let over = false
  for (const line of log.split('\n')) {
    const [, prefix, said = ''] = /^(?:(\d+) +)?(.*)$/.exec(line) ?? []
    const text = said.replace(descriptorPath, '')
    const tid = Number(prefix ?? only)
    const [, resumed] = /^<\.\.\. (\w+) resumed>/.exec(text) ?? []
    if (resumed) {
      const call = unfinished.get(`${tid} ${resumed}`)
      if (call && text.includes('(INJECTED)')) call.injected = true
      continue
    }
    const [, name, args] = /^(\w+)\((.*)$/.exec(text) ?? []
    if (!name || args === undefined) continue
    // The one that strace has found it in is not counted.
    const found = args.includes('FUTEX_WAIT_BITSET') && !counts.has(`${tid} ${name}`)
    const nth = (counts.get(`${tid} ${name}`) ?? 0) + (found ? 0 : 1)
    counts.set(`${tid} ${name}`, nth)

    if (tid === main) {
      phase = phaseOf(name, args, phase)
      if (name === 'write' && args.startsWith('3, ')) over = true
    } else if (only !== undefined && only !== main) {
      if (args.startsWith('PR_GET_SECUREBITS')) phase ??= 'park'
      if (/^PR_(?:CAPBSET_DROP|SET_DUMPABLE)/.test(args)) phase = 'past'
    }
    const isHelpers = name === 'wait4' && !children.includes(Number.parseInt(args, 10))
    const isOfNames = tid === main && ofNames.test(said.slice(name.length + 1))
    const whose = isHelpers ? ' helper' : isOfNames ? ' of names' : ''
    const call: Call = {
      tid,
      name,
      nth,
      label: `${labelOf(name, args)}${whose}${through.has(tid) ? ' ahead' : ''}`,
      phase: over ? undefined : phase,
      injected: text.includes('(INJECTED)'),
      text,
    }
    // between these two, only harden()'s code runs
    if (tid === main && name === 'rt_sigaction' && args.startsWith('SIGRT_1, {')) ownSignal = !ownSignal
    if (tid === main && (name === 'futex' || (name === 'munmap' && !ownSignal))) call.phase = undefined
    if (args.includes('FUTEX_WAIT_BITSET') || !own.includes(tid)) call.phase = undefined
    if (name === 'mmap' && !(phase === 'park' ? isOurs : isOursAlone).test(args)) call.phase = undefined
    // a name service's own
    if (phase === 'plan' && name === 'rt_sigprocmask') call.phase = undefined
    calls.push(call)
    if (tid !== main && name === 'openat' && args.includes(`, "${basename(jail)}", `)) through.add(tid)
    if (tid === main && phase === 'past' && call.label === 'rt_sigprocmask restore') phase = 'after'
    if (args.includes('<unfinished')) unfinished.set(`${tid} ${name}`, call)
  }
  return calls
}

interface Trace {
  scope: Scope
  tid: number
  calls: string[]
  inject?: string
  /** Only of this folder. */
  folder?: string
}

const threadsOf = (pid: number): number[] => readdirSync(`/proc/${pid}/task`).map(Number)

class Tracer {
  #strace: ChildProcess
  #log: string
  #gone: Promise<unknown>
  #threads: number[]

  private constructor(
    readonly main: number,
    readonly trace: Trace,
  ) {
    this.#log = join(mkdtempSync(join(tmpdir(), 'privdrop-')), 'log')
    this.#threads = threadsOf(main)
    const { scope, tid, calls, inject, folder } = trace
    this.#strace = spawn(
      'strace',
      [
        ...(scope === 'all' ? ['-f'] : []),
        ...['-y', '-p', String(tid), '-o', this.#log, '-e', `trace=${calls.join()}`],
        ...(inject ? ['-e', `inject=${inject}`] : []),
        ...(folder ? ['-P', folder] : []),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    this.#gone = once(this.#strace, 'close')
  }

  static async attach(t: Test, main: number, trace: Trace): Promise<Tracer> {
    const tracer = new Tracer(main, trace)
    t.teardown(() => tracer.#strace.kill('SIGKILL'))
    await new Promise<void>((resolve, reject) => {
      let said = ''
      tracer.#strace.stderr?.on('data', (text) => {
        said += text
        if (said.includes(' attached')) resolve()
      })
      tracer.#gone.then(() => reject(new Error(`strace: ${said}`)))
    })
    return tracer
  }

  async detach(): Promise<Call[]> {
    this.#strace.kill('SIGTERM')
    await this.#gone
    const { scope, tid } = this.trace
    const log = readFileSync(this.#log, 'latin1')
    rmSync(join(this.#log, '..'), { recursive: true })
    return parse(log, this.main, this.#threads, scope === 'all' ? undefined : tid)
  }
}

/** A process in which everything that is loaded or started once already is. */
async function ready(t: Test): Promise<Subject> {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await subject.ask('listen', 0, '127.0.0.1') // otherwise a warning is emitted, with calls of its own
  await subject.refusal('harden', { ...options, capabilities: 'cap_sys_chroot+ep' })
  return subject
}

const another = ({ pid }: Subject): number => threadsOf(pid).findLast((tid) => tid !== pid) as number
const traced = (scope: Scope, subject: Subject): number => (scope === 'another' ? another(subject) : subject.pid)

/** The state of a hardened process, down to the thread, written by hand. */
async function deviation(pid: number, before: Snapshot, leaks: number): Promise<string> {
  const kept = mask(CAP_NET_BIND_SERVICE)
  const all = [...new Set(tasks(pid).map(({ tid: _tid, name: _name, ...rest }) => JSON.stringify(rest)))]
  const [found, wanted] = [
    { ...(all.length === 1 ? JSON.parse(all[0] as string) : { all }), roots: roots(pid) },
    {
      ...{ uid: '65534 65534 65534 65534', gid: '65534 65534 65534 65534', groups: '8' },
      ...{ inheritable: kept, permitted: kept, effective: kept, bounding: kept, ambient: kept },
      noNewPrivs: '1',
      roots: [`${jail} ${jail}`],
    },
  ].map((state) => JSON.stringify(state))
  const now = await settled(pid)
  const sigusr1 = 1n << 9n
  const bits = (text: string): bigint => BigInt(`0x${text}`)
  const masks = ({ threads }: Snapshot) =>
    JSON.stringify(Object.entries(threads).map(([tid, lines]) => [tid, lines.find((line) => /^SigBlk/.test(line))]))
  return [
    found !== wanted && `wanted ${wanted}, found ${found}`,
    masks(now) !== masks(before) && `masks: ${masks(before)}, ${masks(now)}`,
    !(bits(now.ignored) & sigusr1) && 'SIGUSR1 is not ignored',
    (bits(now.caught) | sigusr1) !== (bits(before.caught) | sigusr1) && `caught: ${before.caught}, ${now.caught}`,
    Math.abs(now.descriptors.length - before.descriptors.length) > leaks && `descriptors: ${now.descriptors}`,
    now.owner !== 0 && 'dumpable',
  ]
    .filter(Boolean)
    .join('; ')
}

interface Run {
  outcome: Outcome | 'odd'
  /** What is wrong with it. */
  why: string
  hits: Call[]
  past: boolean
  /** The thread has read its securebits twice: some threads were late in the first try, which then does not count. */
  again: boolean
}

/** strace does not make the call: what close(2) would have closed and wait4(2) reaped is left over, one for each
 * call. */
function withoutLeftovers(state: Snapshot, hits: Call[]): object {
  const closes = hits.some(({ name }) => name === 'close')
  const waits = hits.some(({ name }) => name === 'wait4')
  const threads = Object.entries(state.threads).map(([tid, lines]) => [tid, waits ? lines.slice(0, -1) : lines])
  return { ...state, threads, descriptors: closes ? undefined : state.descriptors }
}

/** The errno of an error fault; and how the line must begin. */
const stepOf: [pattern: RegExp, step: string][] = [
  [/^rt_sigaction SIGUSR1/, 'SIGUSR1 (rt_sigaction)'],
  [/^rt_sigaction/, 'signal 33 (rt_sigaction)'],
  [/^rt_sigprocmask/, 'signal mask (rt_sigprocmask)'],
  [/^(?:fchdir|chroot|chdir)$/, 'chroot (CALL)'],
  [/^prctl PR_CAPBSET_DROP/, 'bounding (prctl)'],
  [/^prctl PR_SET_KEEPCAPS 1/, 'keepcaps (prctl)'],
  [/^prctl PR_SET_KEEPCAPS 0/, 'keepcaps back (prctl)'],
  [/^prctl PR_CAP_AMBIENT/, 'ambient (prctl)'],
  [/^prctl PR_SET_NO_NEW_PRIVS/, 'no_new_privs (prctl)'],
  [/^prctl PR_SET_DUMPABLE/, 'dumpable (prctl)'],
  [/^(?:set|capset)/, 'CALL (CALL)'],
  [/./, 'read back (read)'],
]

function lineIsRight(stderr: string, hit: Call, tamper: string): boolean {
  const failed =
    /^privdrop: fatal: step '(.+)' \((\w+)\) in thread (\d+): wanted success, found (?:no answer, )?errno (\d+); the process ends because it would be half privileged\n$/
  const differs =
    /^privdrop: fatal: step '(?:read back|dumpable|SIGUSR1)' \(\w+\) in thread \d+: wanted [^;\n]+, found [^;\n]+; the process ends because it would be half privileged\n$/
  const [, step, syscall, tid, errno] = failed.exec(stderr) ?? []
  const injected = kernelErrors[tamper.replace('error=', '')]
  // A step that fails is named; what only looks shows in what it has seen.
  if (step === undefined)
    return differs.test(stderr) && (!injected || /^(?:statx|prctl PR_GET|rt_sigaction SIGUSR1 NULL)/.test(hit.label))
  const wanted = stepOf.find(([pattern]) => pattern.test(hit.label))?.[1].replaceAll('CALL', hit.name)
  // A success that is faked shows later, in a step that needed it: in the same thread.
  return injected
    ? `${step} (${syscall})` === wanted && Number(tid) === hit.tid && Number(errno) === injected
    : Number(tid) === hit.tid
}

async function run(t: Test, subject: Subject, trace: Trace, tamper: string): Promise<Run> {
  const before = await settled(subject.pid)
  const tracer = await Tracer.attach(t, subject.pid, trace)
  const watchdog = setTimeout(() => subject.kill(), 20_000)
  const answer = await subject.ask('harden', options).catch((error: unknown) => error)
  clearTimeout(watchdog)
  const calls = await tracer.detach()
  const hits = calls.filter(({ injected }) => injected)
  const past = hits.some(({ phase }) => phase === 'past')
  const introductions = calls.filter(
    ({ tid, label, phase }) => tid === hits[0]?.tid && `${phase} ${label}` === 'park prctl PR_GET_SECUREBITS',
  )
  const again = introductions.length > 1
  const conclude = (outcome: Outcome, why: string): Run => ({ outcome: why ? 'odd' : outcome, why, hits, past, again })

  if (answer instanceof Refusal) {
    const { name, code, message, remedy, errno, syscall, step } = answer.fields
    const fault = kernelErrors[tamper.replace('error=', '')]
    const after = await settled(subject.pid).catch(() => undefined)
    if (!after) {
      subject.kill()
      const { signal, stderr } = await subject.ended
      return conclude('refused', `has ended after it was refused (${code}), ${signal}: ${stderr}`)
    }
    const [was, is] = [before, after].map((state) => JSON.stringify(withoutLeftovers(state, hits)))
    return conclude(
      'refused',
      [
        name !== 'HardenError' && `no HardenError: ${name}: ${message}`,
        (!code || !remedy) && 'no code, no remedy',
        !/^(?:observe|plan)$/.test(hits[0]?.phase ?? '') && (!syscall || !step) && `no step, no call: ${code}`,
        fault &&
          errno !== undefined &&
          errno !== -fault &&
          !/^(?:poll|rt_tgsig)/.test(hits[0]?.name ?? '') &&
          `another errno: ${errno}: ${message}`,
        was !== is && `changed: ${was} became ${is}`,
        past && `past the line: ${message}`,
      ]
        .filter(Boolean)
        .join('; '),
    )
  }
  if (answer instanceof Error) {
    const { signal, stderr } = await subject.ended
    // a process whose signals stay blocked is not unchanged
    const masked = hits.find(({ phase, label }) => phase === 'rehearse' && label === 'rt_sigprocmask restore')
    // of all calls that were hit, one is the first to fail
    const over = past ? hits.filter(({ phase }) => phase === 'past') : masked ? [masked] : []
    const right = signal === 'SIGABRT' && over.some((hit) => lineIsRight(stderr, hit, tamper))
    return conclude('aborted', right ? '' : `${past ? 'past' : 'before'} the line, ${signal}: ${stderr}`)
  }
  const leaks = hits.filter(({ name }) => name === 'close').length
  return conclude('done', await deviation(subject.pid, before, leaks))
}

interface Target {
  scope: Scope
  /** Every such call from this one on fails. */
  onwards?: boolean
  tamper: string
  call: Call
}

/** Some calls of each kind in each phase: the first and the last; past the line also one in the middle and the last but
 * one. */
function choose(calls: Call[]): Call[] {
  const kinds = new Map<string, Call[]>()
  for (const call of calls) {
    if (!call.phase || infallible.includes(call.name) || foreign.includes(call.name)) continue
    if (/FUTEX_WAKE/.test(call.label)) continue
    const kind = `${call.phase} ${call.label}`
    kinds.set(kind, [...(kinds.get(kind) ?? []), call])
  }
  return [...kinds.values()].flatMap((all) => {
    const some = all[0]?.phase === 'past' ? [all[0], all[all.length >> 1], ...all.slice(-2)] : [all[0], all.at(-1)]
    return [...new Set(some)] as Call[]
  })
}

async function census(t: Test, scope: Scope): Promise<Call[]> {
  const subject = await ready(t)
  const tid = traced(scope, subject)
  const threads = threadsOf(subject.pid)
  const tracer = await Tracer.attach(t, subject.pid, { scope, tid, calls: ['all'] })
  await subject.ask('harden', options)
  const calls = await tracer.detach()
  subject.kill()
  // in scope 'all' only the child's calls are wanted: no other scope can make them fail
  const isOfChild = ({ tid, name }: Call) => !threads.includes(tid) && !/^m(?:un)?map$/.test(name)
  return scope === 'all' ? calls.filter(isOfChild) : calls
}

function targets(scope: Scope, calls: Call[]): Target[] {
  return choose(calls).flatMap((call) => {
    const errors = call.name === 'rt_tgsigqueueinfo' ? ['EAGAIN', 'EPERM'] : ['EAGAIN']
    const tampers = errors.map((error) => `error=${error}`)
    if (canPretend(call)) tampers.push('retval=0')
    const once = tampers.map((tamper) => ({ scope, tamper, call }))
    const repeated = scope === 'main' && call.phase === 'park' && retried.includes(call.name)
    return repeated ? [...once, ...once.map((target) => ({ ...target, onwards: true }))] : once
  })
}

/** Calls that are tried again when they fail. */
const retried = ['rt_tgsigqueueinfo', 'getdents64', 'lseek', 'statx', 'kcmp']

type Table = Map<string, Partial<Record<Scope, Set<string>>>>

function note(table: Table, key: string, scope: Scope, outcome: string): void {
  const row = table.get(key) ?? {}
  row[scope] = (row[scope] ?? new Set()).add(outcome)
  table.set(key, row)
}

function print(t: Test, table: Table): void {
  const line = (name: string, cells: string[]) =>
    `${name.padEnd(68)}${cells.map((cell) => ` ${cell}`.padEnd(18)).join('')}`
  t.comment(line('call', ['all', 'main alone', 'another alone']))
  for (const [key, row] of table)
    t.comment(
      line(
        key,
        (['all', 'main', 'another'] as const).map((scope) => [...(row[scope] ?? '-')].join()),
      ),
    )
}

function judge(t: Test, row: string, scope: Scope, right: boolean, why: string): void {
  if (!right) t.fail(`${scope}: ${row}: ${why}`)
}

/** How often a call is aimed at again. */
const TRIES = 5

/** V8 unmaps memory, too, as often as chance will have it, and ends the process if that fails. */
const isOfV8 = ({ outcome, hits }: Run): boolean =>
  outcome === 'odd' && hits.length > 0 && hits.every(({ phase, name }) => !phase && name === 'munmap')

async function row(t: Test, queue: Target[], table: Table): Promise<void> {
  let subject: Subject | undefined
  /** After its refusals the same process hardens. */
  const hardens = async () => {
    if (!subject) return
    const before = await settled(subject.pid)
    await subject.ask('harden', options)
    const why = await deviation(subject.pid, before, 0)
    if (why) t.fail(`does not harden after a refusal: ${why}`)
    subject.kill()
    subject = undefined
  }
  for (const { scope, tamper, call, onwards } of queue) {
    if (call.phase === 'past' || call.phase === 'after') await hardens()
    const inject = `${call.name}:${tamper}:when=${call.nth}${onwards ? '+' : ''}`
    const attempt = async () => {
      subject ??= await ready(t)
      const trace = { scope, tid: traced(scope, subject), calls: [...new Set([...markers, call.name])], inject }
      return run(t, subject, trace, tamper)
    }
    let ran = await attempt()
    for (let tries = 1; tries < TRIES && isOfV8(ran); tries++) {
      subject?.kill()
      subject = undefined
      ran = await attempt()
    }
    const { outcome, why, hits, past, again } = ran
    const [hit] = hits
    const keyOf = ({ phase, label }: Call) =>
      `${phase ?? 'elsewhere'}: ${label} ${tamper}${onwards ? ' from then on' : ''}`
    const key = hit ? `${keyOf(hit)}${again ? ', tried again' : ''}` : `${keyOf(call)}: missed`
    // the directory that is left open is refused from now on
    if (outcome !== 'refused' || call.name === 'close') {
      subject?.kill()
      subject = undefined
    }
    note(table, key, scope, outcome)
    const isHarmless = (hit: Call) => !hit.phase || harmless.some(([pattern]) => pattern.test(keyOf(hit)))
    const goesOn = again || tamper === 'retval=0' || hits.every(isHarmless)
    const ends = past || hit?.label === 'rt_sigprocmask restore'
    const right = outcome === 'done' ? goesOn : outcome === (ends ? 'aborted' : 'refused')
    judge(t, key, scope, right, why || outcome)
  }
  await hardens()
}

live('each system call fails in turn, or claims success', ['root', 'strace'], async (t) => {
  const table: Table = new Map()
  const rows = new Map<string, Target[]>()
  for (const scope of ['main', 'another', 'all'] as const)
    for (const target of targets(scope, await census(t, scope))) {
      const name = `${scope} ${target.call.name} ${target.tamper}`
      rows.set(name, [...(rows.get(name) ?? []), target])
    }
  const queue = [...rows.values()].sort((a, b) => b.length - a.length)
  const lane = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await row(t, next, table)
  }
  await Promise.all([lane(), lane(), lane()])
  print(t, table)
  const outcomes = [...table.values()].flatMap((row) => Object.values(row).flatMap((cell) => [...cell]))
  for (const outcome of ['refused', 'aborted', 'done']) t.ok(outcomes.includes(outcome), `some are ${outcome}`)
})

live("what the chroot's path does not tell is refused, and not taken for a no", ['root', 'strace'], async (t) => {
  const subject = await ready(t)
  const before = await settled(subject.pid)
  // Of this folder no other thread asks by these: what it is, what may be done with it, and what the last component is.
  for (const fault of ['statx:error=EAGAIN:when=1', 'faccessat:error=EAGAIN', 'statx:error=EAGAIN:when=2']) {
    const calls = [fault.replace(/:.*/, '')]
    const trace = { scope: 'all', tid: subject.pid, calls, inject: fault, folder: above } as const
    const tracer = await Tracer.attach(t, subject.pid, trace)
    const fields = await subject.refusal('harden', options)
    const hits = (await tracer.detach()).filter(({ injected }) => injected)
    t.strictSame(
      [hits.length, hits.some(({ tid }) => tid === subject.pid)],
      [1, false],
      `${fault}: by the helper alone`,
    )
    const { code, option, step, errno } = fields
    const wanted = {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'chroot',
      step: 'exchange',
      errno: -constants.errno.EAGAIN,
    }
    t.strictSame({ code, option, step, errno }, wanted, fault)
    t.strictSame(await settled(subject.pid), before, `${fault}: nothing has changed`)
  }
  await subject.ask('harden', options)
})
