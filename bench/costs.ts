/** What each way costs over the number of threads. */
import { afterwards, changed, Fresh, floor, mustBeChanged, subject, trimmed } from './fresh'

export const counts = [11, 32, 100, 500, 1000] as const
/** How many runs with idle threads; with busy ones, which take seconds, a third of that. */
const runs: Record<number, number> = { 11: 31, 32: 31, 100: 21, 500: 11, 1000: 11 }

/** Microseconds, by way and part; all of one index ran side by side. */
export type Samples = Record<string, number[]>

export interface Cell {
  threads: number
  busy: boolean
  us: Samples
  /** How many of all threads libpsx has changed, read from outside. */
  psx: number
}

interface Way {
  name: string
  command: string[]
  /** The expected state of every thread afterwards; none: this way does not reach it. */
  wanted?: object
}

function ways(threads: number, busy: boolean): Way[] {
  const task = { threads, busy }
  return [
    { name: 'set', command: subject({ ...task, way: 'set' }), wanted: afterwards.set },
    { name: 'harden', command: subject({ ...task, way: 'harden' }), wanted: afterwards.harden },
    { name: 'trimmed', command: trimmed(subject({ ...task, way: 'harden' })), wanted: afterwards.harden },
    // with busy threads it takes minutes
    ...(busy ? [] : (['psx', 'psx all'] as const).map((way) => ({ name: way, command: subject({ ...task, way }) }))),
    { name: 'floor', command: floor(threads, busy, 'go'), wanted: afterwards.harden },
    { name: 'floor trimmed', command: trimmed(floor(threads, busy, 'go')), wanted: afterwards.harden },
    { name: 'floor held', command: floor(threads, busy, 'hold'), wanted: afterwards.harden },
    { name: 'floor trimmed held', command: trimmed(floor(threads, busy, 'hold')), wanted: afterwards.harden },
  ]
}

export async function measureCosts(): Promise<Cell[]> {
  const cells = counts.flatMap((threads) =>
    [false, true].map((busy): Cell => ({ threads, busy, us: {}, psx: threads })),
  )
  for (let run = 0; run < Math.max(...Object.values(runs)); run++)
    for (const cell of cells) if (run < (runs[cell.threads] ?? 0) / (cell.busy ? 3 : 1)) await once(cell)
  return cells
}

/** Each way in a process of its own. */
async function once(cell: Cell): Promise<void> {
  const { threads, busy, us } = cell
  for (const { name, command, wanted } of ways(threads, busy)) {
    const fresh = new Fresh(command)
    try {
      for (const [part, value] of Object.entries(await fresh.answer())) {
        us[`${name} ${part}`] ??= []
        us[`${name} ${part}`]?.push(value)
      }
      if (wanted) mustBeChanged(fresh.pid, wanted, threads)
      else cell.psx = Math.min(cell.psx, changed(fresh.pid, name === 'psx' ? afterwards.kept : afterwards.harden)[0])
    } finally {
      await fresh.end()
    }
  }
}
