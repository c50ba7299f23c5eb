/**
 * Solaris and illumos: the native addon's answers as states and errors. Credentials belong to the process there, so the
 * process stands for all its threads.
 */
import { constants, fstatSync, openSync, statSync } from 'node:fs'
import { compare, type Discrepancy, describe, type Words } from '../audit'
import { ask, placeOf, type Root } from '../chroot'
import { HardenError } from '../errors'
import {
  type Failure,
  native,
  type OpenDescriptor,
  type SunosNative,
  type SunosPlan,
  type SunosReading,
  type SunosState,
} from '../native'
import type { Look, Platform } from './index'
import { hazards } from './sunos/hazards'
import { decide, type Plan, type State } from './sunos/plan'
import { refusal, unobservable } from './sunos/refusal'

export const sunos: Platform = { observe, decide, openRoot, hazards, descriptors, rehearse, commit, remember, look }

interface Observation {
  readonly state: State
}

const addon = () => native<SunosNative>()
const isFailure = (answer: object): answer is Failure => Object.hasOwn(answer, 'syscall')

function stateOf({ user, group, groups, privileges, flags, groupsMax }: SunosState, jailed: boolean): State {
  const ids = ([real, effective, saved]: SunosState['user']) => ({ real, effective, saved, fs: effective })
  return {
    tid: process.pid,
    name: 'all threads',
    user: ids(user),
    group: ids(group),
    // a set: not every kernel keeps the order
    groups: [...new Set(groups)].sort((a, b) => a - b),
    privileges,
    flags,
    jailed,
    groupsMax,
  }
}

function observe(): Observation {
  const seen = addon().observe()
  if (isFailure(seen)) throw unobservable(seen)
  return { state: stateOf(seen, false) }
}

/** There is no O_PATH: to open it takes the permission to read it. */
function openRoot(path: string): Root {
  const descriptor = ask(path, 'name a directory that exists', () => openSync(path, constants.O_DIRECTORY))
  return { path, descriptor, place: placeOf(fstatSync(descriptor, { bigint: true })) }
}

function nativePlan({ wanted, steps, privileges, root, attempts }: Plan): SunosPlan {
  return {
    steps,
    uid: wanted.user.real,
    gid: wanted.group.real,
    groups: Uint32Array.from(wanted.groups),
    permitted: privileges,
    limit: privileges,
    effective: privileges,
    root: root?.descriptor ?? -1,
    keepSigusr1: process.listenerCount('SIGUSR1') > 0,
    attempts,
  }
}

function descriptors(plan: Plan, { state }: Observation): OpenDescriptor[] {
  const found = addon().descriptors(plan.root?.descriptor ?? -1)
  if (isFailure(found)) throw refusal(found, plan, state)
  return found
}

function rehearse(plan: Plan, { state }: Observation): readonly number[] {
  const reading = addon().rehearse(nativePlan(plan))
  if (isFailure(reading)) throw refusal(reading, plan, state)
  const [difference] = differences(plan, reading)
  if (difference)
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step: 'verify',
      syscall: 'getppriv',
      wanted: difference.wanted,
      found: difference.found,
      message: `the rehearsal came out otherwise than asked for: ${difference.field}: wanted ${difference.wanted || 'none'}, found ${difference.found || 'none'}`,
      remedy: `report it as a fault of this package, with what pcred ${process.pid} and ppriv -v ${process.pid} print`,
    })
  return reading.foreign
}

function differences({ wanted }: Plan, { state, jailed }: SunosReading): Discrepancy[] {
  return compare(wanted, [stateOf(state, jailed)])
}

function commit<T extends object>(plan: Plan, { state }: Observation, conclude: Parameters<Platform['commit']>[2]): T {
  const asked = nativePlan(plan)
  // Past the line: what is thrown here is caught by the native side, and its message is the last line of the process.
  const verify = (reading: SunosReading): object => {
    const [difference] = differences(plan, reading)
    if (difference) throw new Error(`${describe(difference)}; the process ends because it is not what was asked for`)
    if (!asked.keepSigusr1 && !reading.state.sigusr1Ignored)
      throw new Error(`process ${process.pid}: SIGUSR1: wanted ignored, found otherwise; the process ends`)
    try {
      return conclude(
        [stateOf(reading.state, reading.jailed)],
        [
          { name: 'apply', us: reading.applyMicroseconds },
          { name: 'read back', us: reading.readMicroseconds },
        ],
      )
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'something was thrown that is no Error'
      throw new Error(`step 'verify' in process ${process.pid}: ${reason}`)
    }
  }
  const answer = addon().commit(asked, verify)
  if (isFailure(answer)) throw refusal(answer, plan, state)
  return answer as T
}

/** What the process keeps natively, for its Workers have this module anew. */
interface Memory {
  readonly wanted: Words
  /** Where the new root is. */
  readonly root?: string
}

function remember(wanted: Words, root: Root | undefined): void {
  const memory: Memory = { wanted, ...(root && { root: root.place }) }
  addon().remember(JSON.stringify(memory))
}

function look(): Look {
  const { wanted, root } = JSON.parse(addon().recall() ?? '{}') as Partial<Memory>
  const seen = addon().observe()
  if (isFailure(seen)) throw unobservable(seen)
  const jailed = root !== undefined && placeOf(statSync('/', { bigint: true })) === root
  return { source: 'process', threads: [stateOf(seen, jailed)], wanted }
}
