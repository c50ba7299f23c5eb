/**
 * Promise: exact in every thread, including threads that start or end meanwhile, and those that start afterwards. Here
 * all of that happens at once in a thousand fresh processes: Workers, jobs of libuv's pool, child processes of Workers,
 * and threads that Node does not know.
 *
 * A process that is busier than harden() has patience for may be refused; then nothing of it has changed. That is
 * counted, as are the pauses, and printed.
 */
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { live } from '../live/live'
import { children, common, hardened, ifThere, NONE, type Task, tasks } from '../live/outside'
import { compile, Refusal, type Subject, start, threads } from '../live/subject'

const RUNS = 1000
const LANES = 3
const limit = 60_000
const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
t.teardown(() => rmSync(folder, { recursive: true }))
chmodSync(folder, 0o755)
const crowd = join(__dirname, 'crowd.c')
const compiled = new Map<string, string>()

async function load(subject: Subject, source: string): Promise<void> {
  const library = compiled.get(source) ?? compile(source, folder)
  compiled.set(source, library)
  await subject.ask('load', library)
}

type State = Omit<Task, 'tid' | 'name'>

const isOneOf = ({ tid: _tid, name: _name, ...state }: Task, wanted: State[]): boolean =>
  wanted.some((one) => JSON.stringify(one) === JSON.stringify(state))

/** No capability is ambient: none outlives the execve(2) of a user who is not root. */
const executed = { ...hardened, permitted: NONE, effective: NONE }

/** A child process, and whether it is a program of its own already. */
function look(pid: number): { program: boolean; tasks: Task[] } {
  // This waits for an execve(2) under way: who shows the environment of a new program has its credentials too.
  const environ = readFileSync(`/proc/${pid}/environ`, 'latin1')
  return { program: environ.includes('BORN='), tasks: tasks(pid) }
}

interface Watched {
  odd: Task[]
  threads: number
  children: number
}

/** What deviates in the process and in its children, until enough have been born to it since it was hardened. */
async function watch(pid: number, before: State): Promise<Watched> {
  const odd: Task[] = []
  const older = children(pid)
  const first = new Set(tasks(pid).map(({ tid }) => tid))
  const born = { threads: new Set<number>(), children: new Set<number>() }
  while (odd.length === 0 && (born.threads.size < 20 || born.children.size < 3)) {
    for (const task of tasks(pid)) {
      if (!first.has(task.tid)) born.threads.add(task.tid)
      if (!isOneOf(task, [hardened])) odd.push(task)
    }
    for (const child of children(pid))
      for (const { program, tasks } of ifThere(() => look(child))) {
        const wanted: State[] = program ? [executed] : [executed, hardened]
        if (older.includes(child)) wanted.push(before)
        else if (program) born.children.add(child)
        odd.push(...tasks.filter((task) => !isOneOf(task, wanted)))
      }
    await new Promise(setImmediate)
  }
  return { odd, threads: born.threads.size, children: born.children.size }
}

interface Run extends Watched {
  refused: boolean
  /** How long the threads stood still, as harden() and as one of them have measured it; and the latter before. In ms. */
  still: number
  gap: number
  gapBefore: number
}

const milliseconds = (us: unknown): number => Number(us) / 1000

async function run(t: Test): Promise<Run> {
  const subject = await start(t, { limit })
  const before = common(subject.pid)
  await load(subject, threads)
  await load(subject, crowd)
  await subject.ask('native', 'startHeart')
  await subject.ask('churn', 1, ['workers', 'pool', 'children'])
  await subject.ask('native', 'startChurn')
  const gapBefore = milliseconds(await subject.ask('native', 'longest'))
  const answer = await subject.ask('harden', options).catch((error: unknown) => error)
  const gap = milliseconds(await subject.ask('native', 'longest'))
  let found: Run
  if (answer instanceof Refusal && answer.fields.code === 'ERR_HARDEN_THREAD_UNREACHABLE') {
    const odd = tasks(subject.pid).filter((task) => !isOneOf(task, [before]))
    found = { odd, threads: 0, children: 0, refused: true, still: 0, gap, gapBefore }
  } else if (answer instanceof Error) {
    throw answer
  } else {
    const parts = ['park', 'apply', 'read back']
    const { timings } = (answer as { report: { timings: { name: string; us: number }[] } }).report
    const us = timings.filter(({ name }) => parts.includes(name)).reduce((sum, part) => sum + part.us, 0)
    found = { ...(await watch(subject.pid, before)), refused: false, still: milliseconds(us), gap, gapBefore }
  }
  subject.kill()
  await subject.ended
  return found
}

function spread(values: number[]): string {
  const sorted = values.sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.ceil(part * (sorted.length - 1))]?.toFixed(1)
  return `median ${at(0.5)} ms, 99 of 100 within ${at(0.99)} ms, longest ${at(1)} ms`
}

