/**
 * Where the values that readSecurityConfig() read last are in its files, so that an error about such a value can name
 * the place. A separate module because both the reader and harden() use it.
 */
import { isDeepStrictEqual } from 'node:util'
import { HardenError } from './errors'

export interface ReadValue {
  readonly value: string | readonly string[]
  /** 'file:line:column' */
  readonly place: string
  /** The places of a list's elements. */
  readonly elements: readonly string[]
}

const values = new Map<string, ReadValue>()
const files = new Set<string>()
const folders = new Set<string>()

/** @param read by the option's name; undefined: the value is a default, which has no place */
export function remember(read: Iterable<readonly [option: string, value: ReadValue | undefined]>): void {
  for (const [option, value] of read)
    if (value) values.set(option, value)
    else values.delete(option)
}

export function rememberFiles(read: Iterable<string>, searched: Iterable<string>): void {
  for (const path of read) files.add(path)
  for (const path of searched) folders.add(path)
}

/** The files that readSecurityConfig() has read in this process, as absolute paths. A user who can exchange one decides
 * about the next start. */
export const filesRead = (): readonly string[] => [...files]

/**
 * The same holds for a user who can create files in these folders: those that an include names, and, for a file that
 * does not exist, the last folder on its path that does.
 */
export const foldersSearched = (): readonly string[] => [...folders]

/** @param option as errors name it: 'user', 'supplementalGroups[1]' */
export function findPlace(option: string, options: object): string | undefined {
  const [, name = option, index = ''] = /^(\w+)\[(\d+)\]$/.exec(option) ?? []
  const last = values.get(name)
  const value = Object.hasOwn(options, name) ? (options as Record<string, unknown>)[name] : undefined
  if (!last || !isDeepStrictEqual(value, last.value)) return undefined
  return last.elements[Number(index || NaN)] ?? last.place
}

/** Returns the same error. If its option's value was read from a file, the message begins with the place. */
export function withPlace(error: unknown, options: object): unknown {
  if (!(error instanceof HardenError) || error.place !== undefined || error.option === undefined) return error
  const place = findPlace(error.option, options)
  if (place === undefined) return error
  const message = `${place}: ${error.message}`
  // an uncaught error is printed by its stack, which has a copy of the message
  const stack = error.stack?.replace(error.message, () => message)
  return Object.assign(error, { place, message, stack })
}

/** Returns what the call returns. An error that it throws passes through withPlace(). */
export function namingPlaces<T>(options: object, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw withPlace(error, options)
  }
}
