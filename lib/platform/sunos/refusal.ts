/**
 * Solaris and illumos: the native code's failures as errors with remedies. Nothing has changed.
 */
import { readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { remedyForAbsent, remedyForPath } from '../../access'
import type { Plan, Question } from '../../contract'
import { errnoName, HardenError, lacksFiles, moreFiles, showPath } from '../../errors'
import type { Failure, QuestionKind } from '../../native'
import { heldBy, whereOf } from '../../refusal'
import type { SunosDecision } from './plan'
import { basicPrivileges, setsHeld } from './privileges'

export function explain(failure: Failure, plan: Plan | undefined, questions: readonly Question[]): HardenError {
  const { step, syscall, errno, signal } = failure
  const where = whereOf(failure)
  // at whatever step: a killed child has no answer
  if (signal)
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      message: `step '${step}' was not finished: ${syscall}: the child was ended by signal ${signal}`,
      remedy: 'find out what killed the rehearsing child (out of memory? a watchdog?), and call harden() again',
    })
  const asked = questions.at(failure.item)
  if (errno === constants.errno.ETIMEDOUT && asked && asked.kind === step) return heldBy(asked, failure)
  if (step === 'descriptors' && syscall === 'open') return openDirectory(failure)
  if (step === 'descriptors' && syscall === 'access') return noProc(failure)
  if (errno === 0 && (step === 'compare' || step === 'read back')) return differs(failure)
  if (['observe', 'compare', 'descriptors', 'read back'].includes(step)) return unobservable(failure)
  if (step === 'regain')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_NOT_PERMITTED',
      message: 'the rehearsing child could take root back, or its groups or privileges',
      remedy: 'find what grants it, and start the process without it',
    })
  const lacking = plan ? privilegesLacking(step, plan) : []
  const unnamed = lacking.length === 0 && ['permitted', 'limit'].includes(step) && asksForAll(plan)
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message:
      `the kernel refuses step '${step}': ${syscall}: ${errnoName(errno)}` +
      (lacking.length || unnamed
        ? `, because the process lacks ${unnamed ? 'privileges without a name' : lacking.join(', ')}`
        : ''),
    remedy: remedyFor(failure, lacking, plan),
  })
}

function unobservable(failure: Failure): HardenError {
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

/** A set has bits without a name, or something has changed since the plan was made. */
function differs(failure: Failure): HardenError {
  return new HardenError({
    ...whereOf(failure),
    code: 'ERR_HARDEN_THREAD_DIFFERS',
    message: 'the credentials of the process are not what the plan was made for',
    remedy: `find the native module that changes them; pcred ${process.pid} and ppriv -v ${process.pid} print them`,
  })
}

/** fdwalk(3C) would try each number up to the hard limit, which is large. */
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
    message: `descriptor ${item} is an open directory${path === undefined ? '' : ` (${showPath(path)})`} outside the new root`,
    remedy: 'close it before harden(): an fs.Dir, a FileHandle, or an inherited descriptor',
  })
}

