/**
 * The threads of a process as /proc shows them, read from outside: nobody is stopped, and what ends meanwhile is none.
 */
import { readdirSync, readFileSync, readlinkSync, statfsSync, statSync } from 'node:fs'
import { parseStatus, type Seen, type ThreadState } from './audit'
import { placeOf } from './chroot'

/** statfs(2) */
const PROC_SUPER_MAGIC = 0x9fa0

/** A /proc, and that of the pid namespace in which this process has the number that it knows of itself. */
export function isProcOurs(): boolean {
  try {
    const status = readFileSync('/proc/self/status', 'latin1')
    return statfsSync('/proc').type === PROC_SUPER_MAGIC && idsOf(status) === String(process.pid)
  } catch {
    return false
  }
}

/** One for each pid namespace from that of this /proc down to the process's own. Before Linux 4.1 there is no such line. */
export function idsOf(status: string): string {
  return /\nNStgid:\t(.*)/.exec(status)?.[1] ?? String(process.pid)
}

/**
 * @param root the place of the root directory that they should have
 * @throws Error one of them cannot be read, or not understood
 */
export function readThreads(root: string | undefined): Seen<ThreadState>[] {
  return ofEachThread('self', (tid, status, folder) =>
    parseStatus({ tid, status, jailed: root !== undefined && isInside(folder, root) }),
  )
}

/**
 * What `look` makes of each: of its status (proc_pid_status(5)), or of more in its folder. First the main thread, whose number
 * is the process's.
 *
 * @throws Error what `look` throws; ENOENT, if there is no such process, or it is hidden
 */
export function ofEachThread<T>(pid: number | 'self', look: (tid: number, status: string, folder: string) => T): T[] {
  const main = pid === 'self' ? process.pid : pid
  // readdirSync() sorts by letters, and numbers begin anew after the highest (pid_max)
  const tids = readdirSync(`/proc/${pid}/task`).map(Number)
  tids.sort((a, b) => Number(b === main) - Number(a === main) || a - b)
  return tids.flatMap((tid) => {
    const folder = `/proc/${pid}/task/${tid}`
    try {
      return [look(tid, readFileSync(`${folder}/status`, 'latin1'), folder)]
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ESRCH') return []
      throw error
    }
  })
}

/** The kernel begins the path of what is outside with '(unreachable)'. */
function isInside(folder: string, root: string): boolean {
  return placeOf(statSync(`${folder}/root`, { bigint: true })) === root && readlinkSync(`${folder}/cwd`).startsWith('/')
}
