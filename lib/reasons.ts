/**
 * Every reason for a refusal that can be known without the others: harden() throws the first and says how many more there are, plan()
 * lists them.
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

  /** The options that are asked for, once they are known: their places in files are named. */
  asked: object = {}

  get found(): boolean {
    return this.errors.length > 0
  }

  /** What the part returns; undefined: it is refused, which is kept as a reason. */
  readonly run: Run = (part) => {
    try {
      return part()
    } catch (caught) {
      const error = withPlace(caught, this.asked)
      if (!(error instanceof HardenError)) throw error
      // The rehearsal may find what has been found before.
      if (!this.errors.some(({ message }) => message === error.message)) this.errors.push(error)
      return undefined
    }
  }

  /** The first. Its message ends with how many more there are, or with a line for each, and its field `others` has them. */
  error(): HardenError {
    const [first, ...others] = this.errors as [HardenError, ...HardenError[]]
    if (others.length === 0) return first
    if (this.#listed)
      return Object.assign(extended(first, `\n${others.map(line).join('\n')}`), { others: others.map(fieldsOf) })
    const more = others.length === 1 ? 'There is 1 more reason' : `There are ${others.length} more reasons`
    return extended(first, ` ${more}: plan() with the same options lists all.`)
  }
}

/** As the command line prints the first. */
const line = ({ code, place, message }: HardenError): string => (place === undefined ? `${code}: ${message}` : message)

function extended(error: HardenError, more: string): HardenError {
  const message = `${error.message}${more}`
  // the stack is what is printed of an error that is not caught, and has a copy of the message
  const stack = error.stack?.replace(error.message, () => message)
  return Object.assign(error, { message, stack })
}

/** Own properties alone, and the message, which is none that is enumerable. */
export const fieldsOf = ({ message, ...fields }: HardenError): HardenErrorFields => ({ message, ...fields })

/** Of one list or text, as many mistakes are told. */
export const REASONS_MAX = 16

/** Each is given to `run`, and the first is thrown again: what they are about is wrong as a whole. */
export function refuseAll(errors: readonly unknown[], run: Run): void {
  const raise = (error: unknown) => {
    throw error
  }
  for (const error of errors) run(() => raise(error))
  if (errors.length > 0) raise(errors[0])
}