/** proc(4) of Solaris: /proc/pid/path */
function pathOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/path/${descriptor}`)
  } catch {
    return undefined // it has been closed, or its path is unknown
  }
}

/** The privileges that a step needs and the process lacks: by name, because a zone may never have had them. */
function privilegesLacking(step: string, { wanted, before }: Plan): string[] {
  const { permitted, limit = [], effective } = before.state.sets
  switch (step) {
    case 'permitted':
      return wanted.sets.permitted.filter((name) => !permitted.includes(name))
    case 'limit':
      return (wanted.sets.limit ?? []).filter((name) => !limit.includes(name))
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

/** zonecfg(8): privileges that limitpriv cannot name. */
const neverInZone = [
  ...['dtrace_kernel', 'proc_zone', 'sys_config', 'sys_devices', 'sys_linkdir', 'sys_net_config', 'sys_res_config'],
  ...['sys_suser_compat', 'virt_manage', 'xvm_control'],
]

/** How the two usual managers grant a privilege. */
function grant(names: readonly string[]): string {
  const [never, possible] = [true, false].map((is) => names.filter((name) => neverInZone.includes(name) === is).join())
  const zone = [possible && `zonecfg, set limitpriv="default,${possible}"`, never && `no zone can have ${never}`]
  return `${names.join(', ')} (in a zone: ${zone.filter(Boolean).join('; ')}. Under SMF: privileges= of the method_credential)`
}

/** These tools show which privilege is missing. */
const findPrivilege = 'see which privilege is missing: ppriv -De node ..., or dtrace -n sdt:::priv-err'

/** The remedy for any other errno. */
const follow = (syscall: string): string => `see with truss -f -t ${syscall} node ... what it is asked for`

/** 'all' as a word: more than a zone has, and more than there are names for. */
const asksForAll = (plan: Plan | undefined): boolean =>
  /(^|[\s,])all([\s,]|$)/i.test((plan as (Plan & SunosDecision) | undefined)?.privileges ?? '')

function remedyFor({ step, syscall, errno }: Failure, lacking: readonly string[], plan: Plan | undefined): string {
  const name = errnoName(errno)
  const names = lacking.join()
  if (step === 'permitted' || step === 'limit') {
    if (asksForAll(plan))
      return setsHeld('zone').includes('limit')
        ? `write 'zone' rather than 'all' in 'privileges': all that this zone has`
        : `name the privileges rather than 'all' in 'privileges'`
    if (names) return `start the process with ${grant(lacking)}, or leave it out of 'privileges'`
  }
  if (names && lacking.every((privilege) => plan?.before.state.sets.permitted.includes(privilege)))
    return `call harden() before the process lowers its effective set, as process.seteuid() does; or raise ${names} there from outside (ppriv -s E+${names} ${process.pid}); or have SMF start the process as its user (method_credential; docs/smf.md)`
  if (names && step === 'rehearsal child')
    return `start the process with ${names}, which is basic: the rehearsal takes a child process`
  if (names)
    return `start the process as root, with ${grant(lacking)}; for development, call harden() only if process.getuid() is 0`
  if (lacksFiles(name)) return moreFiles
  if (name === 'EAGAIN' || name === 'ENOMEM')
    return 'raise the limits on processes and memory (project.max-lwps, zone.max-lwps; swap), and call harden() again'
  if (step === 'chroot' && name === 'ENOTDIR') return 'name a directory'
  if (step === 'chroot' && name === 'EACCES') return 'let the process enter that directory (chmod o+x)'
  return name === 'EPERM' || name === 'EACCES' ? findPrivilege : follow(syscall)
}

/** Some ports have privileges of their own (privileges(7)). */
function neededFor(port: number): string {
  if (port === 2049 || port === 4045) return 'sys_nfs'
  return [137, 138, 139, 445].includes(port) ? 'sys_smb' : 'net_privaddr'
}

/** Where these are basic privileges, nothing works without them (privileges(7)). */
const basicFor: ReadonlyMap<string, string> = new Map([
  ['read', 'file_read'],
  ['write', 'file_write'],
  ['bind', 'net_access'],
])

export function remedyForAnswer(question: Question, number: number, plan: Plan): string {
  const { kind, number: port } = question
  const errno = errnoName(number)
  const { effective } = plan.wanted.sets
  if (errno === 'ENOENT' || errno === 'ENOTDIR') return remedyForAbsent(question, plan)
  if (lacksFiles(errno)) return moreFiles
  if (errno === 'EROFS') return 'mount the file system writable'
  if (errno !== 'EACCES' && errno !== 'EPERM') return follow(callOf(kind))
  const needed = basicFor.get(kind)
  if (needed && basicPrivileges().includes(needed) && !effective.includes(needed))
    return `retain ${needed}, best with all that is basic ('basic' in 'privileges')`
  if (kind !== 'bind') return remedyForPath(question, plan)
  return effective.includes(neededFor(port))
    ? findPrivilege
    : `retain ${neededFor(port)} ('basic ${neededFor(port)}' in 'privileges')`
}

/** The calls of src-native/plan.h (EACH_STEP). */
const calls: Readonly<Record<QuestionKind, string>> = {
  read: 'open',
  write: 'access',
  enter: 'access',
  bind: 'bind',
  reopen: 'access',
  exchange: 'faccessat',
}

export const callOf = (kind: QuestionKind): string => calls[kind]
