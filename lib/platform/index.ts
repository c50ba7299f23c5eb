/** The one place at run time where the platform is chosen; at build time it is binding.gyp. */
import type { AnyState, Words } from '../audit'
import type { Root } from '../chroot'
import type { Hazard } from '../hazards/look'
import type { OpenDescriptor } from '../native'
import type { Asked, Plan } from '../plan'
import type { Finding } from '../report'
import { linux } from './linux'
import { sunos } from './sunos'
import { unsupported } from './unsupported'

/**
 * Before this object is asked for anything the options have been checked. Each method throws HardenError. What it is given
 * it has made itself: states, observations and plans are of its own kind, with more in them than is named here.
 */
export interface Platform {
  /** The calling thread, as the kernel describes it. */
  observe(): Observation
  /** Who the process is to be, with all that this platform keeps of it, and the steps to be taken for it. */
  decide(asked: Asked, before: AnyState, findings: Finding[]): Pick<Plan, 'wanted' | 'steps'>
  /** The new root directory: to be closed by closeRoot(). */
  openRoot(path: string): Root
  /** What is looked for here by findHazards(), in the order of the report. */
  readonly hazards: readonly Hazard[]
  /** The open descriptors that mean something; throws for those by which the plan would be undone. */
  descriptors(plan: Plan, seen: Observation): readonly OpenDescriptor[]
  /** The plan's steps in a child that is thrown away. Changes nothing. Returns the open files that it could not open itself then. */
  rehearse(plan: Plan, seen: Observation): readonly number[]
  /**
   * The plan's steps in every thread. If it throws, nothing has changed; if `conclude` throws, the process ends.
   *
   * @param conclude what to make of the threads as the kernel describes them afterwards, found equal to the plan
   */
  commit<T extends object>(plan: Plan, seen: Observation, conclude: (threads: AnyState[], steps: Timing[]) => T): T
  /** For look(), in whatever thread of the process: what the commit has led to. */
  remember(wanted: Words, root: Root | undefined): void
  look(): Look
}

/** What is known of every thread at some time. */
export interface Look {
  readonly source: 'proc' | 'threads' | 'process'
  readonly threads: readonly AnyState[]
  /** What remember() was told. */
  readonly wanted?: Words
}

export interface Observation {
  readonly state: AnyState
  /** The same as the native code needs it, where it does: opaque. */
  readonly token?: unknown
}

/** Microseconds. */
export interface Timing {
  readonly name: string
  readonly us: number
}

const platforms: Partial<Record<string, Platform>> = { linux, sunos }

export const platform: Platform = platforms[process.platform] ?? unsupported