live(`${RUNS} fresh processes, all kinds of churn at once`, ['root', 'cc'], async (t) => {
  const runs: Run[] = []
  let begun = 0
  const lane = async () => {
    while (begun++ < RUNS && runs.every(({ odd }) => odd.length === 0)) runs.push(await run(t))
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  const done = runs.filter(({ refused }) => !refused)
  const refused = runs.length - done.length
  const sum = (part: 'threads' | 'children') => runs.reduce((all, run) => all + run[part], 0)
  t.same(
    runs.flatMap(({ odd }) => odd),
    [],
    'no thread deviates',
  )
  t.equal(runs.length, RUNS, 'each has been looked at')
  t.ok(refused <= RUNS / 100, `${refused} refused, with nothing changed`)
  t.comment(`born afterwards and looked at: ${sum('threads')} threads, ${sum('children')} child processes`)
  t.comment(`all stand still: ${spread(done.map(({ still }) => still))}`)
  t.comment(`a thread that beats each 0.2 ms, while it is hardened: ${spread(done.map(({ gap }) => gap))}`)
  t.comment(`and under the same churn before: ${spread(done.map(({ gapBefore }) => gapBefore))}`)
})

/** As often as it takes on a machine where not all come in time: whoever is refused has lost nothing. */
async function untilAllCome(subject: Subject) {
  for (;;) {
    const answer = await subject.ask('harden', options).catch((error) => error)
    if (!(answer instanceof Error)) return answer
    if (!(answer instanceof Refusal) || answer.fields.code !== 'ERR_HARDEN_THREAD_UNREACHABLE') throw answer
  }
}

/** Each of its threads by its number: all that were there before are there, and as asked. */
async function hardens(t: Test, subject: Subject): Promise<void> {
  const byTid = (a: { tid: number }, b: { tid: number }) => a.tid - b.tid
  const tids = (all: { tid: number }[]) => all.sort(byTid).map(({ tid }) => tid)
  const before = tids(tasks(subject.pid))
  const { report } = await untilAllCome(subject)
  const after = tasks(subject.pid).sort(byTid)
  t.same(tids(report.threads), before, 'the report has each thread')
  t.same(
    after,
    before.map((tid) => ({ tid, name: after.find((task) => task.tid === tid)?.name, ...hardened })),
    `each of ${before.length} threads`,
  )
  t.comment(report.timings.map(({ name, us }: { name: string; us: number }) => `${name} ${us / 1000} ms`).join(', '))
}

/** How many tasks are in each system call, by its number; 'running': in none (proc(5), "syscall"). */
function calls(pid: number): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const [call = ''] = readFileSync(`/proc/${pid}/task/${tid}/syscall`, 'latin1').trim().split(' ')
    counts[call] = (counts[call] ?? 0) + 1
  }
  return counts
}

const OPENAT = process.arch === 'arm64' ? '56' : '257'

async function until(pid: number, holds: (count: (call: string) => number) => boolean): Promise<void> {
  let counts = calls(pid)
  while (!holds((call) => counts[call] ?? 0)) {
    await new Promise(setImmediate)
    counts = calls(pid)
  }
}

live('UV_THREADPOOL_SIZE=1024: half of them compute, half are in a system call', ['root', 'cc'], async (t) => {
  const subject = await start(t, { limit, env: { UV_THREADPOOL_SIZE: '1024' } })
  const fifo = join(folder, 'fifo')
  await subject.ask('run', 'mkfifo', [fifo])
  await subject.ask('warmPool', 1024)
  // kind to the rest of the machine, and to the main thread
  for (const { tid } of tasks(subject.pid)) if (tid !== subject.pid) setPriority(tid, 19)
  for (let job = 0; job < 512; job++) subject.tell('readCallback', fifo)
  // to open it, each waits for somebody who writes
  await until(subject.pid, (count) => count(OPENAT) === 512)
  await subject.ask('compute', 512)
  await until(subject.pid, (count) => count('running') >= 512)
  await hardens(t, subject)
  await until(subject.pid, (count) => count(OPENAT) === 512 && count('running') >= 512)
  const writer = openSync(fifo, 'w')
  await until(subject.pid, (count) => count(OPENAT) === 0)
  closeSync(writer)
  for (let job = 0; job < 512; job++) if ((await subject.answer()) !== 0) t.fail('a job is lost')
})

live('a thousand native threads compute', ['root', 'cc'], async (t) => {
  const subject = await start(t, { limit })
  await load(subject, crowd)
  t.equal(await subject.ask('native', 'startComputing'), 1000, 'all have begun')
  const running = () => calls(subject.pid).running ?? 0
  t.ok(running() >= 1000, 'all compute')
  await hardens(t, subject)
  t.ok(running() >= 1000, 'and go on')
})

live('a thousand native threads are in system calls', ['root', 'cc'], async (t) => {
  const subject = await start(t, { limit })
  await load(subject, crowd)
  t.equal(await subject.ask('native', 'startCalling'), 1000, 'all have begun')
  await until(subject.pid, (count) => count('running') === 0)
  const before = calls(subject.pid)
  await hardens(t, subject)
  await until(subject.pid, (count) => count('running') === 0)
  t.same(calls(subject.pid), before, 'and in the same ones afterwards')
})
