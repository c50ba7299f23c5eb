/** System calls for each additional thread, counted by strace(1): a number, not a time. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { floor, programs, subject } from './fresh'

const FEW = 32
const MANY = 132

export interface Calls {
  harden: number
  floor: number
  /** By name, for harden(). */
  each: Record<string, number>
}

export function countCalls(): Calls {
  const harden = perThread((threads, way) => subject({ way, threads, ends: true }), 'harden')
  const least = perThread((threads, way) => floor(threads, false, way === 'harden' ? 'go' : 'nothing'), 'harden')
  return { harden: sum(harden), floor: sum(least), each: harden }
}

/** Without the calls that the same process makes without it, and without those that do not depend on the number of
 * threads. */
function perThread(
  command: (threads: number, way: 'harden' | 'nothing') => string[],
  way: 'harden',
): Record<string, number> {
  const grown = (way: 'harden' | 'nothing') => minus(trace(command(MANY, way)), trace(command(FEW, way)))
  const each = minus(grown(way), grown('nothing'))
  return Object.fromEntries(
    Object.entries(each).flatMap(([name, count]) => {
      const rounded = Math.round((10 * count) / (MANY - FEW)) / 10
      return Math.abs(rounded) >= 0.2 ? [[name, rounded]] : []
    }),
  )
}

const sum = (counts: Record<string, number>): number =>
  Math.round(10 * Object.values(counts).reduce((a, b) => a + b, 0)) / 10

function minus(more: Record<string, number>, less: Record<string, number>): Record<string, number> {
  const names = [...new Set([...Object.keys(more), ...Object.keys(less)])]
  return Object.fromEntries(names.map((name) => [name, (more[name] ?? 0) - (less[name] ?? 0)]))
}

function trace(command: string[]): Record<string, number> {
  const table = join(programs, 'strace')
  const { status, signal, error } = spawnSync(
    'strace',
    ['-f', '-qq', '-c', '-U', 'name,calls', '-o', table, ...command],
    {
      env: { ...process.env, PRIVDROP_BENCH: programs },
    },
  )
  if (error) throw error
  // the subject ends itself by this signal, and strace ends like it
  if (status !== 0 && signal !== 'SIGKILL') throw new Error(`strace ${command.join(' ')}: ${status}`)
  const lines = readFileSync(table, 'utf8').matchAll(/^(\w+) +(\d+)$/gm)
  return Object.fromEntries([...lines].flatMap(([, name, calls]) => (name === 'total' ? [] : [[name, Number(calls)]])))
}
