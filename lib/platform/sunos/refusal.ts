/**
 * Solaris and illumos: what the native code says of a step that failed, as an error that says what to do about it. Nothing
 * has changed.
 */
import { readlinkSync } from 'node:fs'
import { errnoName, HardenError } from '../../errors'
import type { Attempt, Failure } from '../../native'
import { show } from '../../options'
import { basicPrivileges, setsHeld } from '../../privileges'
import { noAccess, whereOf } from '../refusal'
import type { Plan, State } from './plan'

export function refusal(failure: Failure, plan: Plan, before: State): HardenError {
  const { step, syscall, errno, signal } = failure
  const where = whereOf(failure)
  // wherever it was: it has found nothing out
  if (signal)
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      message: `step '${step}' was not finished: ${syscall}: the child was ended by signal ${signal}`,
      remedy: 'find out who killed the rehearsing child (out of memory? a watchdog?), and call harden() again',
    })
  if (step === 'open directory') return openDirectory(failure)
  if (step === 'proc') return noProc(failure)
  if (['observe', 'descriptors', 'read back'].includes(step)) return unobservable(failure)
  if (step === 'regain')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      message: 'the rehearsing child could take root back, or its groups or privileges',
      remedy: 'find what grants it, and start the process without it',
    })
  const attempt = ['read', 'write', 'bind'].includes(step) ? plan.attempts[failure.item] : undefined
  if (attempt) return noAccess(attempt, failure, where, plan, remedyForAccess(attempt, failure, plan))
  const lacking = privilegesLacking(step, plan, before)
  const unnamed = lacking.length === 0 && ['permitted', 'limit'].includes(step) && asksForAll(plan)
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message:
      `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}` +
      (lacking.length || unnamed
        ? `, for the process lacks ${unnamed ? 'privileges without a name' : lacking.join(', ')}`
        : ''),
    remedy: remedyFor(failure, lacking, plan, before),
  })
}

export function unobservable(failure: Failure): HardenError {
  const { syscall, errno, item } = failure
  const one = syscall === 'fstat'
  return new HardenError({
    ...whereOf(failure),
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `${one ? `descriptor ${item}` : 'this process'} cannot be examined: ${syscall}: ${errnoName(errno)}`,
    remedy: one
      ? `see with pfiles ${process.pid} what descriptor ${item} is, and close it before harden()`
      : 'raise the limits on memory and open files (ulimit -v, ulimit -n), and call harden() again',
  })
}

/** fdwalk(3C) tries each number then, and their limit is a large one. */
function noProc(failure: Failure): HardenError {
  return new HardenError({
    ...whereOf(failure),
    code: 'ERR_HARDEN_PROC',
    message: `the open descriptors cannot be listed: /proc/self/fd: ${failure.syscall}: ${errnoName(failure.errno)}`,
    remedy: 'mount /proc, or lower the hard limit on open files to 65536 (ulimit -Hn 65536, before Node starts)',
  })
}

function openDirectory(failure: Failure): HardenError {
  const { item } = failure
  const path = pathOf(item)
  return new HardenError({
    ...whereOf(failure),
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    option: 'chroot',
    found: path,
    message: `descriptor ${item} is an open directory${path === undefined ? '' : ` (${show(path)})`}: none but the new root may be open`,
    remedy: 'close it before harden(): an fs.Dir, a FileHandle, or an inherited descriptor',
  })
}

