/** Importing works everywhere, so that an application can be developed anywhere; pretending to harden does not. */
import type { Platform } from '../contract'
import { HardenError } from '../errors'

function refuse(): never {
  throw new HardenError({
    code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
    message: `privileges cannot be given up on ${process.platform}: only Linux and Solaris (illumos) are supported`,
    remedy: `on a developer's machine, call harden() only if process.platform is 'linux' or 'sunos'`,
  })
}

export const unsupported: Platform = {
  name: 'linux', // never shown: every call throws first
  addon: refuse,
  observe: refuse,
  decide: refuse,
  readTexts: () => true,
  textOf: () => undefined,
  hazards: [],
  rehearse: refuse,
  commit: refuse,
  explain: refuse,
  callOf: refuse,
  remedyForAnswer: refuse,
  rootChildren: refuse,
  allNames: refuse,
  libraries: refuse,
  readThreads: refuse,
}
