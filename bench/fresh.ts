/** Fresh processes: what they report, and what can be read of them from outside. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { hardened, tasks } from '../test/live/outside'
import type { Answer, Task } from './subject'

const sources = join(__dirname, '../..')

/** The C sources, compiled. */
export const programs = mkdtempSync(join(tmpdir(), 'privdrop-bench-'))
process.on('exit', () => rmSync(programs, { recursive: true }))
chmodSync(programs, 0o755)

/** @returns the version of libpsx: the system's, or that in a folder's lib/ and include/ */
export function compile(libpsx?: string): string {
  const cc = (...args: string[]) =>
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', ...args], { cwd: sources, stdio: 'inherit' })
  const addon = ['-shared', '-fPIC', '-I', join(process.execPath, '../../include/node')]
  cc(...addon, '-o', join(programs, 'crowd.node'), 'crowd.c')
  cc(...addon, '-o', join(programs, 'clone.node'), 'clone.c')
  const folder = libpsx === undefined ? [] : [`-I${libpsx}/include`, `-B${libpsx}/lib`, `-L${libpsx}/lib`]
  const found = execFileSync('cc', [...folder, '-print-file-name=libpsx.so'], { encoding: 'utf8' }).trim()
  const lookedFor = `-Wl,-wrap,pthread_create,-rpath,${dirname(found)}`
  // linked as psx(3) says
  cc(...addon, '-o', join(programs, 'psx.node'), 'psx.c', ...folder, '-lpsx', '-lpthread', lookedFor)
  cc('-o', join(programs, 'floor'), 'floor.c')
  cc('-o', join(programs, 'trimmed'), 'trimmed.c')
  return realpathSync(found).replace(/.*\.so\./, '')
}

export const subject = (task: Task): string[] => [process.execPath, join(__dirname, 'subject.js'), JSON.stringify(task)]

export function floor(threads: number, busy: boolean, how: 'go' | 'hold' | 'nothing'): string[] {
  return [join(programs, 'floor'), String(threads), busy ? 'busy' : 'idle', how]
}

/** The same command without a bounding set to drop. */
export const trimmed = (command: string[]): string[] => [join(programs, 'trimmed'), ...command]

export class Fresh {
  #process: ChildProcess
  #lines: AsyncIterator<string>

  constructor([command = '', ...args]: string[]) {
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#process = spawn(command, args, {
      // nothing is ever written to the pipe that is its standard input
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...env, PRIVDROP_BENCH: programs },
    })
    this.#lines = createInterface(this.#process.stdout as NodeJS.ReadableStream)[Symbol.asyncIterator]()
  }

  get pid(): number {
    return this.#process.pid as number
  }

  async answer(): Promise<Answer> {
    const { value } = await this.#lines.next()
    if (value === undefined) throw new Error(`${this.#process.spawnargs.join(' ')} has ended before it answered`)
    return JSON.parse(value)
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  async end(): Promise<void> {
    const closed = once(this.#process, 'close')
    this.#process.kill('SIGKILL')
    await closed
  }
}

/** The expected state of each thread. */
export const afterwards = {
  nothing: {},
  set: { uid: hardened.uid, gid: hardened.gid, groups: '' },
  harden: hardened,
  /** With the parts that psx.c does not change. */
  kept: (({ bounding: _, ...rest }) => rest)(hardened),
}

/** How many threads are in the expected state, of how many. */
export function changed(pid: number, wanted: object): [number, number] {
  const all = tasks(pid)
  const right = all.filter((task) =>
    Object.entries(wanted).every(([name, value]) => task[name as keyof typeof task] === value),
  )
  return [right.length, all.length]
}

export function mustBeChanged(pid: number, wanted: object, threads: number): void {
  const [right, all] = changed(pid, wanted)
  if (right !== all || all !== threads)
    throw new Error(`of ${all} threads (${threads} were expected) ${right} are right`)
}
