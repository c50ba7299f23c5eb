/** What a process takes to load the package, and what it keeps for it; what the rehearsal takes to copy the process. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterwards, Fresh, mustBeChanged, subject } from './fresh'

/** Milliseconds, from the start of a process to its end. */
export function load(program: "require('privdrop')" | ''): number {
  const { NODE_OPTIONS: _, ...env } = process.env
  const start = performance.now()
  const { status } = spawnSync(process.execPath, ['--eval', program], { env, cwd: join(__dirname, '../../..') })
  if (status !== 0) throw new Error(`node --eval "${program}": ${status}`)
  return performance.now() - start
}

/** Megabytes that are its own: what is shared with other processes is none (proc_pid_smaps(5)). */
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

/** Milliseconds of the rehearsal, and of all. */
export async function rehearsal(heap: number): Promise<{ rehearse: number; whole: number }> {
  const fresh = new Fresh(subject({ way: 'harden', threads: 11, heap }))
  try {
    const { rehearse = Number.NaN, whole = Number.NaN } = await fresh.answer()
    mustBeChanged(fresh.pid, afterwards.harden, 11)
    return { rehearse: rehearse / 1000, whole: whole / 1000 }
  } finally {
    await fresh.end()
  }
}
