/**
 * What in this process, or around it, takes from the worth of a plan, and is no reason to stop. It only reads; whatever
 * ends while it is looked at is none, and where something cannot be read its finding is left out, for nothing rests on it.
 * What is refused is looked for in src-native/linux/hazards.c.
 */
import type { ThreadState } from './audit'
import { notListening, rootByCapability, rootChildren, signalReport, suidDumpable, terminal } from './hazards/dangers'
import type { Scene } from './hazards/look'
import {
  environment,
  processLimit,
  procInChroot,
  rootGroup,
  rootPrimary,
  sockets,
  writableAncestor,
} from './hazards/notes'
import type { Plan } from './plan'
import type { Finding } from './report'

/** In the order of the report: dangers first. */
const hazards: readonly ((scene: Scene) => Finding | undefined)[] = [
  rootByCapability,
  rootChildren,
  terminal,
  suidDumpable,
  signalReport,
  notListening,
  rootPrimary,
  sockets,
  processLimit,
  procInChroot,
  writableAncestor,
  environment,
  rootGroup,
]

export function findHazards(plan: Plan, before: ThreadState, descriptors: Scene['descriptors']): Finding[] {
  return hazards.flatMap((hazard) => hazard({ plan, before, descriptors }) ?? [])
}
