/**
 * Linux: the native addon's answers as states and errors.
 */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { compare, type Discrepancy, describe, parseReading, parseTask, type ThreadState } from '../audit'
import { CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_CHROOT, capabilityNames } from '../capabilities'
import { errnoName, HardenError } from '../errors'
import { type Failure, type NativePlan, native, type Reading } from '../native'
import type { Plan } from '../plan'
import type { Observation, Platform } from './index'

export const linux: Platform = { observe, rehearse, commit }

const isFailure = (answer: object): answer is Failure => Object.hasOwn(answer, 'syscall')

function observe(): Observation {
  const seen = native().observe()
  if (isFailure(seen)) throw noProc(`${seen.syscall}: ${errnoName(seen.errno)}`, seen)
  // A pid for each namespace from that of this /proc down to ours: more than one means that it is not ours.
  const pids = /^NSpid:\t(.*)$/m.exec(seen.status)?.[1] ?? String(process.pid)
  if (pids !== String(process.pid)) throw noProc(`it shows this process as ${pids}, not as ${process.pid}`)
  const { status, securebits, credentials } = seen
  return {
    state: readable(() => parseTask({ tid: process.pid, status, securebits, jailed: false })),
    token: credentials,
  }
}

function noProc(reason: string, failed?: Pick<Failure, 'syscall' | 'errno'>): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_PROC',
    step: 'proc',
    ...(failed && { syscall: failed.syscall, errno: -failed.errno }),
    message: `the threads of this process cannot be read from /proc: ${reason}`,
    remedy: 'mount procfs on /proc in the pid namespace of the process: mount -t proc proc /proc',
  })
}

function nativePlan({ wanted, steps, boundingDrop, root }: Plan, { token }: Observation): NativePlan {
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
  }
}

