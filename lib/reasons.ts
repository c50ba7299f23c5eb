/**
 * Every reason for a refusal that can be found without the others: harden() throws the first and says how many more
 * there are, plan() lists all.
 */
import { HardenError, type HardenErrorFields, type Run } from './errors'
import { withPlace } from './places'

export class Reasons {
  readonly errors: HardenError[] = []
  readonly #listed: boolean

  /** @param listed whether the error lists all of them */
  constructor(listed: boolean) {
    this.#listed = listed
  }

  /** The options given, once they have been read: their places in files are named in errors. */
  options: object = {}

  get found(): boolean {
    return this.errors.length > 0
  }

  /** Returns what the part returns; undefined: it was refused, and the refusal is now a reason. */
  readonly run: Run = (part) => {
    try {
      return part()
    } catch (caught) {
      const error = withPlace(caught, this.options)
      if (!(error instanceof HardenError)) throw error
      // The rehearsal may find a reason again.
      if (!this.errors.some(({ message }) => message === error.message)) this.errors.push(error)
      return undefined
    }
  }

  /** The first reason. Its message ends with the number of the others, or with a line for each, and then the field
   * `others` has them. */
  error(): HardenError {
    const [first, ...others] = this.errors as [HardenError, ...HardenError[]]
    if (others.length === 0) return first
    if (this.#listed)
      return Object.assign(extended(first, `\n${others.map(line).join('\n')}`), { others: others.map(fieldsOf) })
    const more = others.length === 1 ? 'There is 1 more reason' : `There are ${others.length} more reasons`
    return extended(first, ` ${more}: plan() with the same options lists all.`)
  }
}

/** In the format in which the command line prints the first. */
const line = ({ code, place, message }: HardenError): string => (place === undefined ? `${code}: ${message}` : message)

function extended(error: HardenError, more: string): HardenError {
  const message = `${error.message}${more}`
  // an uncaught error is printed by its stack, which has a copy of the message
  const stack = error.stack?.replace(error.message, () => message)
  return Object.assign(error, { message, stack })
}

/** The error's own properties, and its message, which is not enumerable. */
export const fieldsOf = ({ message, ...fields }: HardenError): HardenErrorFields => ({ message, ...fields })

/** A list or text with more mistakes than this has no more of them reported. */
export const REASONS_MAX = 16

/** Gives each error to `run`, then throws the first: the option is wrong as a whole. */
export function refuseAll(errors: readonly unknown[], run: Run): void {
  const raise = (error: unknown) => {
    throw error
  }
  for (const error of errors) run(() => raise(error))
  if (errors.length > 0) raise(errors[0])
}
