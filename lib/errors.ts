/**
 * The one error class. Its fields are for programs; the message is for people and ends with the remedy.
 */
import { constants } from 'node:os'
import { getSystemErrorName, inspect } from 'node:util'

/** What can go wrong. A code has one meaning; docs/errors.md has the table. */
export type HardenErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_UNKNOWN_CREDENTIAL'
  | 'ERR_HARDEN_UNSUPPORTED_PLATFORM'
  | 'ERR_HARDEN_NOT_MAIN_THREAD'
  | 'ERR_HARDEN_ALREADY_APPLIED'
  | 'ERR_HARDEN_USER_REQUIRED'
  | 'ERR_HARDEN_LOOKUP_FAILED'
  | 'ERR_HARDEN_CAPABILITIES'
  | 'ERR_HARDEN_PRIVILEGES'
  | 'ERR_HARDEN_NOT_PERMITTED'
  | 'ERR_HARDEN_ACCESS'
  | 'ERR_HARDEN_PROC'
  | 'ERR_HARDEN_IO_URING'
  | 'ERR_HARDEN_INSPECTOR'
  | 'ERR_HARDEN_SUID_DUMPABLE'
  | 'ERR_HARDEN_OPEN_DIRECTORY'
  | 'ERR_HARDEN_CHROOT_ESCAPE'
  | 'ERR_HARDEN_CHROOT_PATH'
  | 'ERR_HARDEN_THREAD_UNREACHABLE'
  | 'ERR_HARDEN_THREAD_DIFFERS'
  | 'ERR_HARDEN_SHARED_MEMORY'
  | 'ERR_HARDEN_CONFIG'

/** The fields of a HardenError as plain data: HardenPlan.refusals. */
export interface HardenErrorFields {
  code: HardenErrorCode
  /** One sentence without its full stop; the remedy is not in it. */
  message: string
  /** Another such sentence. */
  remedy: string
  /** Lines at the end of the message: the line of a file, and a mark under the place. */
  excerpt?: string
  option?: string
  place?: string
  step?: string
  syscall?: string
  /** As Node's own system errors have it: negative. */
  errno?: number
  tid?: number
  wanted?: string
  found?: string
  others?: readonly HardenErrorFields[]
  cause?: unknown
}

/** Thrown by every function. Whenever it is thrown, nothing has changed: what fails later ends the process instead. */
export class HardenError extends Error {
  /** The error, for programs: 'ERR_UNKNOWN_CREDENTIAL', ... One meaning each; docs/errors.md has them all. */
  declare readonly code: HardenErrorCode
  /** What to do about it, as one sentence without its full stop. The message ends with it. */
  declare readonly remedy: string
  /** The option of harden() concerned: 'user', 'supplementalGroups[1]', 'rehearse.read[0]'. */
  declare readonly option?: string
  /** Where in a configuration file that option's value, or the mistake, is: 'file:line:column'. */
  declare readonly place?: string
  /** The step under way: 'setgroups', 'capset', 'park', ... */
  declare readonly step?: string
  /** The system call of that step: 'setgroups'. */
  declare readonly syscall?: string
  /** Negative, as in Node's own system errors: `util.getSystemErrorName(errno)` is 'EPERM'. */
  declare readonly errno?: number
  /** The thread concerned (gettid(2)). */
  declare readonly tid?: number
  /** What is expected: a type ('a string'), a text that would be accepted, the kernel's value ('0'). */
  declare readonly wanted?: string
  /** What was found instead: a name, a path (cut at 64 characters if from an option), the kernel's value ('1000'). */
  declare readonly found?: string
  /** From plan(), if the options have several mistakes: the others. The message lists them too. */
  declare readonly others?: readonly HardenErrorFields[]

  static {
    // not an assignment, which a frozen Error.prototype refuses
    Object.defineProperty(HardenError.prototype, 'name', {
      __proto__: null,
      value: 'HardenError',
    } as PropertyDescriptor)
  }

  constructor({ message, cause, excerpt, ...fields }: HardenErrorFields) {
    super(
      `${message}. Remedy: ${fields.remedy}.${excerpt ? `\n${excerpt}` : ''}`,
      cause === undefined ? undefined : { cause },
    )
    for (const [field, value] of Object.entries(fields))
      if (value !== undefined) Object.defineProperty(this, field, own(value))
  }

  static {
    // util.inspect() shows the name of the class, which a minifier changes
    Object.defineProperty(HardenError, 'name', { __proto__: null, value: 'HardenError' } as PropertyDescriptor)
  }
}

/** The descriptor that an assignment makes, even if Object.prototype has been changed. */
function own(value: unknown): PropertyDescriptor {
  return { __proto__: null, value, enumerable: true, configurable: true, writable: true } as PropertyDescriptor
}

/** The name of a positive errno, such as 'EPERM'; 0 is not an error of the kernel. */
export function errnoName(errno: number): string {
  if (errno <= 0) return 'no answer'
  const name = getSystemErrorName(-errno)
  if (!name.startsWith('Unknown')) return name
  // libuv lacks some names, such as ECHILD and ESTALE
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? name
}

/** Where moreFiles is the remedy. */
export const lacksFiles = (errno: string): boolean => errno === 'EMFILE' || errno === 'ENFILE'
export const moreFiles = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'

/** @param remedy if "make it ..." does not say enough */
export function wrongType(option: string, wanted: string, value: unknown, remedy = `make it ${wanted}`): HardenError {
  const found = show(value)
  return new HardenError({
    code: 'ERR_INVALID_ARG_TYPE',
    option,
    wanted,
    found,
    message: `${option} must be ${wanted}, and is ${found}`,
    remedy,
  })
}

export function wrongValue(option: string, message: string, remedy: string, values: Values = {}): HardenError {
  return new HardenError({ ...values, code: 'ERR_INVALID_ARG_VALUE', option, message, remedy })
}

/** Runs a part. undefined: the part threw a HardenError, which becomes a reason for a refusal. */
export type Run = <T>(part: () => T) => T | undefined

/** What was given, and the value that would be right, if there is one. */
export type Values = Pick<HardenErrorFields, 'found' | 'wanted'>

/** A value for an error message: short, and shown without running its code. */
export function show(value: unknown): string {
  if (typeof value === 'string') return visible(inspect(value.slice(0, 64))) + (value.length > 64 ? '...' : '')
  if (Array.isArray(value)) return 'an array'
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) return String(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** A character that moves the cursor, changes colours or reverses the direction of text. Tabs stay. */
export const UNPRINTABLE = /(?!\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/** Text that cannot control a terminal. */
export const visible = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)

/** A path for a message. Of a long one the end is shown, which says most. */
export function showPath(path: string): string {
  const shown = path.length > PATH_SHOWN ? `...${path.slice(-PATH_SHOWN)}` : path
  return visible(inspect(shown, { breakLength: Number.POSITIVE_INFINITY }))
}

const PATH_SHOWN = 200
