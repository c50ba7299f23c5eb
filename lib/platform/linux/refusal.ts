/**
 * Linux: the native code's failures as errors with remedies. Nothing has changed.
 */
import { readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { remedyForAbsent, remedyForPath } from '../../access'
import type { Plan, Question } from '../../contract'
import { errnoName, HardenError, lacksFiles, moreFiles, showPath } from '../../errors'
import type { Failure, QuestionKind, Step } from '../../native'
import { endedRemedy, heldBy, type Where, whereOf } from '../../refusal'
import { compare, inWords } from '../../state'
import { lineOf, parseStatus, readText, typeOfMount } from './proc'

export function explain(failure: Failure, plan: Plan | undefined, questions: readonly Question[]): HardenError {
  const { step, syscall, errno } = failure
  const where = whereOf(failure)
  // at whatever step: a killed child has no answer
  if (failure.signal) return killed(failure, where)
  const asked = errno === constants.errno.ETIMEDOUT ? heldQuestion(failure, questions) : undefined
  if (asked) return heldBy(asked, failure)
  switch (step) {
    case 'proc':
      return noProc(`${syscall}: ${errnoName(errno)}`, where)
    case 'descriptors':
      return ofDescriptor(failure, where)
    case 'park':
      return unreachable(failure)
    case 'compare':
      return differs(failure, where, plan)
    case 'shared memory':
      return sharesMemory(failure, where)
    case 'exchange':
      if (errno !== constants.errno.ECHILD) break
      return new HardenError({
        ...where,
        code: 'ERR_HARDEN_NOT_PERMITTED',
        message:
          'the process that answers what other processes of the new user can exchange was ended before it had answered',
        remedy: endedRemedy,
      })
    case 'regain':
      return new HardenError({
        ...where,
        code: 'ERR_HARDEN_NOT_PERMITTED',
        message: 'the rehearsing child could take root back, or its groups or capabilities',
        remedy: 'find what grants it: a security module, or a system call filter that claims success',
      })
  }
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}`,
    remedy: remedyFor(failure, plan),
  })
}

/** The question whose path held the child; for an open directory, which is not among the questions, one about its
 * descriptor. */
function heldQuestion({ step, item }: Failure, questions: readonly Question[]): Question | undefined {
  const reopen = { kind: 'reopen', path: '', number: item, option: undefined, role: '' } as const
  const asked = step === 'descriptors' ? reopen : questions.at(item)
  if (!asked || (step !== 'descriptors' && step !== asked.kind)) return undefined
  return asked.kind === 'reopen' ? { ...asked, path: linkOf(asked.number) ?? '' } : asked
}

export function noProc(reason: string, where: Where = { step: 'proc' }): HardenError {
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_PROC',
    message: `the threads of this process cannot be read from /proc: ${reason}`,
    remedy: remedyForProc(where.syscall ?? 'open', where.errno ? errnoName(-where.errno) : ''),
  })
}

function remedyForProc(syscall: string, errno: string): string {
  if (lacksFiles(errno)) return moreFiles
  if (isRefusal(errno)) return findRefuser(syscall)
  return `mount procfs on /proc in the pid namespace of the process (mount -t proc proc /proc); for audit() in a chroot, run npx privdrop audit ${process.pid} outside, in the application's folder`
}

const isRefusal = (errno: string) => errno === 'EPERM' || errno === 'EACCES' || errno === 'ENOSYS'

function ofDescriptor({ syscall, errno, item }: Failure, where: Where): HardenError {
  if (errno)
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_PROC',
      message: `the open descriptors of this process cannot be examined: ${syscall}: ${errnoName(errno)}`,
      remedy: isRefusal(errnoName(errno)) ? findRefuser(syscall) : `mount procfs on /proc, and ${moreFiles}`,
    })
  if (syscall === 'io_uring_setup')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_IO_URING',
      message: `descriptor ${item} is an io_uring that keeps root's credentials: in a thread of the kernel, or registered`,
      remedy:
        'start Node without UV_USE_IO_URING, or with UV_USE_IO_URING=0, and without native modules that use io_uring',
    })
  const path = linkOf(item)
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    option: 'chroot',
    found: path,
    message: `descriptor ${item} is an open directory (${path === undefined ? 'closed by now' : showPath(path)}): it leads out of the chroot`,
    remedy: 'close it before harden(): an fs.Dir, a FileHandle, or an inherited descriptor',
  })
}

function linkOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    return undefined // it has been closed
  }
}

/** A process made with CLONE_VM (clone(2)). */
function sharesMemory({ tid }: Failure, where: Where): HardenError {
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_SHARED_MEMORY',
    found: `${tid}`,
    message: `process ${tid} shares the memory of this one and would keep its credentials: code of the new user would run with them`,
    remedy: 'end it before harden(): a native module has made it with clone(CLONE_VM) or vfork()',
  })
}

function unreachable(failure: Failure): HardenError {
  const { syscall, errno, tid } = failure
  const where = whereOf(failure)
  const { status, name, thread } = nameThread(tid)
  if (name?.startsWith('iou-'))
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_IO_URING',
      message: `${thread} is an io_uring thread of the kernel: it keeps root's credentials for ever`,
      remedy: name.startsWith('iou-sqp')
        ? 'start Node without UV_USE_IO_URING, or with UV_USE_IO_URING=0'
        : 'find the native module that uses io_uring, and load it after harden(); in Node itself UV_USE_IO_URING=0',
    })
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_THREAD_UNREACHABLE',
    message: `${thread} could not be stopped: ${syscall}: ${errnoName(errno)}`,
    found: lineOf(status, 'State'),
    remedy: remedyForThread(status, errnoName(errno)),
  })
}

function remedyForThread(status: string, errno: string): string {
  if (errno === 'EAGAIN') return 'raise the limit on pending signals (RLIMIT_SIGPENDING, ulimit -i)'
  if (errno === 'EACCES' || errno === 'EPERM')
    return `allow the process to signal itself: in a security module (AppArmor: signal peer=@{profile_name},) or a seccomp filter (${filterOf('rt_tgsigqueueinfo')})`
  const state = lineOf(status, 'State') ?? ''
  if (state.startsWith('D'))
    return `it waits for a disk or a file system (${state}), and no signal interrupts that: call harden() again when it is done`
  const blocked = BigInt(`0x${lineOf(status, 'SigBlk') ?? '0'}`) & (1n << 32n)
  return blocked !== 0n
    ? 'find the native module whose thread blocks signal 33, and load it after harden()'
    : 'call harden() again; if that does not help, a debugger or a seccomp filter stops that thread'
}

function differs({ syscall, errno, tid }: Failure, where: Where, plan: Plan | undefined): HardenError {
  if (syscall === 'getgroups')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'supplementalGroups',
      message:
        'comparing so many supplementary groups in so many threads would stop the process for more than a second',
      remedy: 'have fewer groups, now and afterwards, or call harden() before the threads are started',
    })
  if (syscall === 'read' && !tid && !errno)
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_THREAD_DIFFERS',
      message: 'the credentials of the calling thread have changed since the plan was made',
      remedy:
        'find what changes credentials meanwhile (process.setuid(), setuid(3) in a native module, a system call in one thread), and call again when it is done',
    })
  const { status, thread } = nameThread(tid)
  const difference = status && plan ? firstDifference(status, plan) : undefined
  const own = syscall === 'kcmp' ? 'a root directory or a file table' : 'securebits, a seccomp mode or a seccomp filter'
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_THREAD_DIFFERS',
    message: errno
      ? `${thread} could not be read: ${syscall}: ${errnoName(errno)}`
      : difference
        ? `${thread}: ${difference.field}: wanted ${difference.wanted || 'none'}, found ${difference.found || 'none'}`
        : `${thread} has ${own} of its own`,
    remedy:
      'find the native module that changes its own threads (setresuid, prctl, unshare), and harden before it does',
    wanted: difference?.wanted,
    found: difference?.found,
  })
}

/** Compares with the state of the thread that made the plan. */
function firstDifference(status: string, { before }: Plan) {
  try {
    const { securebits, jailed } = before.state
    const [difference] = compare(inWords(before.state), { ...parseStatus(status), securebits, jailed })
    if (difference) return difference
    for (const field of ['Seccomp', 'Seccomp_filters']) {
      const wanted = lineOf(before.text, field) ?? 'none'
      const found = lineOf(status, field) ?? 'none'
      if (wanted !== found) return { field, wanted, found }
    }
  } catch {
    // it has ended since
  }
  return undefined
}

