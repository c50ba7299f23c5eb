/**
 * Whoever reaches Node's inspector runs code in this process, with whatever it retains.
 */
import { url } from 'node:inspector'
import { HardenError } from './errors'
import type { HardenOptions } from './options'

/**
 * @throws HardenError ERR_HARDEN_INSPECTOR
 */
export function refuseInspector({ allowInspector }: HardenOptions): void {
  const open = url()
  if (open !== undefined && !allowInspector)
    throw new HardenError({
      code: 'ERR_HARDEN_INSPECTOR',
      message: `the inspector is open at ${open}: whoever reaches it runs code in this process`,
      remedy: `start Node without --inspect, call inspector.close(), or say allowInspector: true`,
    })
}
