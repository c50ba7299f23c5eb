/**
 * Where the values that readSecurityConfig() has read last stand in its files, so that an error about such a value can
 * say so. A module of its own, because both the reader and harden() need it.
 */
import { isDeepStrictEqual } from 'node:util'
import { HardenError } from './errors'

export interface ReadValue {
  readonly value: string | readonly string[]
  /** 'file:line:column' */
  readonly place: string
  /** Those of the elements of a list. */
  readonly elements: readonly string[]
}

const values = new Map<string, ReadValue>()
const files = new Set<string>()
const folders = new Set<string>()

/** @param read by the option's name; undefined: the value is a default, which stands nowhere */
export function remember(read: Iterable<readonly [option: string, value: ReadValue | undefined]>): void {
  for (const [option, value] of read)
    if (value) values.set(option, value)
    else values.delete(option)
}

export function rememberFiles(read: Iterable<string>, asked: Iterable<string>): void {
  for (const path of read) files.add(path)
  for (const path of asked) folders.add(path)
}

/** What readSecurityConfig() has read in this process: absolute paths. Who can exchange them decides about the next start. */
export const filesRead = (): readonly string[] => [...files]

/**
 * So does who can create files in these: the directories that an include has named, and for what has been looked for in vain
 * the last directory on the way.
 */
export const foldersAsked = (): readonly string[] => [...folders]

/** @param option as errors name it: 'user', 'supplementalGroups[1]' */
export function findPlace(option: string, options: object): string | undefined {
  const [, name = option, index = ''] = /^(\w+)\[(\d+)\]$/.exec(option) ?? []
  const last = values.get(name)
  const value = Object.hasOwn(options, name) ? (options as Record<string, unknown>)[name] : undefined
  if (!last || !isDeepStrictEqual(value, last.value)) return undefined
  return last.elements[Number(index || NaN)] ?? last.place
}

/** The same error. If it is about an option whose value has been read in a file, its message begins with the place. */
export function withPlace(error: unknown, options: object): unknown {
  if (!(error instanceof HardenError) || error.place !== undefined || error.option === undefined) return error
  const place = findPlace(error.option, options)
  if (place === undefined) return error
  const message = `${place}: ${error.message}`
  // the stack is what is printed of an error that is not caught, and has a copy of the message
  const stack = error.stack?.replace(error.message, () => message)
  return Object.assign(error, { place, message, stack })
}

/** What the call returns. The errors that it throws are those of withPlace(). */
export function namingPlaces<T>(options: object, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw withPlace(error, options)
  }
}
