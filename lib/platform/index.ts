/** The one place at run time where the platform is chosen; at build time it is binding.gyp. */
import type { Seen, ThreadState, Words } from '../audit'
import type { Root } from '../chroot'
import type { OpenDescriptor } from '../native'
import type { Plan } from '../plan'
import { linux } from './linux'
import { unsupported } from './unsupported'

/** Before this object is asked for anything the options have been checked. Each method throws HardenError. */
export interface Platform {
  /** The calling thread, as the kernel describes it. */
  observe(): Observation
  /** The open descriptors that mean something; throws for those by which the plan would be undone. */
  descriptors(plan: Plan, seen: Observation): readonly OpenDescriptor[]
  /** The plan's steps in a child that is thrown away. Changes nothing. Returns the open files that it could not open itself then. */
  rehearse(plan: Plan, seen: Observation): readonly number[]
  /**
   * The plan's steps in every thread. If it throws, nothing has changed; if `conclude` throws, the process ends.
   *
   * @param conclude what to make of the threads as the kernel describes them afterwards, found equal to the plan
   */
  commit<T extends object>(plan: Plan, seen: Observation, conclude: (threads: ThreadState[], steps: Timing[]) => T): T
  /** For look(), in whatever thread of the process: what the commit has led to. */
  remember(wanted: Words, root: Root | undefined): void
  look(): Look
}

/** What is known of every thread at some time. */
export interface Look {
  readonly source: 'proc' | 'threads'
  readonly threads: readonly Seen<ThreadState>[]
  /** What remember() was told. */
  readonly wanted?: Words
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
