/** Starts a process to be hardened (test/children/subject.ts) and exchanges messages with it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Test } from 'tap'
import type { actions } from '../children/subject'
import { nodeHeaders } from './live'

// biome-ignore lint/suspicious/noExplicitAny: the actions of a program, whatever they take
type Actions = Record<string, (...args: any[]) => unknown>

/** scripts/nodes.sh names another; the tests themselves run in the Node that runs tap. */
export const nodeUnderTest = process.env.NODE_UNDER_TEST ?? process.execPath

export interface Options {
  env?: NodeJS.ProcessEnv
  execArgv?: string[]
  /** A command that ends by running Node: ['setpriv', '--bounding-set', '-setuid', '--'] */
  wrapper?: string[]
  /** Another Node than the one under test. */
  node?: string
  /** Another program than test/children/subject.ts. */
  program?: string
  /** Another copy of the package than the shared one. */
  from?: string
  /** Milliseconds after which the subject is ended, and calls that wait for its answer fail. */
  limit?: number
  /** What the test does for the subject before it can start. */
  spawned?: (pid: number) => Promise<void>
}

export interface Ending {
  code: number | null
  signal: NodeJS.Signals | null
  stderr: string
}

/** What an action has thrown in the subject. */
export class Refusal extends Error {
  constructor(readonly fields: Record<string, unknown>) {
    super(`${fields.code}: ${fields.message}`)
  }
}

export class Subject<A extends Actions = typeof actions> {
  /** Resolves when the process has ended. */
  readonly ended: Promise<Ending>
  #process: ChildProcess
  #answers: { value?: unknown; error?: Record<string, unknown> }[] = []
  #awaited: (() => void) | undefined
  #over = false
  /** Signals that the subject's listeners have reported. */
  signals: string[] = []

  constructor(child: ChildProcess) {
    this.#process = child
    let stderr = ''
    child.stderr?.setEncoding('latin1').on('data', (text: string) => {
      stderr += text
    })
    child.on('message', (message: { signal: string } | { value?: unknown; error?: Record<string, unknown> }) => {
      if ('signal' in message) this.signals.push(message.signal)
      else this.#answers.push(message)
      this.#awaited?.()
    })
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.#over = true
      this.#awaited?.()
      return { code, signal, stderr }
    })
  }

  /** The pid of the Node process, even if a wrapper started it: each of them executes the next. */
  get pid(): number {
    return this.#process.pid as number
  }

  async answer(): Promise<unknown> {
    while (this.#answers.length === 0) {
      if (this.#over) throw new Error(`the subject has ended: ${JSON.stringify(await this.ended)}`)
      await new Promise<void>((resolve) => {
        this.#awaited = resolve
      })
    }
    const { value, error } = this.#answers.shift() as { value?: unknown; error?: Record<string, unknown> }
    if (error) throw new Refusal(error)
    return value
  }

  tell<Name extends keyof A>(action: Name, ...args: Parameters<A[Name]>): void {
    // that the subject has ended is reported by ask()
    this.#process.send({ action, args }, () => {})
  }

  /** @throws Refusal what the action threw */
  async ask<Name extends keyof A>(action: Name, ...args: Parameters<A[Name]>): Promise<Awaited<ReturnType<A[Name]>>> {
    this.tell(action, ...args)
    return (await this.answer()) as Awaited<ReturnType<A[Name]>>
  }

  /** The fields of what the action throws; an Error if it does not. */
  async refusal<Name extends keyof A>(action: Name, ...args: Parameters<A[Name]>): Promise<Record<string, unknown>> {
    const value = await this.ask(action, ...args).catch((error) => {
      if (error instanceof Refusal) return error
      throw error
    })
    if (value instanceof Refusal) return value.fields
    throw new Error(`${String(action)} was not refused: ${JSON.stringify(value)}`)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

const copies: string[] = []
process.on('exit', () => {
  for (const folder of copies) rmSync(folder, { recursive: true })
})

/** A copy of the package, as it is installed, in a folder that any user can reach: the checkout may lie in root's
 * home. */
export function copy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  copies.push(folder)
  chmodSync(folder, 0o755)
  const parts = ['package.json', 'dist', 'prebuilds', 'build/Release/privdrop.node', 'node_modules/node-gyp-build']
  for (const part of [...parts, 'test/out']) {
    const source = join(__dirname, '../..', part)
    if (existsSync(source)) cpSync(source, join(folder, part), { recursive: true })
  }
  return folder
}

/** A folder that any user can reach. */
export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'privdrop-'))
  chmodSync(path, 0o755)
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

/** Shows this text in place of that file of /proc, to the process alone. */
export function shown(t: Test, path: string, text: string, ...then: string[]): string[] {
  const file = join(folder(t), 'file')
  writeFileSync(file, text)
  return ['unshare', '--mount', 'sh', '-c', `mount --bind ${file} ${path} && exec "$@"`, 'sh', ...then]
}

