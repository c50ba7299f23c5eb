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
  /** Node itself; the package after a server's modules, and before any; its addon alone. */
  load: Record<'start' | 'server' | 'empty' | 'floor', Quartiles>
  memory: Record<'before' | 'more', Quartiles>
  throughput: Record<'nothing' | 'harden', Quartiles>
  /** By the megabytes of memory written to. */
  rehearsal: Record<string, Record<'rehearse' | 'whole' | 'clone', Quartiles>>
  aims: Aim[]
}

export interface Aim {
  aim: string
  against: string
  most: number
  measured: Quartiles
}
