/**
 * Linux: the native addon's answers as states and errors.
 */
import { constants } from 'node:os'
import { compare, type Discrepancy, describe, parseReading, parseTask, type ThreadState, type Words } from '../audit'
import { openRoot, placeOf, type Root } from '../chroot'
import { errnoName, HardenError } from '../errors'
import { type Failure, type NativePlan, native, type OpenDescriptor, type Reading, type SelfReport } from '../native'
import { idsOf, isProcOurs, readThreads } from '../threads'
import type { Look, Platform } from './index'
import { hazards } from './linux/hazards'
import { decide, type Observation, type Plan } from './linux/plan'
import { noProc, refusal, unreachable } from './refusal'

export const linux: Platform = { observe, decide, openRoot, hazards, descriptors, rehearse, commit, remember, look }

const isFailure = (answer: object): answer is Failure => Object.hasOwn(answer, 'syscall')

function observe(): Observation {
  const seen = native().observe()
  if (isFailure(seen)) {
    const { step, syscall, errno } = seen
    throw noProc(`${syscall}: ${errnoName(errno)}`, { step, syscall, errno: -errno })
  }
  // More than one means that this /proc is not that of our pid namespace.
  const pids = idsOf(seen.status)
  if (pids !== String(process.pid)) throw noProc(`it shows this process as ${pids}, not as ${process.pid}`)
  const { status, securebits, credentials } = seen
  return {
    state: readable(() => parseTask({ tid: process.pid, status, securebits, jailed: false })),
    token: credentials,
  }
}

function nativePlan({ wanted, steps, boundingDrop, root, attempts }: Plan, { token }: Observation): NativePlan {
  return {
    before: token,
    steps,
    uid: wanted.user.real,
    gid: wanted.group.real,
    groups: Uint32Array.from(wanted.groups),
    permitted: wanted.permitted,
    effective: wanted.effective,
    inheritable: wanted.inheritable,
    ambient: wanted.ambient,
    boundingDrop,
    root: root?.descriptor ?? -1,
    keepSigusr1: process.listenerCount('SIGUSR1') > 0,
    attempts,
  }
}

function descriptors(plan: Plan, { state }: Observation): OpenDescriptor[] {
  const found = native().descriptors(plan.root?.descriptor ?? -1)
  if (isFailure(found)) throw refusal(found, plan, state)
  return found
}

function rehearse(plan: Plan, seen: Observation): readonly number[] {
  const reading = native().rehearse(nativePlan(plan, seen))
  if (isFailure(reading)) throw refusal(reading, plan, seen.state)
  const difference = readable(() => firstDifference(plan, parseReading(reading), reading))
  if (difference)
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step: 'verify',
      syscall: 'read',
      wanted: difference.wanted,
      found: difference.found,
      message: `the rehearsal came out otherwise than asked for: ${difference.field}: wanted ${difference.wanted || 'none'}, found ${difference.found || 'none'}`,
      remedy: 'look for a security module or a sandbox that alters credentials',
    })
  return reading.foreign
}

/** What the kernel's text lacks is said as everything else that speaks against a commit. */
function readable<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw noProc((error as Error).message)
  }
}

function firstDifference(plan: Plan, threads: ThreadState[], { dumpable }: Reading): Discrepancy | undefined {
  const [difference] = compare(plan.wanted, threads)
  if (difference || dumpable === 0) return difference
  return { tid: process.pid, name: 'the process', field: 'dumpable', wanted: '0', found: dumpable.toString() }
}

function commit<T extends object>(plan: Plan, seen: Observation, conclude: Parameters<Platform['commit']>[2]): T {
  const asked = nativePlan(plan, seen)
  // Past the line: what is thrown here is caught by the native side, and its message is the last line of the process.
  const verify = (reading: Reading): object => {
    const threads = parseReading(reading)
    const difference = firstDifference(plan, threads, reading)
    if (difference) throw new Error(`${describe(difference)}; the process ends because it is not what was asked for`)
    if (!asked.keepSigusr1 && !ignoresSigusr1(reading))
      throw new Error(`thread ${process.pid}: SIGUSR1: wanted ignored, found otherwise; the process ends`)
    try {
      return conclude(threads, [
        { name: 'park', us: reading.parkMicroseconds },
        { name: 'apply', us: reading.applyMicroseconds },
        { name: 'read back', us: reading.readMicroseconds },
      ])
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'something was thrown that is no Error'
      throw new Error(`step 'verify' in thread ${process.pid}: ${reason}`)
    }
  }
  const answer = native().commit(asked, verify)
  if (isFailure(answer)) throw refusal(answer, plan, seen.state)
  return answer as T
}

/** In SigIgn of proc_pid_status(5) bit N-1 is signal N. */
const SIGUSR1 = 1n << BigInt(constants.signals.SIGUSR1 - 1)

/** Dispositions are the process's: one thread tells of all (signal(7)). */
function ignoresSigusr1({ tasks: [task] }: Reading): boolean {
  const [, ignored = '0'] = /\nSigIgn:\t(\w+)/.exec(task?.status ?? '') ?? []
  return (BigInt(`0x${ignored}`) & SIGUSR1) !== 0n
}

/** What the process keeps natively, for its Workers have this module anew. */
interface Memory {
  readonly wanted: Words
  /** Where the new root is. */
  readonly root?: string
  /** Root.stat */
  readonly stat?: number
}

function remember(wanted: Words, root: Root | undefined): void {
  const memory: Memory = { wanted, ...(root && { root: root.place, stat: root.stat }) }
  native().remember(JSON.stringify(memory))
}

function look(): Look {
  const { wanted, root, stat } = JSON.parse(native().recall() ?? '{}') as Partial<Memory>
  if (isProcOurs()) return { source: 'proc', threads: readable(() => readThreads(root)), wanted }
  if (stat === undefined) throw noProc('there is none of the pid namespace of this process')
  const answer = native().askEveryThread(stat)
  if (isFailure(answer)) throw unreachable(answer)
  return { source: 'threads', threads: answer.map((self) => fromSelf(self, root)), wanted }
}

function fromSelf(self: SelfReport, root: string | undefined): ThreadState {
  const { tid, name, permitted, effective, inheritable, bounding, ambient, securebits, noNewPrivileges } = self
  const ids = ([real, effective, saved, fs]: SelfReport['user']) => ({ real, effective, saved, fs })
  return {
    ...{ tid, name, permitted, effective, inheritable, bounding, ambient, securebits, noNewPrivileges },
    user: ids(self.user),
    group: ids(self.group),
    groups: self.groups.toSorted((a, b) => a - b),
    jailed: self.inside && placeOf({ dev: self.rootDevice, ino: self.rootInode }) === root,
  }
}
