/**
 * Refusals that both systems have in common. Nothing has changed.
 */
import { constants } from 'node:os'
import type { Plan, Platform, Question } from './contract'
import { errnoName, HardenError, type HardenErrorFields, lacksFiles, moreFiles, showPath } from './errors'
import { exchangedThrough } from './hazards'
import type { Failure } from './native'

export type Where = Pick<HardenErrorFields, 'step' | 'syscall' | 'errno' | 'tid'>

export function whereOf({ step, syscall, errno, tid }: Failure): Where {
  return { step, syscall, ...(errno && { errno: -errno }), ...(tid && { tid }) }
}

/** The error that the new identity cannot do what `rehearse` asks for. */
export function noAccess(
  { callOf, remedyForAnswer }: Platform,
  question: Question,
  errno: number,
  plan: Plan,
): HardenError {
  const { kind, path, number, option } = question
  const what = kind === 'bind' ? `bind to TCP port ${number}` : `${kind} ${showPath(path)}`
  const syscall = callOf(kind)
  return new HardenError({
    code: 'ERR_HARDEN_ACCESS',
    option,
    step: kind,
    syscall,
    errno: -errno,
    found: kind === 'bind' ? `${number}` : path,
    message: `user ${plan.wanted.user.real} will not be able to ${what}${plan.root && kind !== 'bind' ? ' in the chroot' : ''}: ${syscall}: ${errnoName(errno)}`,
    remedy: remedyForAnswer(question, errno, plan),
  })
}

/** A wait that ran out: what a question names held the child. `path`, for a descriptor: where it leads. */
export function heldBy({ kind, path, number, option }: Question, failure: Failure): HardenError {
  const descriptor = `descriptor ${number} (${path ? showPath(path) : 'closed by now'})`
  const what = kind === 'bind' ? `port ${number}` : kind === 'reopen' ? descriptor : showPath(path)
  return new HardenError({
    ...whereOf(failure),
    code: option?.startsWith('rehearse') ? 'ERR_HARDEN_ACCESS' : 'ERR_HARDEN_NOT_PERMITTED',
    option,
    found: path || `${number}`,
    message: `the rehearsal waited in vain for ${what}: ${failure.syscall}: ${errnoName(failure.errno)}`,
    remedy: 'see that its file system answers (NFS, FUSE), and call harden() again',
  })
}

/** The error that the new user decides where the chroot's path leads. */
export function exchanged(
  { callOf }: Platform,
  question: Question,
  found: string | undefined,
  plan: Plan,
): HardenError {
  const component = found ?? question.path
  const user = plan.wanted.user.real
  return new HardenError({
    code: 'ERR_HARDEN_CHROOT_PATH',
    option: 'chroot',
    step: 'exchange',
    syscall: callOf('exchange'),
    found: component,
    message: `user ${user} can put something else in the place of ${showPath(component)}, so the path of the chroot leads where that user decides`,
    remedy: `give ${showPath(exchangedThrough(component, user))} to root (chown root), and take write permission from user ${user} and its groups (chmod go-w, setfacl -b)`,
  })
}

/** The remedy where the process that answers as another process of the new user has ended. */
export const endedRemedy =
  'give the server an account of its own: processes of the same user can end that process, and so can a seccomp filter that kills; then call harden() again'

function remedyFor(errno: number): string {
  const { ECHILD, EPERM, ENOSYS } = constants.errno
  if (errno === ECHILD) return endedRemedy
  if (lacksFiles(errnoName(errno))) return moreFiles
  if (errno === EPERM || errno === ENOSYS)
    return 'find the seccomp filter or security module that refuses faccessat, statx, openat, setresgid or setresuid'
  // the path existed a moment ago
  return 'see that it stays where it is, and that its file system answers, and call harden() again'
}

export function notAsked({ callOf }: Platform, question: Question, errno = 0): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_NOT_PERMITTED',
    option: question.option,
    step: question.kind,
    syscall: callOf(question.kind),
    ...(errno && { errno: -errno }),
    found: question.path,
    message: `${showPath(question.path)} could not be examined as another process of the new user: ${errnoName(errno)}`,
    remedy: remedyFor(errno),
  })
}
