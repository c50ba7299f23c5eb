/** The one place at run time where the platform is chosen; at build time it is binding.gyp. */
import type { Platform } from '../contract'
import { linux } from './linux'
import { sunos } from './sunos'
import { unsupported } from './unsupported'

const platforms = new Map<string, Platform>([
  ['linux', linux],
  ['sunos', sunos],
])

export const platform: Platform = platforms.get(process.platform) ?? unsupported
