/** How the hazards look at the process. */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { AnyState } from '../audit'
import type { OpenDescriptor } from '../native'
import { show } from '../options'
import type { Plan } from '../plan'
import type { Finding } from '../report'

export interface Scene<OfPlatform extends Plan = Plan> {
  readonly plan: OfPlatform
  readonly before: AnyState
  /** Those that are not plain; undefined: they could not all be looked at. */
  readonly descriptors: readonly OpenDescriptor[] | undefined
}

/** A method, for a platform's own look at its own plan. */
export type Hazard = { look(scene: Scene): Finding | undefined }['look']

export function danger(code: string, message: string, remedy: string): Finding {
  return { code, level: 'danger', message, remedy }
}

export function note(code: string, message: string, remedy: string): Finding {
  return { code, level: 'note', message, remedy }
}

/** By hand, for readFileSync() of a path leaves it open when fstat(2) fails. */
function text(path: string): string {
  const descriptor = openSync(path, 'r')
  try {
    return readFileSync(descriptor, 'latin1')
  } finally {
    closeSync(descriptor)
  }
}

/** undefined: it is not there, or not for us. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

export const read = (path: string): string | undefined => attempt(() => text(path))
export const list = (folder: string): string[] => attempt(() => readdirSync(folder)) ?? []

/** "descriptor 19 ('/var/log/mail.log')" */
export function describeDescriptor(descriptor: number): string {
  const path = attempt(() => readlinkSync(`/proc/self/fd/${descriptor}`))
  return `descriptor ${descriptor} (${path === undefined ? 'closed by now' : show(path)})`
}

/** A field of proc_pid_stat(5), from the third on; the second is a name that may look like anything. */
export function statField(stat: string | undefined, field: number): number | undefined {
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[field - 3])
}

/** With root among its ids, and not a zombie, which can do nothing any more. */
export function isRoot(pid: number): boolean {
  const status = read(`/proc/${pid}/status`) ?? ''
  // by line feeds, and not by the flag m: a name may have a carriage return
  return /\nUid:.*\t0\b/.test(status) && !/\nState:\tZ/.test(status)
}
