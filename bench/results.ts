/** What has been measured, as data. */
import type { Calls } from './calls'
import type { Cell } from './costs'
import type { Quartiles } from './numbers'

export interface Results {
  machine: { node: string; kernel: string; cores: number; libpsx: string }
  cells: Cell[]
  calls: Calls
  /** Milliseconds, with few threads and with many. */
  standstill: Record<'nothing' | 'process.set*' | 'harden()', [Quartiles, Quartiles]>
  /** Node itself; the package after a server's modules, and before any; the least of both; harden() where its JavaScript
   * has run before, with 11 threads and with 500. */
  load: Record<'start' | 'server' | 'empty' | 'floor' | 'floorOfAll' | 'warm' | 'warmMany', Quartiles>
  memory: Record<'before' | 'more', Quartiles>
  throughput: Record<'nothing' | 'harden', Quartiles>
  /** By the megabytes of memory written to. */
  rehearsal: Record<string, Record<'rehearse' | 'whole' | 'clone', Quartiles>>
  aims: Aim[]
  /** Aims that what they need at the least rules out. */
  ruledOut: RuledOut[]
}

export interface Aim {
  aim: string
  against: string
  most: number
  measured: Quartiles
}

export interface RuledOut extends Aim {
  /** What it needs at the least, as a ratio to the same. */
  least: Quartiles
  what: string
}
