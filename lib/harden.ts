import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'
import { isMainThread } from 'node:worker_threads'
import { inWords } from './audit'
import { closeRoot, enteredRoot } from './chroot'
import { HardenError } from './errors'
import { examine, timed } from './examine'
import { refuseInspector } from './inspector'
import { type HardenOptions, validate } from './options'
import { namingPlaces } from './places'
import { makePlan } from './plan'
import { platform, type Timing } from './platform'
import { type HardenReport, makeReport } from './report'

/** On `process`, so that a second copy of this package in the same process knows. */
const HARDENED = Symbol.for('privdrop.hardened')

const hardened = channel('privdrop:hardened')
const debug = debuglog('privdrop')

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
export function harden(options: HardenOptions): HardenReport {
  const asked = validate(options)
  return namingPlaces(asked, () => commitTo(asked))
}

function commitTo(asked: HardenOptions): HardenReport {
  refuseHere()
  const steps: Timing[] = []
  const seen = platform.observe()
  const plan = timed(steps, 'resolve', () => makePlan(asked, seen.state))
  let report: HardenReport
  try {
    const findings = examine(plan, seen, asked, steps, (part) => part())
    report = platform.commit(plan, seen, (threads, commitSteps) => {
      // Past the line: what throws here ends the process.
      refuseInspector(asked)
      Reflect.defineProperty(process, HARDENED, { value: true })
      enteredRoot(plan.root)
      platform.remember(inWords(plan.wanted), plan.root)
      return makeReport(threads, [...steps, ...commitSteps], findings, plan.root?.path)
    })
  } catch (error) {
    closeRoot(plan.root)
    throw error
  }
  try {
    announce(report)
  } catch {
    // whoever has replaced process.emitWarning() and the like: it is done all the same
  }
  return report
}

function refuseHere(): void {
  if (!isMainThread)
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_MAIN_THREAD',
      message: 'harden() was called in a Worker',
      remedy: 'call it in the main thread: it reaches all Workers from there',
    })
  if (Object.hasOwn(process, HARDENED))
    throw new HardenError({
      code: 'ERR_HARDEN_ALREADY_APPLIED',
      message: 'this process has given up its privileges already, and cannot do so twice',
      remedy: 'call harden() once; to change what is retained, restart the process',
    })
}

/** Where Node's users look: dangers as warnings, the report on a channel, each part under NODE_DEBUG=privdrop. */
function announce(report: HardenReport): void {
  for (const { name, us } of report.steps) debug('%s: %d us', name, us)
  for (const { code, level, message, remedy } of report.findings)
    if (level === 'danger') process.emitWarning(message, { type: 'PrivdropWarning', code, detail: remedy })
  hardened.publish(report)
}
