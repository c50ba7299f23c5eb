/** A server without a Momentum configuration executes nothing of the reader but this. */
import type { HardenOptions } from '../options'
import type * as Reader from './read'
import type { SecurityConfigOptions } from './read'

export type { SecurityConfigOptions } from './read'

/**
 * Read the `security { }` scope of an ecelerity.conf, and of what it includes: in the order in which Momentum reads them, so
 * that a later setting overrides an earlier one, key by key; the file of its local changes comes last. Works on every system
 * and for every user that may read the files.
 *
 * Whoever can write these files decides what the server becomes: the files, what they include, the folders on their
 * paths and the search path must belong to root, and no other user may be able to write to them.
 *
 * @returns frozen, to be spread: `harden({ ...readSecurityConfig(path), rehearse: { bind: [25] } })`; errors about a value
 *   that has been read say where it stands
 * @throws HardenError ERR_HARDEN_CONFIG, whose message begins with file:line:column; ERR_INVALID_ARG_TYPE,
 *   ERR_INVALID_ARG_VALUE
 */
export function readSecurityConfig(path: string, options: SecurityConfigOptions = {}): HardenOptions {
  return (require('./read') as typeof Reader).read(path, options)
}