function nameThread(tid: number): { status: string; name?: string; thread: string } {
  let status = ''
  try {
    status = readText(`/proc/self/task/${tid}/status`)
  } catch {
    // the thread has ended, or is unknown
  }
  const name = /^Name:\t(.*)/.exec(status)?.[1]
  const unnamed = tid ? 'a thread that has ended since' : 'one of the threads'
  return { status, name, thread: name === undefined ? unnamed : `thread ${tid} (${name})` }
}

function killed({ step, syscall, signal }: Failure, where: Where): HardenError {
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `the kernel refuses step '${step}': ${syscall}: the child was ended by signal ${signal}`,
    remedy:
      signal === constants.signals.SIGKILL
        ? 'find out what killed the rehearsing child (out of memory? a watchdog?), and call harden() again'
        : `allow ${syscall} in the seccomp filter of the process (${filterOf(syscall)})`,
  })
}

/** The calls of src-native/plan.h (EACH_STEP). */
const calls: Readonly<Record<QuestionKind, string>> = {
  read: 'open',
  write: 'faccessat2',
  enter: 'faccessat2',
  bind: 'bind',
  reopen: 'faccessat2',
  exchange: 'faccessat',
}

export const callOf = (kind: QuestionKind): string => calls[kind]

export function remedyForAnswer(question: Question, errno: number, plan: Plan): string {
  const { kind, path } = question
  const { EACCES, EIO, ENOENT, ENOTCONN, ENOTDIR, EROFS, ESTALE } = constants.errno
  if (errno === ENOENT || errno === ENOTDIR) return remedyForAbsent(question, plan)
  if (lacksFiles(errnoName(errno))) return moreFiles
  if (errno === EROFS) return 'mount the file system writable'
  if (errno === EIO || errno === ESTALE || errno === ENOTCONN)
    return 'see that its file system answers (NFS, FUSE), and call harden() again'
  if (errno !== EACCES)
    return `find what stands in the way: a seccomp filter (${filterOf(calls[kind])}), a security module, a limit`
  if (kind === 'bind')
    return plan.wanted.sets.effective.includes('cap_net_bind_service')
      ? 'find what refuses the port: the capability is retained, but the network namespace belongs to another user namespace (sysctl net.ipv4.ip_unprivileged_port_start=0 there), or a security module says no'
      : `retain cap_net_bind_service ('cap_net_bind_service+ep' in 'capabilities')`
  // by default a FUSE file system is open only to the user that mounted it
  if (typeOfMount(path).startsWith('fuse'))
    return 'mount that FUSE file system with allow_other, or use it before harden()'
  return remedyForPath(question, plan)
}

/** How the three usual managers grant capabilities to root; another user gets them only as ambient ones. */
function grant(names: readonly string[], user: number): string {
  const list = names.join(', ')
  const short = names.map((name) => name.replace('cap_', '').toUpperCase())
  if (user !== 0)
    return `start the process as root, or with ${list} ambient (systemd: AmbientCapabilities=${names.map((name) => name.toUpperCase()).join(' ')}; setpriv --ambient-caps +${names.map((name) => name.replace('cap_', '')).join(',+')}); for development, call harden() only if process.getuid() is 0`
  return `start the process with ${list} (Docker: --cap-add ${short.join(' --cap-add ')}; Kubernetes: securityContext.capabilities.add: [${short.join(', ')}]; systemd: CapabilityBoundingSet= must have it)`
}

/** Where the usual managers allow a system call. In systemd a later line adds to the earlier ones (systemd.exec(5)). */
function filterOf(syscall: string): string {
  const name = syscall === 'open' ? 'openat' : syscall // which C libraries use for open(3)
  return `Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter=${name} as the last of these lines`
}

const findRefuser = (syscall: string) =>
  `find what refuses ${syscall}: a seccomp filter (${filterOf(syscall)}), or a security module`

