/** The one place at run time where the platform is chosen (at build time: privdrop.gypi). The modules of the other
 * platforms are not executed. */
import type { Platform } from '../contract'
import type * as Linux from './linux'
import type * as Sunos from './sunos'
import type * as Unsupported from './unsupported'

function choose(): Platform {
  if (process.platform === 'linux') return (require('./linux') as typeof Linux).linux
  if (process.platform === 'sunos') return (require('./sunos') as typeof Sunos).sunos
  return (require('./unsupported') as typeof Unsupported).unsupported
}

export const platform: Platform = choose()
