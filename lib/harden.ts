import { channel } from 'node:diagnostics_channel'
import { isMainThread } from 'node:worker_threads'
import type { Committed, Plan, Rehearsal, Timing } from './contract'
import { debug } from './debug'
import { commit, type Examined, examine, lookUp, makePlan, timed } from './engine'
import { HardenError } from './errors'
import { endIfInspectorIsOpen, refuseInspector } from './inspector'
import { type HardenOptions, validate } from './options'
import { namingPlaces } from './places'
import { platform } from './platform'
import { makePromise, refuseSecondCall } from './promise'
import { Reasons } from './reasons'
import { type HardenReport, makeReport } from './report'
import { closeRoot, enteredRoot } from './root'

const hardened = channel('privdrop:hardened')

/**
 * Give up root for good, in every thread of the process, and keep exactly what is named.
 *
 * Call it once, from the main thread, when the server is listening ('listening' has been emitted) and has read what only
 * root may read. It is synchronous. Either it throws and nothing at all has changed, or it is done. What goes wrong in
 * between ends the process with SIGABRT and a line on file descriptor 2.
 *
 * @returns what the kernel says about every thread afterwards; frozen, serialisable as JSON, a table as a string
 * @throws HardenError nothing has changed
 * @see credentials(7), capabilities(7), setresuid(2), setgroups(2), prctl(2); on Solaris privileges(7), setppriv(2)
 */
export function harden(options: HardenOptions): HardenReport
export function harden(options: unknown, ...more: readonly unknown[]): HardenReport {
  const reasons = new Reasons(false)
  const checked = validate(options, reasons.run, { name: 'harden', more, textOf: platform.textOf })
  reasons.options = checked
  if (reasons.found) {
    lookUp(platform, checked, reasons)
    throw reasons.error()
  }
  return namingPlaces(checked, () => hardenAs(checked, reasons))
}

function hardenAs(checked: HardenOptions, reasons: Reasons): HardenReport {
  refuseHere()
  const addon = platform.addon()
  const timings: Timing[] = []
  let plan: Plan | undefined
  let findings: Examined['findings']
  let rehearsal: Rehearsal
  let done: ReturnType<typeof commit>
  try {
    // First: no signal opens the inspector from here on, so what is closed stays closed.
    const keepSigusr1 = holdSigusr1()
    plan = timed(timings, 'resolve', () => makePlan(platform, checked, reasons))
    const examined = examine(platform, plan, timings, reasons.run)
    reasons.run(() => refuseInspector(checked))
    if (reasons.found) throw reasons.error()
    findings = examined.findings
    rehearsal = examined.rehearsal as Rehearsal // undefined only if it was refused
    makePromise(addon, plan, checked)
    done = commit(platform, plan, rehearsal, keepSigusr1, () => refuseInspector(checked))
  } catch (error) {
    if (addon.giveSigusr1Back()) addon.endProcess('SIGUSR1 cannot be given back')
    closeRoot(plan?.root)
    throw error
  }
  // Every thread is proved: nothing below is a refusal, and only an open inspector ends the process.
  endIfInspectorIsOpen(checked, addon)
  enteredRoot(plan.root)
  const report = makeReport(platform, plan, rehearsal, done, timings, findings)
  announce(report, done)
  return report
}

function refuseHere(): void {
  if (!isMainThread)
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_MAIN_THREAD',
      message: 'harden() was called in a Worker',
      remedy: 'call it in the main thread: it reaches all Workers from there',
    })
  refuseSecondCall(platform.addon())
}

/** @returns whether the application's own handler is installed, and stays */
function holdSigusr1(): boolean {
  const errno = platform.addon().holdSigusr1(process.listenerCount('SIGUSR1') > 0)
  const syscall = platform.name === 'linux' ? 'rt_sigaction' : 'sigaction'
  if (errno > 0) throw platform.explain({ step: 'SIGUSR1', syscall, errno, signal: 0, tid: 0, item: 0 }, undefined, [])
  return errno < 0
}

/** Tell the application: dangers as warnings, the report on a channel, each part under NODE_DEBUG=privdrop. */
function announce(report: HardenReport, { parkTries }: Committed): void {
  if (parkTries !== undefined) quietly(() => debug('park: every thread was stopped at attempt %d', parkTries))
  for (const { name, us } of report.timings) quietly(() => debug('%s: %d us', name, us))
  for (const { code, level, message, remedy } of report.findings)
    if (level === 'danger')
      quietly(() => process.emitWarning(message, { type: 'PrivdropWarning', code, detail: remedy }))
  quietly(() => hardened.publish(report))
}

/** Runs code of the application, which may throw: harden() is done in any case. */
function quietly(part: () => void): void {
  try {
    part()
  } catch {
    // a replaced process.emitWarning(), for one
  }
}
