/**
 * What a caller may ask, and every error that his arguments alone can cause. Nothing is looked up here.
 */
import { isAbsolute } from 'node:path'
import { inspect } from 'node:util'
import { HardenError } from './errors'
import { namingPlaces } from './places'

/** What harden() and plan() take. Whatever else is in it is refused: a misspelt option must not be a default. */
export interface HardenOptions {
  /**
   * The identity to assume: an account's name, or a uid. A string is a name first, and a uid only if it is all digits and
   * no account has that name. Required if any of the process's user ids is 0. Without it the effective user stays.
   */
  user?: string | number
  /** A group's name, or a gid. Default: the primary group of `user`. */
  group?: string | number
  /**
   * The supplementary groups, exactly these (setgroups(2)): at most NGROUPS_MAX names or gids; or 'initgroups', those of the
   * account (initgroups(3)). Default: none.
   */
  supplementalGroups?: readonly (string | number)[] | 'initgroups'
  /**
   * Linux: the capabilities to retain, in the notation of cap_from_text(3), e.g. 'cap_net_bind_service+ep'. Exclusive:
   * what it does not name is lost, for user root too. Default: none; user root without it stays as privileged as it is.
   */
  capabilities?: string
  /**
   * Solaris: the privileges to retain, in the notation of priv_str_to_set(3C), e.g. 'basic net_privaddr'. Exclusive: what it
   * does not name is lost, for user root too. Default: none, not even basic ones; user root without it stays as privileged
   * as it is. Ignored on Linux.
   */
  privileges?: string
  /**
   * A new root directory, as an absolute path (chroot(2)). Whatever is needed from outside has to be loaded before.
   * Default: none.
   */
  chroot?: string
  /**
   * Linux: names of capabilities, separated by white space or commas, that child processes keep too; each must be
   * permitted in `capabilities`. Default: none.
   */
  ambientCapabilities?: string
  /**
   * Linux: set no_new_privs (PR_SET_NO_NEW_PRIVS(2const)): no program that is executed later gains anything, set-user-ID
   * or not. Default: true. On Solaris there is no such thing: there what is retained bounds that, too (the limit set).
   */
  noNewPrivileges?: boolean
  /**
   * What the new identity must be able to use, tried by the rehearsing child: absolute paths, as the process will see them
   * (in the chroot), and TCP ports from 1 to 65535, for IPv4 and IPv6. Nothing is created or written. A directory in `write` is
   * one to create files in. Default: nothing.
   */
  rehearse?: {
    readonly read?: readonly string[]
    readonly write?: readonly string[]
    readonly bind?: readonly number[]
  }
  /** Accept an inspector that is open when harden() is called. Default: false. */
  allowInspector?: boolean
}

type Known = { readonly [Option in keyof Required<HardenOptions>]: (value: unknown, option: string) => void }

const known: Known = {
  user: nameOrId,
  group: nameOrId,
  supplementalGroups: list,
  capabilities: text,
  privileges: text,
  chroot: absolutePath,
  ambientCapabilities: text,
  noNewPrivileges: boolean,
  rehearse: attempts,
  allowInspector: boolean,
}

/** The largest id. The next one is (uid_t)-1, which means "leave it as it is" to setresuid(2). */
export const LARGEST_ID = 0xfffffffe
/** Each is a few system calls of the rehearsing child. */
const ATTEMPTS_MAX = 1024
/** The kernel's limit (getgroups(2), NGROUPS_MAX); it has been a constant since Linux 2.6.4. */
export const NGROUPS_MAX = 65536

/**
 * A checked copy of the options.
 *
 * @throws HardenError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE; `option` names the culprit
 */
export function validate(options: unknown): HardenOptions {
  if (!isPlain(options)) throw wrongType('options', 'a plain object', options)

  // Own properties only, each read once: whatever Object.prototype has been made to carry is no option.
  const copy: Record<string, unknown> = { __proto__: null, ...options }
  const groups = copy.supplementalGroups
  if (Array.isArray(groups) && groups.length <= NGROUPS_MAX) copy.supplementalGroups = [...groups]
  if (isPlain(copy.rehearse)) copy.rehearse = copyOfLists(copy.rehearse)
  for (const [option, value] of Object.entries(copy)) {
    if (!Object.hasOwn(known, option))
      throw wrongValue(
        option.slice(0, 64),
        `there is no option ${show(option)}`,
        `the options are ${Object.keys(known).join(', ')}`,
      )
    if (value !== undefined) namingPlaces(copy, () => known[option as keyof Known](value, option))
  }
  return copy
}