function rehearse(plan: Plan, seen: Observation): void {
  const reading = native().rehearse(nativePlan(plan, seen))
  if (isFailure(reading)) throw notPermitted(reading, plan, seen)
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

function notPermitted({ step, syscall, errno, signal }: Failure, plan: Plan, { state }: Observation): HardenError {
  if (step === 'regain')
    return new HardenError({
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step,
      syscall,
      message: 'the rehearsing child could take root back, or its groups or capabilities',
      remedy: 'find what grants it: a security module, or a system call filter that claims success',
    })
  const outcome = signal ? `the child was ended by signal ${signal}` : errnoName(errno)
  return new HardenError({
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step,
    syscall,
    ...(errno ? { errno: -errno } : {}),
    message: `the kernel refuses step '${step}': ${syscall}: ${outcome}`,
    remedy: signal
      ? remedyForSignal(signal, step)
      : remedyFor(step, syscall, errno ? errnoName(errno) : '', plan, state),
  })
}

function remedyForSignal(signal: number, step: string): string {
  return signal === constants.signals.SIGKILL
    ? 'find out who killed the rehearsing child (out of memory?), and call harden() again'
    : `allow ${step} in the seccomp filter of the process`
}

function remedyFor(step: string, syscall: string, errno: string, plan: Plan, before: Observation['state']): string {
  if (errno === 'EAGAIN' || errno === 'ENOMEM')
    return 'raise the limit on processes or memory (pids.max, RLIMIT_NPROC), and call harden() again'
  if (errno === 'EINVAL' && step.startsWith('set'))
    return 'map these ids in the user namespace of the process (/proc/self/uid_map, gid_map)'
  if (syscall === 'chdir' && errno === 'EACCES') return 'let the new user enter that directory (chmod o+x)'

  const lacking = capabilityNames((plan.wanted.permitted | plan.wanted.inheritable) & ~before.permitted).join(', ')
  if (step === 'capset' && lacking)
    return `start the process with ${lacking} (in a container: add it), or leave it out of 'capabilities'`

  const needed = neededFor[step] ?? 0n
  const name = capabilityNames(needed).join()
  if (before.permitted & needed & ~before.effective)
    return before.user.real === 0 || before.user.saved === 0
      ? `the process has set root aside: call process.seteuid(0) before harden(), which brings ${name} back`
      : `raise ${name} into the effective set of the process, or start it without`
  if (needed & ~before.effective)
    return before.user.effective === 0
      ? `start the process with ${name} (in a container: add it)`
      : `start the process as root, with ${name}; for development, call harden() only if process.getuid() is 0`

  if (step === 'setgroups')
    return 'the user namespace of the process denies setgroups (/proc/self/setgroups): map its groups as root (newgidmap)'
  if (before.securebits)
    return `start the process without securebits (now 0x${before.securebits.toString(16)}; systemd: SecureBits=)`
  return `find what refuses ${step}: a seccomp filter, or a security module`
}

const neededFor: Partial<Record<string, bigint>> = {
  chroot: CAP_SYS_CHROOT,
  bounding: CAP_SETPCAP,
  setgroups: CAP_SETGID,
  setresgid: CAP_SETGID,
  setresuid: CAP_SETUID,
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
  if (isFailure(answer)) throw notCommitted(answer, seen)
  return answer as T
}

/** In SigIgn of proc_pid_status(5) bit N-1 is signal N. */
const SIGUSR1 = 1n << BigInt(constants.signals.SIGUSR1 - 1)

function ignoresSigusr1({ tasks }: Reading): boolean {
  const ignored = (status: string) => BigInt(`0x${/^SigIgn:\t(\w+)$/m.exec(status)?.[1] ?? 0}`)
  return tasks.every(({ status }) => (ignored(status) & SIGUSR1) !== 0n)
}

/** Refused by, or about, one thread; nothing has changed. */
function notCommitted({ step, syscall, errno, tid }: Failure, { state }: Observation): HardenError {
  if (step === 'proc') return noProc(`${syscall}: ${errnoName(errno)}`, { syscall, errno })
  const status = readStatus(tid)
  const name = /^Name:\t(.*)$/m.exec(status)?.[1]
  const thread = name === undefined ? 'a thread that has ended since' : `thread ${tid} (${name})`
  const fields = { step, syscall, ...(tid && { tid }), ...(errno && { errno: -errno }) }

  if (step === 'compare') {
    const others = status ? [parseTask({ tid, status, securebits: state.securebits, jailed: false })] : []
    const [difference] = compare(state, others)
    const own = syscall === 'kcmp' ? 'a root directory or a file table' : 'securebits or a seccomp mode'
    return new HardenError({
      ...fields,
      code: 'ERR_HARDEN_THREAD_DIFFERS',
      message: difference ? describe(difference) : `${thread} has ${own} of its own`,
      remedy:
        'find the native module that changes its own threads (setresuid, prctl, unshare), and harden before it does',
      wanted: difference?.wanted,
      found: difference?.found,
    })
  }
  if (step === 'park' && name?.startsWith('iou-'))
    return new HardenError({
      ...fields,
      code: 'ERR_HARDEN_IO_URING',
      message: `${thread} is an io_uring thread of the kernel: it keeps root's credentials for ever`,
      remedy: 'start Node without UV_USE_IO_URING, or with UV_USE_IO_URING=0',
    })
  if (step === 'park')
    return new HardenError({
      ...fields,
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      message: `${thread} could not be stopped: ${syscall}: ${errnoName(errno)}`,
      remedy:
        errno === constants.errno.EAGAIN
          ? 'raise the limit on pending signals (RLIMIT_SIGPENDING, ulimit -i)'
          : 'find the native module whose thread blocks signal 33 or is stuck in a system call; a debugger stops threads, too',
    })
  return new HardenError({
    ...fields,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}`,
    remedy: limits[step] ?? `find what refuses ${syscall}: a seccomp filter, or a security module`,
  })
}

const limits: Partial<Record<string, string>> = {
  memory: 'raise the limit on memory (RLIMIT_AS, memory.max)',
  'read back': 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)',
}

function readStatus(tid: number): string {
  try {
    return readFileSync(`/proc/self/task/${tid}/status`, 'latin1')
  } catch {
    return '' // the thread has ended
  }
}
