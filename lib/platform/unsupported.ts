/** Importing works everywhere, so that an application can be developed anywhere; pretending to harden does not. */
import { HardenError } from '../errors'
import type { Platform } from './index'

function refuse(): never {
  throw new HardenError({
    code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
    message: `privileges cannot be given up on ${process.platform}: only Linux and Solaris (illumos) are supported`,
    remedy: `on a developer's machine, call harden() only if process.platform is 'linux' or 'sunos'`,
  })
}

export const unsupported: Platform = {
  observe: refuse,
  decide: refuse,
  openRoot: refuse,
  hazards: [],
  descriptors: refuse,
  rehearse: refuse,
  commit: refuse,
  remember: refuse,
  look: refuse,
}
