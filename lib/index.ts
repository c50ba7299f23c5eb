export { HardenError, type HardenErrorCode } from './errors'
export { harden } from './harden'
export type { HardenOptions } from './options'
export type { Finding, HardenReport } from './report'