/** A terminal of its own. */
export const terminal = ['sh', '-c', 'exec script -qec "$*" /dev/null', 'sh']

let home: string | undefined

function installed(): string {
  home ??= copy()
  return home
}

/** Arguments of env(1): tap writes a loader with a thread of its own into every child's NODE_OPTIONS. */
export const plainNode = ['-u', 'NODE_OPTIONS', nodeUnderTest]

/** A subject that is ready, and that ends with the test. */
export async function start<A extends Actions = typeof actions>(t: Test, options: Options = {}): Promise<Subject<A>> {
  const { env, execArgv = [], wrapper = [], node = nodeUnderTest, program = 'subject', spawned } = options
  const file = join(options.from ?? installed(), 'test/out/children', `${program}.js`)
  const subject = new Subject<A>(
    spawn('env', ['-u', 'NODE_OPTIONS', ...wrapper, node, ...execArgv, file], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: { PATH: process.env.PATH, ...env },
      // a working directory that every user may enter
      cwd: '/',
      // a session of its own, like a service: otherwise HARDEN_SESSION_ROOT names the tests beside it
      detached: true,
    }),
  )
  t.teardown(async () => {
    subject.kill()
    await subject.ended
  })
  if (options.limit !== undefined) {
    const watchdog = setTimeout(() => subject.kill(), options.limit)
    void subject.ended.then(() => clearTimeout(watchdog))
  }
  await spawned?.(subject.pid)
  await subject.answer()
  return subject
}

/** A subject whose stderr is a pipe, of which this is the other end. */
export async function piped(t: Test, more: Options = {}): Promise<[subject: Subject, end: number]> {
  const pipe = join(folder(t), 'pipe')
  execFileSync('mkfifo', [pipe])
  const end = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK)
  return [await start(t, { ...more, wrapper: ['sh', '-c', `exec "$@" 2>${pipe}`, 'sh'] }), end]
}

/** Fills the pipe, which is not read any more. */
export function fill(pipe: number): void {
  try {
    for (;;) writeSync(pipe, Buffer.alloc(4096))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
  }
}

/** A program compiled from one C file of the tests. */
export function build(t: Test, name: string): string {
  const program = join(folder(t), name)
  execFileSync('cc', [
    '-pthread',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    program,
    join(__dirname, `../children/${name}.c`),
  ])
  return program
}

/** Of x86-64. */
export const KCMP = 312
/** Its third argument where two memories are compared. */
export const KCMP_VM = 1

/** System call `number`, if it has this third argument, is refused with this errno; if that is 0 it ends the process. */
export const filtered = (t: Test, number: number, errno: number, third?: number): string[] => [
  build(t, 'filter'),
  third === undefined ? String(number) : `${number},${third}`,
  String(errno),
]

/** An addon compiled from one C file of the tests, for a subject to load. */
export function compile(source: string, folder: string): string {
  const library = join(folder, `${basename(source, '.c')}.node`)
  const strict = ['-Wall', '-Wextra', '-Werror']
  execFileSync('cc', ['-shared', '-fPIC', '-pthread', ...strict, '-I', nodeHeaders, '-o', library, source])
  return library
}

/** Threads that Node does not know. */
export const threads = join(__dirname, '../children/threads.c')

export async function loadThreads(t: Test, subject: Subject): Promise<void> {
  await subject.ask('load', compile(threads, folder(t)))
}

/** setuid() and the like, for all threads, whatever Node allows: ask('native', 'setuid', 0) answers 0 or errno. */
export async function loadIds(
  t: Test,
  subject: { ask(action: 'load', path: string): Promise<unknown> },
): Promise<void> {
  await subject.ask('load', compile(join(__dirname, '../children/ids.c'), folder(t)))
}

/** Root of a user namespace of its own, with these ids mapped: it has all capabilities in it (user_namespaces(7)). */
export function inUserNamespace(
  maps: { uid_map: string; gid_map: string; setgroups?: 'deny' },
  ...inner: string[]
): Options {
  const whenMapped = 'until grep -q . /proc/self/uid_map; do :; done; exec "$@"'
  return {
    wrapper: ['unshare', '--user', '--net', 'sh', '-c', whenMapped, 'sh', ...inner],
    spawned: async (pid) => {
      const own = readlinkSync('/proc/self/ns/user')
      while (readlinkSync(`/proc/${pid}/ns/user`) === own) await new Promise(setImmediate)
      // too late once the groups are mapped
      if (maps.setgroups) writeFileSync(`/proc/${pid}/setgroups`, maps.setgroups)
      writeFileSync(`/proc/${pid}/gid_map`, maps.gid_map)
      writeFileSync(`/proc/${pid}/uid_map`, maps.uid_map)
    },
  }
}
