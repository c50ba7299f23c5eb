/**
 * What weakens a plan without being a reason to refuse it, as far as both systems have it in common. Read-only; whatever
 * vanishes meanwhile or cannot be read is skipped.
 */
import cluster from 'node:cluster'
import { readlinkSync } from 'node:fs'
import type { Finding, Question, Scene } from './contract'
import type { Answer, OpenDescriptor } from './native'
import { show } from './options'

/** A question, and what the rehearsing child answered. */
export interface Asked {
  readonly question: Question
  readonly answer: Answer | undefined
}

export function danger(code: string, message: string, remedy: string): Finding {
  return { code, level: 'danger', message, remedy }
}

export function note(code: string, message: string, remedy: string): Finding {
  return { code, level: 'note', message, remedy }
}

/** undefined: it is not there, or this process may not read it. */
export function attempt<T>(part: () => T): T | undefined {
  try {
    return part()
  } catch {
    return undefined
  }
}

/** node(1): a signal, which any process of the same user may send, writes the contents of the process to a file. */
export function signalReport(): Finding | undefined {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/[\s"]+/)]
  // Node takes an underscore for a hyphen
  const snapshot = options.some((option) => /^--heapsnapshot[-_]signal(=|$)/.test(option))
  const found = [
    attempt(() => process.report.reportOnSignal) && '--report-on-signal',
    snapshot && '--heapsnapshot-signal',
  ]
  const names = found.filter((name) => typeof name === 'string').join(' and ')
  if (!names) return undefined
  return danger(
    'HARDEN_SIGNAL_REPORT',
    `any process of the new user can have this one write its memory or environment to a file, by a signal: ${names}`,
    `start Node without ${names} (NODE_OPTIONS, too), or set process.report.reportOnSignal to false`,
  )
}

/** SO_ACCEPTCONN, socket(7); in a cluster it is the primary that listens. */
export function notListening({ descriptors }: Scene): Finding | undefined {
  if (cluster.isWorker || !descriptors || descriptors.some(({ kind }) => kind === 'listens')) return undefined
  return danger(
    'HARDEN_NOT_LISTENING',
    'no socket of this process is listening yet: what only root may bind or read has to come before harden()',
    `call harden() when the server has emitted 'listening'`,
  )
}

/** environ(7) */
export function environment({ plan }: Scene): Finding | undefined {
  if (plan.wanted.user.real === 0) return undefined
  const roots = { HOME: '/root', USER: 'root', LOGNAME: 'root' }
  const found = Object.entries(roots).flatMap(([name, value]) => (process.env[name] === value ? name : []))
  if (found.length === 0) return undefined
  return note(
    'HARDEN_ENVIRONMENT',
    `${found.join(', ')} in the environment ${found.length === 1 ? 'is' : 'are'} root's still: programs look there for files they cannot read`,
    `set or delete ${found.map((name) => `process.env.${name}`).join(', ')}`,
  )
}

/** Many files of root's are open to its group (credentials(7)). */
export function groupZero({ plan: { wanted } }: Scene): Finding | undefined {
  const { user, group, groups } = wanted
  if (user.real === 0 || (group.real !== 0 && !groups.includes(0))) return undefined
  return note(
    'HARDEN_GROUP_ZERO',
    `group 0, root's, is ${group.real === 0 ? 'the group' : 'among the supplementary groups'} of the process`,
    `name a group of the server's own, and 0 not among 'supplementalGroups'`,
  )
}

/** Each is a few system calls of the rehearsing child. */
const DESCRIPTORS_ASKED = 1024

export function descriptorQuestions(descriptors: readonly OpenDescriptor[]): Question[] {
  return descriptors
    .filter(({ kind }) => kind === 'file')
    .slice(0, DESCRIPTORS_ASKED)
    .map(({ descriptor }) => ({ kind: 'reopen', path: '', number: descriptor, option: undefined }))
}

/** "descriptor 19 ('/var/log/mail.log')" */
function describeDescriptor(descriptor: number): string {
  const path = attempt(() => readlinkSync(`/proc/self/fd/${descriptor}`))
  return `descriptor ${descriptor} (${path === undefined ? 'closed by now' : show(path)})`
}

const NAMED_MAX = 16

/** Open files and devices; sockets and pipes are no matter of permission. */
export function foreignFiles(asked: readonly Asked[]): Finding | undefined {
  // Before Linux 5.8 there is no such call, and no answer is EACCES.
  const foreign = asked.filter(({ question, answer }) => question.kind === 'reopen' && answer?.errno === 13)
  if (foreign.length === 0) return undefined
  const named = foreign.slice(0, NAMED_MAX).map(({ question }) => describeDescriptor(question.number))
  const more = foreign.length > NAMED_MAX ? ` and ${foreign.length - NAMED_MAX} more` : ''
  return note(
    'HARDEN_DESCRIPTORS',
    `what the new user could not open itself, and goes on using: ${named.join(', ')}${more}`,
    'give the files to the new user if they are to be opened again (a log after its rotation), or close them before harden()',
  )
}

/** A process that can write to a directory can put another in the place of what lies in it (path_resolution(7), rename(2)). */
export function othersCanExchange(asked: readonly Asked[]): Finding | undefined {
  const found = asked.find(({ question, answer }) => question.option === 'chroot' && answer?.by === 'others')
  if (!found?.answer) return undefined
  return note(
    'HARDEN_WRITABLE_ANCESTOR',
    `others than root can exchange what the chroot's path names: ${show(found.answer.found)}`,
    'give the folder in which it lies to root (chown root), and take write permission from others (chmod go-w)',
  )
}
