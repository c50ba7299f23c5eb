/**
 * Everything that can speak against a plan, in the order in which it is looked for. It changes nothing.
 */
import { findHazards } from './hazards'
import { foreignFiles } from './hazards/notes'
import { refuseInspector } from './inspector'
import type { HardenOptions } from './options'
import type { Plan } from './plan'
import { type Observation, platform, type Timing } from './platform'
import type { Finding } from './report'

/** harden() gives up at the first part that throws; plan() goes on, with undefined in its place. */
export type Run = <T>(part: () => T) => T | undefined

export function examine(plan: Plan, seen: Observation, asked: HardenOptions, steps: Timing[], run: Run): Finding[] {
  const descriptors = timed(steps, 'descriptors', () => run(() => platform.descriptors(plan, seen)))
  const hazards = timed(steps, 'hazards', () => findHazards(plan, seen.state, descriptors))
  const foreign = timed(steps, 'rehearse', () => run(() => platform.rehearse(plan, seen)))
  run(() => refuseInspector(asked)) // as late as possible: a SIGUSR1 may come at any time
  return [...plan.findings, ...hazards, ...(foreign?.length ? [foreignFiles(foreign)] : [])]
}

export function timed<T>(steps: Timing[], name: string, part: () => T): T {
  const start = process.hrtime.bigint()
  const result = part()
  steps.push({ name, us: Number((process.hrtime.bigint() - start) / 1000n) })
  return result
}
