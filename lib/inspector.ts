/**
 * A process that reaches Node's inspector runs code in this one, with what this one retains.
 */
import { url } from 'node:inspector'
import { HardenError } from './errors'
import type { Addon } from './native'
import type { HardenOptions } from './options'

/** The inspector of the calling thread: each Worker has its own. undefined: it is closed. */
export const inspectorUrl = (): string | undefined => url()

/** @throws HardenError ERR_HARDEN_INSPECTOR */
export function refuseInspector({ allowInspector }: HardenOptions): void {
  const open = inspectorUrl()
  if (open !== undefined && !allowInspector)
    throw new HardenError({
      code: 'ERR_HARDEN_INSPECTOR',
      found: open,
      message: `the inspector is open at ${open}: a process that reaches it runs code in this one`,
      remedy:
        'find what opens it (node --inspect, NODE_OPTIONS, SIGUSR1, inspector.open(), a library such as Sentry with ' +
        'includeLocalVariables), call inspector.close(), or set allowInspector: true',
    })
}

/** After the commit: SIGUSR1 was ignored all the time, so this is never seen, and is looked at nevertheless. */
export function endIfInspectorIsOpen({ allowInspector }: HardenOptions, addon: Addon): void {
  if (!allowInspector && inspectorUrl() !== undefined) addon.endProcess('the inspector has been opened during harden()')
}