function remedyFor(failure: Failure, plan: Plan | undefined): string {
  const { step, syscall, errno: number } = failure
  const errno = number ? errnoName(number) : ''
  if (step === 'memory') return 'raise the limit on memory (RLIMIT_AS, memory.max)'
  if (lacksFiles(errno)) return moreFiles
  if (step === 'rehearsal child' && errno === 'ENOMEM')
    return 'give the machine more memory or swap, or let a large process be copied (sysctl vm.overcommit_memory=1; memory.max), and call harden() again'
  if (errno === 'EAGAIN' || errno === 'ENOMEM')
    return 'raise the limit on processes or memory (pids.max; RLIMIT_NPROC; memory.max), and call harden() again'
  if (errno === 'EINVAL' && idOf.has(step) && plan) return unmapped(step, plan)
  if (errno === 'EINVAL' && syscall === 'prctl')
    return 'run it on a Linux kernel: a system without this prctl(2) (an lx zone, gVisor) cannot keep the promise'
  if (syscall === 'fchdir' && errno === 'EACCES' && plan && !plan.before.state.sets.effective.some(entersAny))
    return 'let this process enter that directory (chmod o+x), or start it with cap_dac_read_search'
  if (syscall === 'chdir' && errno === 'EACCES') return 'let the new user enter that directory (chmod o+x)'
  if (errno === 'EACCES' && syscall === 'rt_tgsigqueueinfo')
    return `allow the process to signal itself in its security module (AppArmor: signal peer=@{profile_name})`
  return (plan && errno === 'EPERM' && remedyForCapability(step, plan)) || findRefuser(syscall)
}

/** A capability with which a process enters any directory (capabilities(7)). */
const entersAny = (name: string): boolean => name === 'cap_dac_read_search' || name === 'cap_dac_override'

/** The ids that a step sets. */
const idOf: ReadonlyMap<Step, (wanted: Plan['wanted']) => string> = new Map([
  ['setgroups', ({ groups }) => `the groups ${groups.join(', ')}`],
  ['setresgid', ({ group }) => `group ${group.real}`],
  ['setresuid', ({ user }) => `user ${user.real}`],
])

function unmapped(step: Step, { wanted }: Plan): string {
  const map = step === 'setresuid' ? 'uid_map' : 'gid_map'
  return `map ${idOf.get(step)?.(wanted)} in the user namespace of the process (/proc/self/${map}; newuidmap, newgidmap)`
}

/** All capabilities that the plan's steps need and the process lacks: not one for each restart. */
function remedyForCapability(step: Step, plan: Plan): string | undefined {
  const { user, sets, securebits } = plan.before.state
  const fixup = `start the process without securebits (now 0x${(securebits ?? 0).toString(16)}; systemd: SecureBits=)`
  if (securebits && (step === 'keepcaps' || step === 'ambient')) return fixup
  const { permitted, inheritable } = plan.wanted.sets
  const retained = [...permitted, ...inheritable].filter((name) => !sets.permitted.includes(name))
  const needed = plan.steps.map((due) => neededFor.get(due)).filter((name) => name !== undefined)
  const lacking = [...new Set([...needed.filter((name) => !sets.effective.includes(name)), ...retained])]
  const own = neededFor.get(step)
  const isLacking = own ? lacking.includes(own) : step === 'capset' && retained.length > 0
  if (isLacking && own && sets.permitted.includes(own))
    return user.real === 0 || user.saved === 0
      ? `call harden() before the process changes its effective user (now ${user.effective}), with which ${own} has gone from the effective set`
      : `raise ${own} into the effective set of the process, or start it without`
  if (isLacking && step === 'capset')
    return `${grant(lacking, user.effective)}, or leave ${retained.join(', ')} out of 'capabilities'`
  if (isLacking) return grant(lacking, user.effective)
  if (step === 'setgroups' && isSetgroupsDenied())
    return 'the user namespace of the process denies setgroups (/proc/self/setgroups): map its groups as root (newgidmap)'
  return securebits ? fixup : undefined
}

/** user_namespaces(7) */
function isSetgroupsDenied(): boolean {
  try {
    return readText('/proc/self/setgroups').startsWith('deny')
  } catch {
    return false
  }
}

const neededFor: ReadonlyMap<Step, string> = new Map([
  ['chroot', 'cap_sys_chroot'],
  ['bounding', 'cap_setpcap'],
  ['setgroups', 'cap_setgid'],
  ['setresgid', 'cap_setgid'],
  ['setresuid', 'cap_setuid'],
])
