/**
 * The one error class. The fields are for programs, the message is for people and ends with the remedy.
 */
import { constants } from 'node:os'
import { getSystemErrorName, inspect } from 'node:util'

/** What can go wrong, each with one meaning; docs/errors.md has the table. */
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
  | 'ERR_HARDEN_OPEN_DIRECTORY'
  | 'ERR_HARDEN_CHROOT_ESCAPE'
  | 'ERR_HARDEN_CHROOT_PATH'
  | 'ERR_HARDEN_THREAD_UNREACHABLE'
  | 'ERR_HARDEN_THREAD_DIFFERS'
  | 'ERR_HARDEN_SHARED_MEMORY'
  | 'ERR_HARDEN_CONFIG'

/** What a HardenError carries, as data: HardenPlan.refusals. */
export interface HardenErrorFields {
  code: HardenErrorCode
  /** One sentence without its full stop, and without the remedy. */
  message: string
  /** Another such sentence. */
  remedy: string
  /** Lines that the message ends with: the line of a file, and a mark under the place. */
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
  /** Which error it is, for programs: 'ERR_UNKNOWN_CREDENTIAL', ... One meaning each; docs/errors.md has them all. */
  declare readonly code: HardenErrorCode
  /** What to do about it, as one sentence without its full stop. The message ends with it. */
  declare readonly remedy: string
  /** The option of harden() that it is about: 'user', 'supplementalGroups[1]', 'rehearse.read[0]'. */
  declare readonly option?: string
  /** Where in a configuration file the value of that option, or the mistake, stands: 'file:line:column'. */
  declare readonly place?: string
  /** The step under way: 'setgroups', 'capset', 'park', ... */
  declare readonly step?: string
  /** The system call of that step: 'setgroups'. */
  declare readonly syscall?: string
  /** Negative, as in Node's own system errors: `util.getSystemErrorName(errno)` is 'EPERM'. */
  declare readonly errno?: number
  /** The thread that it is about (gettid(2)). */
  declare readonly tid?: number
  /** What would be right: a type ('a string'), a text that would be accepted, the kernel's word ('0'). */
  declare readonly wanted?: string
  /** What is there instead, cut at 64 characters if an option has it: a name, a path, the kernel's word ('1000'). */
  declare readonly found?: string
  /** From plan(), if the options have several mistakes: the others. Each is in the message, too. */
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

/** As an assignment makes it, even where Object.prototype has been changed. */
function own(value: unknown): PropertyDescriptor {
  return { __proto__: null, value, enumerable: true, configurable: true, writable: true } as PropertyDescriptor
}

/** 'EPERM', from the kernel's positive number; 0 is no error of the kernel's. */
export function errnoName(errno: number): string {
  if (errno <= 0) return 'no answer'
  const name = getSystemErrorName(-errno)
  if (!name.startsWith('Unknown')) return name
  // libuv has no name for ECHILD or ESTALE, for two
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? name
}

/** @param remedy where "make it ..." is not the whole of it */
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

/** Runs a part; undefined: it has thrown a HardenError, which is a reason for a refusal. */
export type Run = <T>(part: () => T) => T | undefined

/** What was given, and what it has to be, if there is a word for it. */
export type Values = Pick<HardenErrorFields, 'found' | 'wanted'>

/** A value as an error message may show it: short, and without running any code of its own. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 64 ? `${inspect(value.slice(0, 64))}...` : inspect(value)
  if (Array.isArray(value)) return 'an array'
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) return String(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** A character that moves the cursor, changes colours, or turns round the text after it. A tab may stay. */
export const UNPRINTABLE = /(?!\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

export const visible = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)

/** Of a long path, which may be any text that is given for one, its end says most. */
export function showPath(path: string): string {
  const shown = path.length > PATH_SHOWN ? `...${path.slice(-PATH_SHOWN)}` : path
  return visible(inspect(shown, { breakLength: Number.POSITIVE_INFINITY }))
}

const PATH_SHOWN = 200
