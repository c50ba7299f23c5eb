import { isMainThread } from 'node:worker_threads'
import type { Promised, Threads } from './contract'
import { accountsOf, noAccounts } from './databases'
import { inspectorUrl } from './inspector'
import { platform } from './platform'
import { readPromise } from './promise'
import { type CredentialsReport, credentialRows, kindRows, reportCredentials, threadList } from './report'
import { compare, type Discrepancy } from './state'
import { finish, type Row } from './table'

/** Every thread, and what has changed since harden(). Frozen, serialisable as JSON, a table as a string. */
export interface AuditReport {
  /** 'proc': read from /proc. 'process': Solaris, where the process has the credentials of all its threads. */
  readonly source: 'proc' | 'process'
  readonly threads: readonly (CredentialsReport & { readonly tid: number; readonly name: string })[]
  /**
   * What harden() has promised, by field. null: it was not called yet, or it is not known here: a Worker does not know what another copy
   * of this package has promised.
   */
  readonly promise: Readonly<Record<string, string>> | null
  /** What is not as promised, in any thread. undefined: no promise is known to compare with. */
  readonly discrepancies: readonly Discrepancy[] | undefined
}

/**
 * Ask the kernel about every thread of this process, and compare it with what harden() has promised. From any thread, at any
 * time; cheap enough for a health check: `audit().discrepancies?.length === 0`. No thread is stopped.
 *
 * @returns frozen, serialisable as JSON, a table as a string
 * @throws HardenError ERR_HARDEN_PROC, in a chroot without /proc for one; on Solaris ERR_HARDEN_NOT_PERMITTED
 */
export function audit(): AuditReport {
  const promised = readPromise(platform.addon())
  const found = platform.readThreads(promised?.root)
  const report: AuditReport = {
    source: found.source,
    threads: found.kinds
      .flatMap(({ state, threads }) => {
        const credentials = reportCredentials(platform, state)
        return threads.map(({ tid, name }) => ({ tid, name, ...credentials }))
      })
      .sort((a, b) => Number(b.tid === process.pid) - Number(a.tid === process.pid) || a.tid - b.tid),
    promise: promised ? Object.fromEntries(promised.words) : null,
    discrepancies: promised && [
      ...found.kinds.flatMap((kind) => compareKind(promised, kind)),
      ...aroundIt(promised, found),
    ],
  }
  return finish(report, () => rows(report, found, promised))
}

function compareKind({ words }: Promised, { state, threads }: Threads['kinds'][number]): Discrepancy[] {
  const differences = compare(words, state)
  return threads.flatMap(({ tid, name }) => differences.map((difference) => ({ tid, name, ...difference })))
}

/** Discrepancies of the process as a whole: its inspector is open, or a signal would open it. */
function aroundIt({ allowInspector }: Promised, { sigusr1, kinds }: Threads): Discrepancy[] {
  const { tid = process.pid, name = 'node' } =
    kinds.flatMap(({ threads }) => threads).find(({ tid }) => tid === process.pid) ?? {}
  const open = inspectorUrl()
  // A Worker cannot tell whether the main thread listens.
  const listens = !isMainThread || process.listenerCount('SIGUSR1') > 0
  const found: Discrepancy[] = []
  if (open !== undefined && !allowInspector)
    found.push({ tid, name, field: 'inspector', wanted: 'closed', found: open })
  if (sigusr1 === 'default' || (sigusr1 === 'caught' && !listens))
    found.push({ tid, name, field: 'SIGUSR1', wanted: 'ignored', found: sigusr1 })
  return found
}

/** Threads that are alike share their rows. */
function rows({ discrepancies = [] }: AuditReport, found: Threads, promised: Promised | undefined): Row[] {
  const { source, kinds } = found
  const accounts = promised?.root === undefined ? accountsOf(kinds.map(({ state }) => state)) : noAccounts
  const wording = { accounts, all: platform.allNames() }
  const shown = kinds.map(({ state, threads }) => ({
    threads,
    rows: credentialRows(reportCredentials(platform, state), wording),
  }))
  const whole: Row[] = [['threads', 'all, by the credentials of the process'], ...shown.flatMap(({ rows }) => rows)]
  return [
    ...discrepancyRows(discrepancies),
    ...(source === 'process' ? whole : kindRows(shown)),
    ['verdict', `${threadsText(found)}${promised ? compared(discrepancies) : unknown}`],
  ]
}

/** One row for all threads that have the same discrepancy. */
function discrepancyRows(discrepancies: readonly Discrepancy[]): Row[] {
  const threads = new Map<string, Discrepancy[]>()
  for (const discrepancy of discrepancies) {
    const { field, wanted, found } = discrepancy
    const what = `${field}: wanted ${wanted || 'none'}, found ${found || 'none'}`
    threads.set(what, [...(threads.get(what) ?? []), discrepancy])
  }
  return [...threads].map(([what, those]): Row => ['discrepancy', `${threadList(those)}: ${what}`])
}

function threadsText({ source, kinds }: Threads): string {
  if (source === 'process') return 'all threads'
  const count = kinds.flatMap(({ threads }) => threads).length
  const threads = count === 1 ? '1 thread' : `${count} threads`
  return kinds.length > 1 ? `${threads} of ${kinds.length} kinds` : `${threads}, all alike`
}

function compared({ length }: readonly Discrepancy[]): string {
  if (length === 0) return ', as harden() left them'
  return `, not as harden() left them: ${length === 1 ? '1 discrepancy' : `${length} discrepancies`}`
}

const unknown = '; harden() has not been called, or what it has promised is not known here'
