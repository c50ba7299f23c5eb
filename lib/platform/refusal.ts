/**
 * Linux: what the native code says of a step that failed, as an error that says what to do about it. Nothing has changed.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { type CommonCredentials, compare, describe, parseTask, type ThreadState } from '../audit'
import { CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_CHROOT, capabilityNames } from '../capabilities'
import { errnoName, HardenError, type HardenErrorFields } from '../errors'
import type { Failure } from '../native'
import { show } from '../options'
import type { Plan } from './linux/plan'

type Where = Pick<HardenErrorFields, 'step' | 'syscall' | 'errno' | 'tid'>

export function refusal(failure: Failure, plan: Plan, before: ThreadState): HardenError {
  const { step, syscall, errno } = failure
  const where = whereOf(failure)
  // wherever it was: it has found nothing out
  if (failure.signal) return killed(failure, where)
  switch (step) {
    case 'proc':
      return noProc(`${syscall}: ${errnoName(errno)}`, where)
    case 'descriptors':
      return ofDescriptor(failure, where)
    case 'park':
      return unreachable(failure)
    case 'compare':
      return differs(failure, where, before)
    case 'regain':
      return new HardenError({
        ...where,
        code: 'ERR_HARDEN_NOT_PERMITTED',
        message: 'the rehearsing child could take root back, or its groups or capabilities',
        remedy: 'find what grants it: a security module, or a system call filter that claims success',
      })
  }
  const attempt = ['read', 'write', 'bind'].includes(step) ? plan.attempts[failure.item] : undefined
  if (attempt) return noAccess(attempt, failure, where, plan, remedyForAccess(attempt.step, errno))
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}`,
    remedy: remedyFor(failure, plan, before),
  })
}

export function whereOf({ step, syscall, errno, tid }: Failure): Where {
  return { step, syscall, ...(errno && { errno: -errno }), ...(tid && { tid }) }
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
  return 'mount procfs on /proc in the pid namespace of the process: mount -t proc proc /proc'
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
  const path = attemptLink(item)
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    option: 'chroot',
    found: path,
    message: `descriptor ${item} is an open directory (${path === undefined ? 'closed by now' : show(path)}): it leads out of the chroot`,
    remedy: 'close it before harden(): an fs.Dir, a FileHandle, or an inherited descriptor',
  })
}

function attemptLink(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    return undefined // it has been closed
  }
}

export function unreachable(failure: Failure): HardenError {
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

function differs({ syscall, tid }: Failure, where: Where, before: ThreadState): HardenError {
  const { status, thread } = nameThread(tid)
  const others = status ? [parseTask({ tid, status, securebits: before.securebits, jailed: false })] : []
  const [difference] = compare(before, others)
  const own = syscall === 'kcmp' ? 'a root directory or a file table' : 'securebits or a seccomp mode'
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_THREAD_DIFFERS',
    message: difference ? describe(difference) : `${thread} has ${own} of its own`,
    remedy:
      'find the native module that changes its own threads (setresuid, prctl, unshare), and harden before it does',
    wanted: difference?.wanted,
    found: difference?.found,
  })
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

export function noAccess(
  { step, path, port, option }: Plan['attempts'][number],
  { syscall, errno }: Failure,
  where: Where,
  { wanted, root }: Pick<Plan, 'root'> & { readonly wanted: CommonCredentials },
  remedy: string,
): HardenError {
  const what = step === 'bind' ? `bind to TCP port ${port}` : `${step} ${show(path)}`
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_ACCESS',
    option,
    found: step === 'bind' ? String(port) : path,
    message: `user ${wanted.user.real} will not be able to ${what}${root && step !== 'bind' ? ' in the chroot' : ''}: ${syscall}: ${errnoName(errno)}`,
    remedy,
  })
}

function remedyForAccess(step: string, errno: number): string {
  const { EACCES, ENOENT, ENOTDIR, EROFS } = constants.errno
  if (errno === ENOENT || errno === ENOTDIR) return 'create it; under a chroot, inside of it'
  if (errno === EROFS) return 'mount the file system writable'
  if (errno !== EACCES)
    return `find what stands in the way: a seccomp filter (${whereFilters}), a security module, a limit`
  if (step === 'bind') return `retain cap_net_bind_service ('cap_net_bind_service+ep' in 'capabilities')`
  return 'give it, and the way to it, to the new user (chown, chmod, or a supplementary group), or use it before harden()'
}

/** Where the three usual managers grant a capability. */
function grant(names: string): string {
  const short = names.replaceAll('cap_', '').toUpperCase()
  return `start the process with ${names} (Docker: --cap-add ${short.replaceAll(', ', ' --cap-add ')}; Kubernetes: securityContext.capabilities.add: [${short}]; systemd: CapabilityBoundingSet= must have it)`
}

const moreFiles = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'

const whereFilters = 'Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter='

function remedyFor({ step, syscall, errno: number }: Failure, plan: Plan, before: ThreadState): string {
  const errno = number ? errnoName(number) : ''
  if (step === 'memory') return 'raise the limit on memory (RLIMIT_AS, memory.max)'
  if (errno === 'EMFILE' || errno === 'ENFILE') return moreFiles
  if (errno === 'EAGAIN' || errno === 'ENOMEM')
    return 'raise the limit on processes or memory (pids.max; RLIMIT_NPROC; memory.max), and call harden() again'
  if (errno === 'EINVAL' && step.startsWith('set'))
    return 'map these ids in the user namespace of the process (/proc/self/uid_map, gid_map; newuidmap, newgidmap)'
  if (syscall === 'chdir' && errno === 'EACCES') return 'let the new user enter that directory (chmod o+x)'

  const lacking = capabilityNames((plan.wanted.permitted | plan.wanted.inheritable) & ~before.permitted).join(', ')
  if (step === 'capset' && lacking) return `${grant(lacking)}, or leave it out of 'capabilities'`

  const needed = neededFor[step] ?? 0n
  const name = capabilityNames(needed).join()
  if (before.permitted & needed & ~before.effective)
    return before.user.real === 0 || before.user.saved === 0
      ? `the process has set root aside: call process.seteuid(0) before harden(), which brings ${name} back`
      : `raise ${name} into the effective set of the process, or start it without`
  if (needed & ~before.effective)
    return before.user.effective === 0
      ? grant(name)
      : `start the process as root, with ${name}; for development, call harden() only if process.getuid() is 0`

  if (step === 'setgroups')
    return 'the user namespace of the process denies setgroups (/proc/self/setgroups): map its groups as root (newgidmap)'
  if (before.securebits)
    return `start the process without securebits (now 0x${before.securebits.toString(16)}; systemd: SecureBits=)`
  return `find what refuses ${syscall}: a seccomp filter (${whereFilters}), or a security module`
}

const neededFor: Partial<Record<string, bigint>> = {
  chroot: CAP_SYS_CHROOT,
  bounding: CAP_SETPCAP,
  setgroups: CAP_SETGID,
  setresgid: CAP_SETGID,
  setresuid: CAP_SETUID,
}