/** Without a prototype, as all of the copy is. */
function copyOfLists(lists: object): object {
  const copy: Record<string, unknown> = { __proto__: null, ...lists }
  for (const [kind, items] of Object.entries(copy))
    if (Array.isArray(items) && items.length <= ATTEMPTS_MAX) copy[kind] = [...items]
  return copy
}

export function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  // Object.prototype of whatever realm, or none
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function nameOrId(value: unknown, option: string): void {
  if (typeof value === 'number') {
    if (!Number.isInteger(value) || value < 0 || value > LARGEST_ID)
      throw wrongValue(option, `${option} ${value} is no id`, `an id is a whole number from 0 to ${LARGEST_ID}`)
  } else if (typeof value === 'string') {
    text(value, option)
    if (value === '')
      throw wrongValue(option, `${option} is an empty string`, 'give a name or an id, or leave the option out')
  } else throw wrongType(option, 'a name or an id', value)
}

function list(value: unknown, option: string): void {
  if (value === 'initgroups') return
  if (!Array.isArray(value)) throw wrongType(option, `an array of names and ids, or 'initgroups'`, value)
  if (value.length > NGROUPS_MAX)
    throw wrongValue(option, `${value.length} groups are too many`, `the kernel takes ${NGROUPS_MAX} (NGROUPS_MAX)`)
  // not forEach: that passes over holes
  for (const [index, element] of value.entries()) nameOrId(element, `${option}[${index}]`)
}

const attemptable: Record<string, (value: unknown, option: string) => void> = {
  read: absolutePath,
  write: absolutePath,
  bind: port,
}

function attempts(value: unknown, option: string): void {
  if (!isPlain(value)) throw wrongType(option, 'a plain object', value)
  for (const [kind, items] of Object.entries(value)) {
    const check = Object.hasOwn(attemptable, kind) ? attemptable[kind] : undefined
    if (!check)
      throw wrongValue(
        `${option}.${kind.slice(0, 64)}`,
        `${option} has no ${show(kind)}`,
        `it has ${Object.keys(attemptable).join(', ')}`,
      )
    if (items === undefined) continue
    if (!Array.isArray(items)) throw wrongType(`${option}.${kind}`, 'an array', items)
    if (items.length > ATTEMPTS_MAX)
      throw wrongValue(`${option}.${kind}`, `${items.length} are too many`, `name at most ${ATTEMPTS_MAX}`)
    for (const [index, item] of items.entries()) check(item, `${option}.${kind}[${index}]`)
  }
}

function port(value: unknown, option: string): void {
  if (typeof value !== 'number') throw wrongType(option, 'a port number', value)
  if (!Number.isInteger(value) || value < 1 || value > 65535)
    throw wrongValue(option, `${option} ${value} is no port`, 'a port is a whole number from 1 to 65535')
}

export function text(value: unknown, option: string): void {
  if (typeof value !== 'string') throw wrongType(option, 'a string', value)
  if (value.includes('\0')) throw wrongValue(option, `${option} ${show(value)} contains a NUL byte`, 'remove it')
}

function absolutePath(value: unknown, option: string): void {
  text(value, option)
  // a relative one would mean something else to whoever reads the configuration than to the process
  if (!isAbsolute(value as string))
    throw wrongValue(option, `${option} ${show(value)} is no absolute path`, 'begin it with /')
}

function boolean(value: unknown, option: string): void {
  if (typeof value !== 'boolean') throw wrongType(option, 'true or false', value)
}

export function wrongType(option: string, wanted: string, value: unknown): HardenError {
  return new HardenError({
    code: 'ERR_INVALID_ARG_TYPE',
    option,
    message: `${option} must be ${wanted}, and is ${show(value)}`,
    remedy: `make it ${wanted}`,
  })
}

export function wrongValue(option: string, message: string, remedy: string): HardenError {
  return new HardenError({ code: 'ERR_INVALID_ARG_VALUE', option, message, remedy })
}

/** A value as an error message may show it: short, and without running any code of its own. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 64 ? `${inspect(value.slice(0, 64))}...` : inspect(value)
  if (Array.isArray(value)) return 'an array'
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) return String(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
