/** Linux: which hazards are looked for. What is refused is looked for in src-native/linux/hazards.c. */
import {
  notListening,
  rootByCapability,
  rootChildren,
  signalReport,
  suidDumpable,
  terminal,
} from '../../hazards/dangers'
import type { Hazard } from '../../hazards/look'
import {
  environment,
  processLimit,
  procInChroot,
  rootGroup,
  rootPrimary,
  sockets,
  writableAncestor,
} from '../../hazards/notes'

/** In the order of the report: dangers first. */
export const hazards: readonly Hazard[] = [
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
