/**
 * The threads of a process, from /proc/PID/task/TID/status (proc_pid_status(5)). The library reads them too; the demo does not
 * use that code, because a proof does not take the defendant's word.
 */
import { readdirSync, readFileSync } from 'node:fs'

const fields = [
  'Name',
  'Uid', // real, effective, saved, file system
  'Gid',
  'Groups',
  'CapInh',
  'CapPrm',
  'CapEff',
  'CapBnd',
  'CapAmb',
  'NoNewPrivs',
] as const

export type Thread = Record<'Tid' | (typeof fields)[number], string>

export function threadsOf(pid: number): Thread[] {
  return readdirSync(`/proc/${pid}/task`).map((tid) => {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1')
    const value = (field: string) => status.match(`(?:^|\n)${field}:(.*)`)?.[1]?.trim().replaceAll('\t', ' ')
    return Object.fromEntries([['Tid', tid], ...fields.map((field) => [field, value(field)])])
  })
}
