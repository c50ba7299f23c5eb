/** The one place at run time where the platform is chosen; at build time it is binding.gyp. */
import type { ThreadState } from '../audit'
import type { Plan } from '../plan'
import { linux } from './linux'
import { unsupported } from './unsupported'

/** Before this object is asked for anything the options have been checked. Each method throws HardenError. */
export interface Platform {
  /** The calling thread, as the kernel describes it. */
  observe(): Observation
  /** The plan's steps in a child that is thrown away. Changes nothing. */
  rehearse(plan: Plan, seen: Observation): void
  /**
   * The plan's steps in every thread. If it throws, nothing has changed; if `conclude` throws, the process ends.
   *
   * @param conclude what to make of the threads as the kernel describes them afterwards, found equal to the plan
   */
  commit<T extends object>(plan: Plan, seen: Observation, conclude: (threads: ThreadState[], steps: Timing[]) => T): T
}

export interface Observation {
  readonly state: ThreadState
  /** The same as the native code needs it: opaque. */
  readonly token: ArrayBuffer
}

/** Microseconds. */
export interface Timing {
  readonly name: string
  readonly us: number
}

export const platform: Platform = process.platform === 'linux' ? linux : unsupported
