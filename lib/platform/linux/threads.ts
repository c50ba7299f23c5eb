/** What audit() reads: every thread of this process, from its own /proc. */
import { statfsSync } from 'node:fs'
import { constants } from 'node:os'
import type { Threads } from '../../contract'
import { lineOf, readKinds, readText } from './proc'
import { noProc } from './refusal'

/** statfs(2) */
const PROC_SUPER_MAGIC = 0x9fa0

/**
 * The state of every thread of this process.
 *
 * @throws HardenError ERR_HARDEN_PROC
 */
export function readThreads(root: string | undefined): Threads {
  try {
    const status = readText('/proc/self/status')
    refuseForeignProc(status)
    return { source: 'proc', kinds: readKinds('self', root), sigusr1: dispositionOf(status) }
  } catch (error) {
    throw noProc((error as Error).message)
  }
}

/** Another file system, or the /proc of a pid namespace in which this process has another number. */
function refuseForeignProc(status: string): void {
  if (statfsSync('/proc').type !== PROC_SUPER_MAGIC) throw new Error('it is not procfs')
  const pids = idsOf(status)
  if (pids !== `${process.pid}`) throw new Error(`it shows this process as ${pids}, not as ${process.pid}`)
}

/** The process's number in each pid namespace, from that of this /proc down to its own. Linux before 4.1 has no such
 * line. */
function idsOf(status: string): string {
  return lineOf(status, 'NStgid') ?? `${process.pid}`
}

/** proc_pid_status(5), SigIgn and SigCgt: bit N-1 is signal N. Dispositions belong to the process (signal(7)). */
function dispositionOf(status: string): Threads['sigusr1'] {
  const bit = 1n << BigInt(constants.signals.SIGUSR1 - 1)
  const has = (label: string) => (BigInt(`0x${lineOf(status, label) ?? '0'}`) & bit) !== 0n
  return has('SigIgn') ? 'ignored' : has('SigCgt') ? 'caught' : 'default'
}
