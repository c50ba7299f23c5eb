/**
 * Linux: the native addon's answers as states and errors.
 */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { compare, describe, parseReading, parseTask } from '../audit'
import { CAP_SETGID, CAP_SETPCAP, CAP_SETUID, capabilityNames } from '../capabilities'
import { errnoName, HardenError } from '../errors'
import { type Failure, type NativePlan, native, type Reading } from '../native'
import type { Plan } from '../plan'
import type { Observation, Platform } from './index'

export const linux: Platform = { observe, rehearse, commit }

const isFailure = (answer: object): answer is Failure => 'syscall' in answer

function observe(): Observation {
  if (native().committed())
    throw new HardenError({
      code: 'ERR_HARDEN_ALREADY_APPLIED',
      message: 'this process has given up its privileges already, and cannot do so twice',
      remedy: 'call harden() once; to change what it retains, restart the process',
    })
  const seen = native().observe()
  if (isFailure(seen)) throw noProc(`${seen.syscall}: ${errnoName(seen.errno)}`)
  // A pid for each namespace from that of this /proc down to ours: more than one means that it is not ours.
  const pids = /^NSpid:\t(.*)$/m.exec(seen.status)?.[1] ?? String(process.pid)
  if (pids !== String(process.pid)) throw noProc(`it shows this process as ${pids}, not as ${process.pid}`)
  const state = parseTask({ tid: process.pid, status: seen.status, securebits: seen.securebits })
  return { state, token: seen.credentials }
}

function noProc(reason: string): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_PROC',
    step: 'proc',
    message: `the threads of this process cannot be read from /proc: ${reason}`,
    remedy: 'mount procfs on /proc in the pid namespace of the process: mount -t proc proc /proc',
  })
}

function nativePlan({ wanted, steps, boundingDrop }: Plan, { token }: Observation): NativePlan {
  return {
    before: token,
    steps,
    uid: wanted.user.real,
    gid: wanted.group.real,
    groups: Uint32Array.from(wanted.groups),
    permitted: wanted.permitted,
    effective: wanted.effective,
    inheritable: wanted.inheritable,
    bounding: wanted.bounding,
    ambient: wanted.ambient,
    boundingDrop,
    keepSigusr1: process.listenerCount('SIGUSR1') > 0,
  }
}

function rehearse(plan: Plan, seen: Observation): void {
  const reading = native().rehearse(nativePlan(plan, seen))
  if (isFailure(reading)) throw notPermitted(reading, plan, seen)
  const [difference] = compare(plan.wanted, parseReading(reading))
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
}

function notPermitted({ step, syscall, errno, signal }: Failure, plan: Plan, { state }: Observation): HardenError {
  const outcome = signal ? `the child was ended by signal ${signal}` : errnoName(errno)
  return new HardenError({
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step,
    syscall,
    ...(errno ? { errno: -errno } : {}),
    message: `the kernel refuses step '${step}': ${syscall}: ${outcome}`,
    remedy: remedyFor(step, errnoName(errno || 1), signal, plan, state),
  })
}

function remedyFor(step: string, errno: string, signal: number, plan: Plan, before: Observation['state']): string {
  if (signal === 9) return 'find out who killed the rehearsing child (out of memory?), and call harden() again'
  if (signal) return `allow ${step} in the seccomp filter of the process`
  if (errno === 'EAGAIN' || errno === 'ENOMEM')
    return 'raise the limit on processes or memory (pids.max, RLIMIT_NPROC), and call harden() again'
  if (errno === 'EINVAL' && step.startsWith('setres'))
    return 'map this id in the user namespace of the process (/proc/self/uid_map, gid_map)'

  const needed = { bounding: CAP_SETPCAP, setgroups: CAP_SETGID, setresgid: CAP_SETGID, setresuid: CAP_SETUID }[step]
  if (step === 'capset') {
    const lacking = capabilityNames((plan.wanted.permitted | plan.wanted.inheritable) & ~before.permitted)
    if (lacking.length)
      return `start the process with ${lacking.join(', ')} (in a container: add it), or leave it out of 'capabilities'`
  }
  if (needed && before.permitted & needed & ~before.effective)
    return `the process has set its effective user aside; process.seteuid(0) before harden() brings ${capabilityNames(needed).join()} back`
  if (needed && !(before.effective & needed))
    return `start the process as root, with ${capabilityNames(needed).join()} (in a container: add it); for development, call harden() only if process.getuid() is 0`
  if (step === 'setgroups')
    return 'the user namespace of the process denies setgroups (/proc/self/setgroups): map its groups as root (newgidmap)'
  return `find what refuses ${step}: a seccomp filter, a security module, securebits`
}

function commit<T extends object>(plan: Plan, seen: Observation, conclude: Parameters<Platform['commit']>[2]): T {
  const verify = (reading: Reading): object => {
    const threads = parseReading(reading)
    const [difference] = compare(plan.wanted, threads)
    // caught by the native side: last line, SIGABRT
    if (difference) throw new Error(`${describe(difference)}; the process ends because it is not what was asked for`)
    if (reading.dumpable !== 0) throw new Error(`dumpable: wanted 0, found ${reading.dumpable}; the process ends`)
    return conclude(threads, [
      { name: 'park', us: reading.parkMicroseconds },
      { name: 'apply', us: reading.applyMicroseconds },
      { name: 'read back', us: reading.readMicroseconds },
    ])
  }
  const answer = native().commit(nativePlan(plan, seen), verify)
  if (isFailure(answer)) throw notCommitted(answer, seen)
  return answer as T
}

/** Refused with every thread parked: which one it was, and what about it. */
function notCommitted({ step, syscall, errno, tid }: Failure, { state }: Observation): HardenError {
  if (step === 'proc') return noProc(`${syscall}: ${errnoName(errno)}`)
  const status = readStatus(tid)
  const name = /^Name:\t(.*)$/m.exec(status)?.[1] ?? 'it has ended meanwhile'
  const fields = { step, syscall, tid, ...(errno ? { errno: -errno } : {}) }
  if (step === 'compare') {
    const [difference] = status ? compare(state, [parseTask({ tid, status, securebits: state.securebits })]) : []
    return new HardenError({
      ...fields,
      code: 'ERR_HARDEN_THREAD_DIFFERS',
      message: difference
        ? describe(difference)
        : `thread ${tid} (${name}) differs from the main thread in its securebits or its seccomp mode`,
      remedy:
        'find the native module that changes the credentials of its own threads, and call harden() before it does',
      wanted: difference?.wanted,
      found: difference?.found,
    })
  }
  if (step === 'park' && name.startsWith('iou-'))
    return new HardenError({
      ...fields,
      code: 'ERR_HARDEN_IO_URING',
      message: `thread ${tid} (${name}) is an io_uring thread of the kernel: it keeps root's credentials for ever`,
      remedy: 'start Node without UV_USE_IO_URING, or with UV_USE_IO_URING=0',
    })
  if (step === 'park')
    return new HardenError({
      ...fields,
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      message: `thread ${tid} (${name}) could not be stopped: ${syscall}: ${errnoName(errno)}`,
      remedy:
        errno === constants.errno.EAGAIN
          ? 'raise the limit on pending signals (RLIMIT_SIGPENDING, ulimit -i)'
          : 'find the native module whose thread blocks signal 33 or is stuck in a system call; a debugger stops threads, too',
    })
  return new HardenError({
    ...fields,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}`,
    remedy: 'raise the limits on memory',
  })
}

function readStatus(tid: number): string {
  try {
    return readFileSync(`/proc/self/task/${tid}/status`, 'latin1')
  } catch {
    return '' // the thread has ended
  }
}
