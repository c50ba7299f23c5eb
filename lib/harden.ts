import { isMainThread } from 'node:worker_threads'
import { HardenError } from './errors'
import { refuseHazards } from './hazards'
import { type HardenOptions, validate } from './options'
import { makePlan } from './plan'
import { platform, type Timing } from './platform'
import { type HardenReport, makeReport } from './report'

/**
 * Give up root for good, in every thread of the process, and keep exactly what is named.
 *
 * Call it once, from the main thread, when the server is listening ('listening' has been emitted) and has read what only
 * root may read. It is synchronous. Either it throws and nothing at all has changed, or it is done. What goes wrong in
 * between ends the process with SIGABRT and a line on file descriptor 2.
 *
 * @returns what the kernel says about every thread afterwards; frozen, serialisable as JSON, a table as a string
 * @throws HardenError nothing has changed
 * @see credentials(7), capabilities(7), setresuid(2), setgroups(2), prctl(2)
 */
export function harden(options: HardenOptions): HardenReport {
  const steps: Timing[] = []
  const timed = <T>(name: string, part: () => T): T => {
    const start = process.hrtime.bigint()
    const result = part()
    steps.push({ name, us: Number((process.hrtime.bigint() - start) / 1000n) })
    return result
  }

  const asked = validate(options)
  if (!isMainThread)
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_MAIN_THREAD',
      message: 'harden() was called in a Worker',
      remedy: 'call it in the main thread: it reaches all Workers from there',
    })
  const seen = platform.observe()
  const plan = timed('resolve', () => makePlan(asked, seen.state))
  refuseHazards(asked)
  timed('rehearse', () => platform.rehearse(plan, seen))
  return platform.commit(plan, seen, (threads, commitSteps) => {
    // once more: a SIGUSR1 may have been on its way
    refuseHazards(asked)
    return makeReport(threads, [...steps, ...commitSteps], plan.findings)
  })
}
