/** In a server without a Momentum configuration nothing of the reader is executed but this. */
import type { HardenOptions } from '../options'
import type * as Reader from './read'
import type { SecurityConfigOptions } from './read'

export type { SecurityConfigOptions } from './read'

/**
 * Read the `security { }` scope of an ecelerity.conf, and of what it includes: in the order in which Momentum reads them, so
 * that a later setting overrides an earlier one, key by key; the file of its local changes comes last. Works on every system
 * and for every user who may read the files.
 *
 * Who writes these files decides what the server becomes: they, what they include, the folders on the way and the search
 * path must be root's, and no other user may be able to write them.
 *
 * @returns frozen, to be spread: `harden({ ...readSecurityConfig(path), rehearse: { bind: [25] } })`; errors about a value
 *   that has been read say where it stands
 * @throws HardenError ERR_HARDEN_CONFIG, whose message begins with file:line:column; ERR_INVALID_ARG_TYPE,
 *   ERR_INVALID_ARG_VALUE
 */
export function readSecurityConfig(path: string, options: SecurityConfigOptions = {}): HardenOptions {
  return (require('./read') as typeof Reader).read(path, options)
}
