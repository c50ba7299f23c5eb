/** What a call throws, when that is what has to happen. */
import type { HardenError } from '../lib/errors'

export function refusal(call: () => unknown): HardenError {
  try {
    call()
  } catch (error) {
    // a mocked module throws a class of its own
    if ((error as Error).name === 'HardenError') return error as HardenError
    throw error
  }
  throw new Error('it was not refused')
}
