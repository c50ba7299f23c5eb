/**
 * Linux: what the native code says of a step that failed, as an error that says what to do about it. Nothing has changed.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import type { Plan, Question } from '../../contract'
import { errnoName, HardenError } from '../../errors'
import type { Failure, Step } from '../../native'
import { show } from '../../options'
import { heldBy, type Where, whereOf } from '../../refusal'
import { compare, inWords } from '../../state'
import { lineOf, parseStatus } from './proc'

export function explain(failure: Failure, plan: Plan | undefined, questions: readonly Question[]): HardenError {
  const { step, syscall, errno } = failure
  const where = whereOf(failure)
  // wherever it was: it has found nothing out
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

/** What the child was held by, if it was by a file system: an open directory is none of the questions. */
function heldQuestion({ step, item }: Failure, questions: readonly Question[]): Question | undefined {
  const reopen = { kind: 'reopen', path: '', number: item, option: undefined } as const
  const asked = step === 'descriptors' ? reopen : questions.at(item)
  if (!asked || (step !== 'descriptors' && step !== asked.kind)) return undefined
  return asked.kind === 'reopen' ? { ...asked, path: linkOf(asked.number) ?? '' } : asked
}

export function noProc(reason: string, where: Where = { step: 'proc' }): HardenError {
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_PROC',
    message: `the threads of this process cannot be read from /proc: ${reason}`,
    remedy: remedyForProc(where.errno ? errnoName(-where.errno) : ''),
  })
}

function remedyForProc(errno: string): string {
  if (errno === 'EMFILE' || errno === 'ENFILE') return moreFiles
  if (errno === 'EPERM' || errno === 'EACCES' || errno === 'ENOSYS')
    return `find what refuses it: a seccomp filter (${whereFilters}), or a security module`
  return `mount procfs on /proc in the pid namespace of the process (mount -t proc proc /proc); for audit() in a chroot, run npx privdrop audit ${process.pid} outside`
}

function ofDescriptor({ syscall, errno, item }: Failure, where: Where): HardenError {
  if (errno)
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_PROC',
      message: `the open descriptors of this process cannot be looked at: ${syscall}: ${errnoName(errno)}`,
      remedy: `mount procfs on /proc, and ${moreFiles}`,
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
    message: `descriptor ${item} is an open directory (${path === undefined ? 'closed by now' : show(path)}): it leads out of the chroot`,
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
  const { name, thread } = nameThread(tid)
  if (name?.startsWith('iou-'))
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_IO_URING',
      message: `${thread} is an io_uring thread of the kernel: it keeps root's credentials for ever`,
      remedy: 'start Node without UV_USE_IO_URING, or with UV_USE_IO_URING=0',
    })
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_THREAD_UNREACHABLE',
    message: `${thread} could not be stopped: ${syscall}: ${errnoName(errno)}`,
    remedy:
      errno === constants.errno.EAGAIN
        ? 'raise the limit on pending signals (RLIMIT_SIGPENDING, ulimit -i)'
        : 'find the native module whose thread blocks signal 33 or is stuck in a system call; a debugger stops threads, too',
  })
}

function differs({ syscall, errno, tid }: Failure, where: Where, plan: Plan | undefined): HardenError {
  if (syscall === 'getgroups')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'supplementalGroups',
      message: 'to compare so many supplementary groups of so many threads would stop the process for over a second',
      remedy: 'have fewer groups, now and afterwards, or call harden() before the threads are started',
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

/** Compared with the main thread as it was when the plan was made. */
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
    status = readFileSync(`/proc/self/task/${tid}/status`, 'latin1')
  } catch {
    // it has ended, or it is not known which it was
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
        ? 'find out who killed the rehearsing child (out of memory? a watchdog?), and call harden() again'
        : `allow ${syscall} in the seccomp filter of the process (${whereFilters})`,
  })
}

export function remedyForAnswer({ kind }: Question, errno: number): string {
  const { EACCES, ENOENT, ENOTDIR, EROFS } = constants.errno
  if (errno === ENOENT || errno === ENOTDIR) return 'create it; under a chroot, inside of it'
  if (errno === EROFS) return 'mount the file system writable'
  if (errno !== EACCES)
    return `find what stands in the way: a seccomp filter (${whereFilters}), a security module, a limit`
  if (kind === 'bind') return `retain cap_net_bind_service ('cap_net_bind_service+ep' in 'capabilities')`
  return 'give it, and the way to it, to the new user (chown, chmod, or a supplementary group), or use it before harden()'
}

/** Where the three usual managers grant a capability. */
function grant(names: string): string {
  const short = names.replaceAll('cap_', '').toUpperCase()
  return `start the process with ${names} (Docker: --cap-add ${short.replaceAll(', ', ' --cap-add ')}; Kubernetes: securityContext.capabilities.add: [${short}]; systemd: CapabilityBoundingSet= must have it)`
}

const moreFiles = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'

const whereFilters = 'Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter='

function remedyFor({ step, syscall, errno: number }: Failure, plan: Plan | undefined): string {
  const errno = number ? errnoName(number) : ''
  if (step === 'memory') return 'raise the limit on memory (RLIMIT_AS, memory.max)'
  if (errno === 'EMFILE' || errno === 'ENFILE') return moreFiles
  if (errno === 'EAGAIN' || errno === 'ENOMEM')
    return 'raise the limit on processes or memory (pids.max; RLIMIT_NPROC; memory.max), and call harden() again'
  if (errno === 'EINVAL' && step.startsWith('set'))
    return 'map these ids in the user namespace of the process (/proc/self/uid_map, gid_map; newuidmap, newgidmap)'
  if (syscall === 'chdir' && errno === 'EACCES') return 'let the new user enter that directory (chmod o+x)'
  return (
    (plan && remedyForCapability(step, plan)) ??
    `find what refuses ${syscall}: a seccomp filter (${whereFilters}), or a security module`
  )
}

function remedyForCapability(step: Step, { wanted, before }: Plan): string | undefined {
  const { user, sets, securebits } = before.state
  const lacking = [...new Set([...wanted.sets.permitted, ...wanted.sets.inheritable])]
    .filter((name) => !sets.permitted.includes(name))
    .join(', ')
  if (step === 'capset' && lacking) return `${grant(lacking)}, or leave it out of 'capabilities'`

  const needed = neededFor.get(step)
  if (needed && !sets.effective.includes(needed)) {
    if (sets.permitted.includes(needed))
      return user.real === 0 || user.saved === 0
        ? `the process has set root aside: call process.seteuid(0) before harden(), which brings ${needed} back`
        : `raise ${needed} into the effective set of the process, or start it without`
    return user.effective === 0
      ? grant(needed)
      : `start the process as root, with ${needed}; for development, call harden() only if process.getuid() is 0`
  }
  if (step === 'setgroups')
    return 'the user namespace of the process denies setgroups (/proc/self/setgroups): map its groups as root (newgidmap)'
  return securebits
    ? `start the process without securebits (now 0x${securebits.toString(16)}; systemd: SecureBits=)`
    : undefined
}

const neededFor: ReadonlyMap<Step, string> = new Map([
  ['chroot', 'cap_sys_chroot'],
  ['bounding', 'cap_setpcap'],
  ['setgroups', 'cap_setgid'],
  ['setresgid', 'cap_setgid'],
  ['setresuid', 'cap_setuid'],
])
