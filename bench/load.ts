/** The time and memory that loading the package takes, and the time that the rehearsal takes to copy the process. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterwards, Fresh, mustBeChanged, subject } from './fresh'

/** Modules that a server has loaded already. */
export const server = "require('node:net'); require('node:worker_threads')"
/** Less than this is not possible as long as it is this one file: the addon, and the file read and compiled, but not run. */
export const least =
  "require('node-gyp-build')('.'); " +
  "require('node:vm').compileFunction(require('node:fs').readFileSync('dist/index.js', 'utf8'), ['require', 'module', 'exports'])"
/** First of all; node:inspector loads node:worker_threads. */
export const leastOfAll = `require('node:inspector'); ${least}`
const found = 'console.log(Number(process.hrtime.bigint() - start) / 1e6)'

/** Milliseconds that a program takes, in a process that has run another one before. */
export function load(program: string, before = ''): number {
  return Number(run(`${before}; const start = process.hrtime.bigint(); ${program}; ${found}`))
}

/** Milliseconds of Node itself, from the start of a process to its end, to compare machines by. */
export function start(): number {
  const start = performance.now()
  run('')
  return performance.now() - start
}

function run(program: string): string {
  const { NODE_OPTIONS: _, ...env } = process.env
  const options = { env, cwd: join(__dirname, '../../..'), encoding: 'utf8' } as const
  const { status, stdout } = spawnSync(process.execPath, ['--eval', program], options)
  if (status !== 0) throw new Error(`node --eval "${program}": ${status}`)
  return stdout
}

/** Private megabytes: memory shared with other processes is not counted (proc_pid_smaps(5)). */
export async function memory(way: 'nothing' | 'harden'): Promise<number> {
  const fresh = new Fresh(subject({ way, threads: 11 }))
  try {
    await fresh.answer()
    mustBeChanged(fresh.pid, afterwards[way], 11)
    const rollup = readFileSync(`/proc/${fresh.pid}/smaps_rollup`, 'latin1')
    const kilobytes = ['Private_Clean', 'Private_Dirty'].map((name) =>
      Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(rollup)?.[1]),
    )
    return kilobytes.reduce((a, b) => a + b) / 1024
  } finally {
    await fresh.end()
  }
}

/** Milliseconds: of the rehearsal, of all of harden(), and of an empty copy of the same process. */
export async function rehearsal(heap: number): Promise<{ rehearse: number; whole: number; clone: number }> {
  const fresh = new Fresh(subject({ way: 'clone', threads: 11, heap }))
  const { clone = Number.NaN } = await fresh.answer().finally(() => fresh.end())
  return { ...(await hardened(heap)), clone: clone / 1000 }
}

/** Milliseconds of harden() where its JavaScript has run before. */
export async function warm(threads: number): Promise<number> {
  const fresh = new Fresh(subject({ way: 'harden', threads, warm: true }))
  try {
    const { whole = Number.NaN } = await fresh.answer()
    mustBeChanged(fresh.pid, afterwards.harden, threads)
    return whole / 1000
  } finally {
    await fresh.end()
  }
}

async function hardened(heap: number): Promise<{ rehearse: number; whole: number }> {
  const fresh = new Fresh(subject({ way: 'harden', threads: 11, heap }))
  try {
    const { rehearse = Number.NaN, whole = Number.NaN } = await fresh.answer()
    mustBeChanged(fresh.pid, afterwards.harden, 11)
    return { rehearse: rehearse / 1000, whole: whole / 1000 }
  } finally {
    await fresh.end()
  }
}
