/**
 * What in this process, or around it, takes from the worth of a plan, and is no reason to stop. It only reads; whatever
 * ends while it is looked at is none, and where something cannot be read its finding is left out, for nothing rests on it.
 */
import type { AnyState } from './audit'
import type { Scene } from './hazards/look'
import type { Plan } from './plan'
import { platform } from './platform'
import type { Finding } from './report'

export function findHazards(plan: Plan, before: AnyState, descriptors: Scene['descriptors']): Finding[] {
  return platform.hazards.flatMap((hazard) => hazard({ plan, before, descriptors }) ?? [])
}