/** proc(4) of Solaris: /proc/pid/path */
function pathOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/path/${descriptor}`)
  } catch {
    return undefined // it has been closed, or its name is not known
  }
}

/** What the step needs, and the process has not: by name, for a zone may never have had it. */
function privilegesLacking(step: string, { wanted }: Plan, { privileges }: State): string[] {
  const { permitted, limit, effective } = privileges
  switch (step) {
    case 'permitted':
      return wanted.privileges.permitted.filter((name) => !permitted.includes(name))
    case 'limit':
      return wanted.privileges.limit.filter((name) => !limit.includes(name))
    case 'rehearsal child':
      return ['proc_fork'].filter((name) => !effective.includes(name))
    case 'chroot':
      return ['proc_chroot'].filter((name) => !effective.includes(name))
    case 'setgroups':
    case 'setgid':
    case 'setuid':
      return ['proc_setid'].filter((name) => !effective.includes(name))
    default:
      return []
  }
}

/** zonecfg(8): limitpriv cannot name these. */
const neverInZone = [
  ...['dtrace_kernel', 'proc_zone', 'sys_config', 'sys_devices', 'sys_linkdir', 'sys_net_config', 'sys_res_config'],
  ...['sys_suser_compat', 'virt_manage', 'xvm_control'],
]

/** Where the two usual managers grant a privilege. */
function grant(names: readonly string[]): string {
  const [never, possible] = [true, false].map((is) => names.filter((name) => neverInZone.includes(name) === is).join())
  const zone = [possible && `zonecfg, set limitpriv="default,${possible}"`, never && `no zone can have ${never}`]
  return `${names.join(', ')} (in a zone: ${zone.filter(Boolean).join('; ')}. Under SMF: privileges= of the method_credential)`
}

/** Only of what a privilege is missing for they tell. */
const findPrivilege = `see which privilege is missing: ppriv -De node ..., or dtrace -n sdt:::priv-err`

/** 'all' as a word of its own: more than a zone has, and more than there are names. */
const asksForAll = ({ privileges }: Plan): boolean => /(^|[\s,])all([\s,]|$)/i.test(privileges ?? '')

function remedyFor({ step, syscall, errno }: Failure, lacking: readonly string[], plan: Plan, before: State): string {
  const { user, privileges } = before
  const name = errnoName(errno)
  if ((step === 'permitted' || step === 'limit') && asksForAll(plan))
    return setsHeld('zone').includes('limit')
      ? `write 'zone' rather than 'all' in 'privileges': all that this zone has`
      : `name the privileges rather than 'all' in 'privileges'`
  if (lacking.length > 0 && (step === 'permitted' || step === 'limit'))
    return `start the process with ${grant(lacking)}, or leave it out of 'privileges'`
  if (lacking.length > 0 && user.effective !== 0 && (user.real === 0 || user.saved === 0))
    return `the process has set root aside: call process.seteuid(0) before harden(), which brings ${lacking.join()} back`
  if (lacking.length > 0 && lacking.every((privilege) => privileges.permitted.includes(privilege)))
    return `raise ${lacking.join()} into the effective set of the process (ppriv -s E+${lacking.join()} ${process.pid})`
  if (step === 'rehearsal child' && lacking.length > 0)
    return `start the process with ${lacking.join()}, which is basic: the rehearsal takes a child process`
  if (lacking.length > 0)
    return `start the process as root, with ${grant(lacking)}; for development, call harden() only if process.getuid() is 0`
  if (name === 'EMFILE' || name === 'ENFILE') return 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  if (name === 'EAGAIN' || name === 'ENOMEM')
    return 'raise the limits on processes and memory (project.max-lwps, zone.max-lwps; swap), and call harden() again'
  if (step === 'chroot' && name === 'ENOTDIR') return 'name a directory'
  if (step === 'chroot' && name === 'EACCES') return 'let the process enter that directory (chmod o+x)'
  if (name === 'EPERM' || name === 'EACCES') return findPrivilege
  return `see with truss -f -t ${syscall} node ... what it is asked for`
}

/** Ports of services that have a privilege of their own (privileges(7)). */
function neededFor(port: number): string {
  if (port === 2049 || port === 4045) return 'sys_nfs'
  return [137, 138, 139, 445].includes(port) ? 'sys_smb' : 'net_privaddr'
}

/** Without these nobody can (privileges(7)), where they are basic privileges. */
const basicFor = { read: 'file_read', write: 'file_write', bind: 'net_access' }

function remedyForAccess({ step, port }: Attempt, { syscall, errno }: Failure, { wanted }: Plan): string {
  const name = errnoName(errno)
  const { effective } = wanted.privileges
  if (name === 'ENOENT' || name === 'ENOTDIR') return 'create it; under a chroot, inside of it'
  if (name === 'EROFS') return 'mount the file system writable'
  if (name !== 'EACCES' && name !== 'EPERM') return `see with truss -f -t ${syscall} node ... what it is asked for`
  if (basicPrivileges().includes(basicFor[step]) && !effective.includes(basicFor[step]))
    return `retain ${basicFor[step]}, best with all that is basic ('basic' in 'privileges')`
  if (step !== 'bind')
    return 'make it, and every directory above it, accessible to the new user (chown, chmod, or a supplementary group), or use it before harden()'
  return effective.includes(neededFor(port))
    ? findPrivilege
    : `retain ${neededFor(port)} ('basic ${neededFor(port)}' in 'privileges')`
}
