/**
 * What the kernel says of every thread now, any time after harden() or before.
 */
import { type AnyState, compareWords, type Discrepancy, describe, inWords } from './audit'
import { platform } from './platform'
import { type CredentialsReport, credentialRows, finish, type Row, reportCredentials } from './report'

/** Every thread, and what has changed since harden(). Frozen, serialisable as JSON, a table as a string. */
export interface AuditReport {
  /**
   * Read from /proc; or, where there is none in the chroot, each thread has been asked. 'process': Solaris, where the
   * kernel has been asked about the process, whose credentials are those of all its threads.
   */
  readonly source: 'proc' | 'threads' | 'process'
  readonly threads: readonly (CredentialsReport & {
    readonly tid: number
    readonly name: string
    /** prctl(2), PR_GET_SECUREBITS; only where each thread has been asked: /proc does not tell. */
    readonly securebits?: number
  })[]
  /** After harden(): whatever is not as it was then, in whatever thread. Empty: nothing, or nothing was wanted yet. */
  readonly discrepancies: readonly Discrepancy[]
}

/**
 * Ask the kernel about every thread of the process. For any thread, at any time, in a chroot too; cheap enough for a health
 * check: `audit().discrepancies.length === 0`. It stops nobody, except in a chroot without /proc: there every thread is stopped
 * for less than a millisecond, and a Worker can only call it if it has done so once before the chroot, which loads the addon.
 *
 * @returns frozen, serialisable as JSON, a table as a string
 * @throws HardenError ERR_HARDEN_PROC, ERR_HARDEN_THREAD_UNREACHABLE; on Solaris ERR_HARDEN_NOT_PERMITTED
 */
export function audit(): AuditReport {
  const { source, threads, wanted } = platform.look()
  const report: AuditReport = {
    source,
    threads: threads.map(reportThread),
    discrepancies: wanted ? compareWords(wanted, threads) : [],
  }
  return finish(report, () => rows(report, threads))
}

function reportThread(thread: AnyState): AuditReport['threads'][number] {
  const { tid, name, securebits } = thread
  return { tid, name, ...reportCredentials(thread), ...(securebits !== undefined && { securebits }) }
}

/** Threads that are alike are shown together. */
function rows({ threads, discrepancies }: AuditReport, states: readonly AnyState[]): Row[] {
  const words = states.map((state) => JSON.stringify(inWords(state)))
  const kinds = [...new Set(words)].map((kind) => threads.filter((_, index) => words[index] === kind))
  return [
    ...kinds.flatMap((alike): Row[] => [
      ['threads', alike.map(({ tid, name }) => `${tid} (${name})`).join(', ')],
      ...alike.slice(0, 1).flatMap((thread) => credentialRows(thread)),
    ]),
    ...discrepancies.map((difference): Row => ['discrepancy', describe(difference)]),
  ]
}
