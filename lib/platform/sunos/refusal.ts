/**
 * Solaris and illumos: what the native code says of a step that failed, as an error that says what to do about it. Nothing
 * has changed.
 */
import { readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import type { Plan, Question } from '../../contract'
import { errnoName, HardenError } from '../../errors'
import type { Failure } from '../../native'
import { show } from '../../options'
import { heldBy, whereOf } from '../../refusal'
import { basicPrivileges } from './privileges'

export function explain(failure: Failure, plan: Plan | undefined, questions: readonly Question[]): HardenError {
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
  const asked = questions.at(failure.item)
  if (errno === constants.errno.ETIMEDOUT && asked && asked.kind === step) return heldBy(asked, failure)
  if (step === 'descriptors' && syscall === 'open') return openDirectory(failure)
  if (['observe', 'descriptors', 'read back'].includes(step)) return unobservable(failure)
  if (step === 'regain')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      message: 'the rehearsing child could take root back, or its groups or privileges',
      remedy: 'find what grants it, and start the process without it',
    })
  const lacking = plan ? privilegesLacking(step, plan) : []
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message:
      `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}` +
      (lacking.length ? `, for the process lacks ${lacking.join(', ')}` : ''),
    remedy: remedyFor(failure, lacking, plan),
  })
}

function unobservable(failure: Failure): HardenError {
  return new HardenError({
    ...whereOf(failure),
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `this process cannot be looked at: ${failure.syscall}: ${errnoName(failure.errno)}`,
    remedy: 'raise the limits on memory and open files (ulimit -v, ulimit -n), and call harden() again',
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
function privilegesLacking(step: string, { wanted, before }: Plan): string[] {
  const { permitted, limit = [], effective } = before.state.sets
  switch (step) {
    case 'permitted':
      return wanted.sets.permitted.filter((name) => !permitted.includes(name))
    case 'limit':
      return (wanted.sets.limit ?? []).filter((name) => !limit.includes(name))
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

const granting =
  `in a zone: zonecfg, set limitpriv="default,..." (sys_net_config is never there, net_rawaccess only with ` +
  `ip-type=exclusive); under SMF: privileges= of the method_credential`

function remedyFor({ step, syscall, errno }: Failure, lacking: readonly string[], plan: Plan | undefined): string {
  const { user, sets } = plan?.before.state ?? { user: undefined, sets: undefined }
  const name = errnoName(errno)
  if (lacking.length > 0 && (step === 'permitted' || step === 'limit'))
    return `start the process with ${lacking.join(', ')} (${granting}), or leave it out of 'privileges'`
  if (lacking.length > 0 && user && user.effective !== 0 && (user.real === 0 || user.saved === 0))
    return `the process has set root aside: call process.seteuid(0) before harden(), which brings ${lacking.join()} back`
  if (lacking.length > 0 && lacking.every((privilege) => sets?.permitted.includes(privilege)))
    return `raise ${lacking.join()} into the effective set of the process (ppriv -s E+${lacking.join()})`
  if (lacking.length > 0)
    return `start the process as root, with ${lacking.join()} (${granting}); for development, call harden() only if process.getuid() is 0`
  if (name === 'EMFILE' || name === 'ENFILE') return 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  if (name === 'EAGAIN' || name === 'ENOMEM')
    return 'raise the limits on processes and memory (project.max-lwps, zone.max-lwps; swap), and call harden() again'
  if (step === 'chroot' && name === 'ENOTDIR') return 'name a directory'
  if (step === 'chroot' && name === 'EACCES') return 'let the process enter that directory (chmod o+x)'
  return `see with truss -f -p ${process.pid} what refuses ${syscall}`
}

/** Without these nobody can (privileges(7)), where they are basic privileges. */
const basicFor: ReadonlyMap<string, string> = new Map([
  ['read', 'file_read'],
  ['write', 'file_write'],
  ['bind', 'net_access'],
])

export function remedyForAnswer({ kind }: Question, number: number, { wanted }: Plan): string {
  const errno = errnoName(number)
  if (errno === 'ENOENT' || errno === 'ENOTDIR') return 'create it; under a chroot, inside of it'
  if (errno === 'EROFS') return 'mount the file system writable'
  const needed = basicFor.get(kind)
  if (needed && basicPrivileges().includes(needed) && !wanted.sets.effective.includes(needed))
    return `retain ${needed}, best with all that is basic ('basic' in 'privileges')`
  if (kind === 'bind') return `retain net_privaddr ('basic net_privaddr' in 'privileges')`
  return 'give it, and the way to it, to the new user (chown, chmod, or a supplementary group), or use it before harden()'
}
