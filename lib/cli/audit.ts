/**
 * `privdrop audit PID`: the threads of a process that may not use this package at all. Only its /proc is read; a thread
 * that exits meanwhile is skipped.
 */
import { existsSync } from 'node:fs'
import { accountsOf } from '../databases'
import { HardenError } from '../errors'
import { capabilityNames, kernelMask } from '../platform/linux/capabilities'
import { lineOf, readKinds } from '../platform/linux/proc'
import { credentialRows, findingRows, kindRows, reportCredentials } from '../report'
import type { Row } from '../table'
import { parse } from './arguments'
import { type AuditFinding, findDangers, type Thread } from './dangers'
import { type Command, printJson, printRows, UnreadableError, UsageError, WRONG } from './terminal'

/** What --json prints. */
interface ProcessReport {
  readonly pid: number
  readonly alike: boolean
  readonly threads: readonly Thread[]
  readonly findings: readonly AuditFinding[]
}

export const audit: Command = {
  help: `Usage: privdrop audit [--json] PID

What the kernel says of every thread of a process: ids, groups, capability
sets, no_new_privs, seccomp mode; and what is dangerous in it. It may be any
process on Linux whose /proc you may read, in any language. Threads that are
alike are shown together; of threads that differ from the first one, only the
differences are shown.

Names beside ids come from this machine's /etc/passwd and /etc/group.

Something has to be mended if the threads differ or a danger is found, not for
a note. The last line is the verdict.
`,

  run(args, terminal) {
    const { values, positionals } = parse({ args, options: { json: { type: 'boolean' } }, allowPositionals: true })
    const [pid = '', ...more] = positionals
    if (!/^[1-9]\d{0,9}$/.test(pid) || more.length > 0) throw new UsageError('audit takes the number of one process')
    const report = read(pid)
    if (values.json) printJson(terminal, report)
    else printRows(terminal, rows(report))
    return report.findings.some(({ level }) => level === 'danger') ? WRONG : 0
  },
}

/** @throws UnreadableError */
function read(pid: string): ProcessReport {
  try {
    return reportOn(Number(pid))
  } catch (error) {
    const { code = 'ERR_HARDEN_PROC' } = error as NodeJS.ErrnoException
    throw new UnreadableError(code, whyNot(pid, error as NodeJS.ErrnoException))
  }
}

function reportOn(pid: number): ProcessReport {
  // a kernel without seccomp has no such line
  const kinds = readKinds(pid, undefined, (status) => lineOf(status, 'Seccomp') ?? '0')
  const threads = kinds.flatMap(({ state, threads, extra }) => {
    const credentials = reportCredentials({ name: 'linux' }, state) as Omit<Thread, 'tid' | 'name' | 'seccomp'>
    return threads.map(({ tid, name }): Thread => ({ tid, name, ...credentials, seccomp: modes.get(extra) ?? extra }))
  })
  if (threads.length === 0) throw Object.assign(new Error('it has ended'), { code: 'ESRCH' })
  const alike = kinds.length === 1
  return { pid, alike, threads, findings: findDangers(pid, threads, alike) }
}

/** proc_pid_status(5) */
const modes: ReadonlyMap<string, string> = new Map([
  ['0', 'none'],
  ['1', 'strict'],
  ['2', 'filter'],
])

/** Groups the threads that are alike; first the group of the first thread. */
function kindsOf(threads: readonly Thread[]): Thread[][] {
  const kinds = new Map<string, Thread[]>()
  for (const thread of threads) {
    const { tid: _tid, name: _name, ...own } = thread
    const kind = JSON.stringify(own)
    kinds.set(kind, [...(kinds.get(kind) ?? []), thread])
  }
  return [...kinds.values()]
}

function whyNot(pid: string, error: NodeJS.ErrnoException): string {
  if (error instanceof HardenError) return `${error.code}: ${error.message}`
  switch (error.code) {
    case 'ENOENT':
    case 'ESRCH':
      if (!existsSync('/proc/self/task')) return 'there is no /proc to read here: it takes Linux, with procfs on /proc'
      return `there is no process ${pid}; or /proc is mounted with hidepid and hides it: then run this as root`
    case 'EACCES':
    case 'EPERM':
      return `process ${pid} may not be read (${error.code}): run this as root, or as its user`
    default:
      return `process ${pid} cannot be read: ${error.message}`
  }
}

function rows({ pid, threads, findings }: ProcessReport): Row[] {
  const wording = { accounts: accountsOf(threads), all: capabilityNames(kernelMask()) }
  const dangers = findingRows(findings, 'danger')
  const count = dangers.length === 1 ? '1 danger' : `${dangers.length} dangers`
  return [
    ...dangers,
    ['process', `${pid} (${threads[0]?.name})`],
    ...kindRows(
      kindsOf(threads).map((kind) => ({
        threads: kind,
        rows: kind
          .slice(0, 1)
          .flatMap((thread): Row[] => [...credentialRows(thread, wording), ['seccomp', thread.seccomp]]),
      })),
    ),
    ...findingRows(findings, 'note'),
    ['verdict', dangers.length === 0 ? 'nothing to mend' : `to mend: ${count}`],
  ]
}
