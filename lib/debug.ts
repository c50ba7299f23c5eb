/** What was decided and why, on standard error under NODE_DEBUG=privdrop. docs/command-line.md describes the lines. */
import { debuglog } from 'node:util'
import type { Question } from './contract'
import { errnoName, showPath, visible } from './errors'
import type { Answer, Failure, Step } from './native'

export const debug = debuglog('privdrop')

/** A step, whether it is due, and if not, why. */
export type Due = readonly [step: Step, isDue: boolean, why: string]

export function dueSteps(all: readonly Due[]): Step[] {
  for (const [step, isDue, why] of all) if (!isDue) debug("step '%s' is left out: %s", step, why)
  const due = all.filter(([, isDue]) => isDue).map(([step]) => step)
  debug('steps: %s', due.join(', ') || 'none')
  return due
}

export function debugAnswer({ kind, path, number, option, role }: Question, { errno, by, found }: Answer): void {
  if (!debug.enabled) return
  const what = path === '' ? `${number}` : showPath(path)
  const about = option ?? role
  debug("question '%s' %s%s: %s", kind, what, about && ` (${visible(about)})`, errno ? errnoName(errno) : yes())

  function yes(): string {
    if (kind !== 'exchange') return 'yes'
    return by === 'none' ? 'no process can' : `${by} can, at ${showPath(found ?? path)}`
  }
}

/** @param part what is tried again */
export function debugRetry(part: string, { step, syscall, errno, signal }: Failure): void {
  if (!debug.enabled) return
  const why = signal ? `signal ${signal}` : errnoName(errno)
  debug("%s: once more, after step '%s' (%s): %s", part, step, syscall, why)
}
