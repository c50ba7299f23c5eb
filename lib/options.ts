/**
 * What a caller may ask for, and every error that the arguments alone can cause. No account and no file is looked up
 * here.
 */
import { isAbsolute, resolve } from 'node:path'
import { types } from 'node:util'
import { type HardenError, type Run, show, wrongType, wrongValue } from './errors'
import { nearest } from './nearest'
import { namingPlaces } from './places'
import { REASONS_MAX, refuseAll } from './reasons'
import { listWords, meant, optionWords, type Words } from './words'

/** What harden() and plan() take. Any other property is refused: a misspelt option must not become a default. */
export interface HardenOptions {
  /**
   * The identity to assume: an account's name, or a uid, e.g. 'smtp', 990. A string is a name first, and a uid only if it is all
   * digits and no account has that name. Required if any of the process's user ids is 0: `{ user: process.env.SMTP_USER }` compiles,
   * and is refused there if the variable is not set. Without it the effective user stays.
   */
  user?: string | number | undefined
  /** A group's name, or a gid, e.g. 'mail', 8. Default: the primary group of `user`. */
  group?: string | number | undefined
  /**
   * The supplementary groups, exactly these (setgroups(2)): at most NGROUPS_MAX names or gids, e.g. ['mail',
   * 'ssl-cert']; or 'initgroups': those of the account (initgroups(3)). Default: none.
   */
  supplementalGroups?: readonly (string | number)[] | 'initgroups' | undefined
  /**
   * Linux: the capabilities to retain, in the notation of cap_from_text(3), e.g. 'cap_net_bind_service+ep'. Exclusive:
   * what it does not name is lost, for user root too. Default: none; user root without it stays as privileged as it is.
   * Ignored on Solaris.
   */
  capabilities?: string | undefined
  /**
   * Solaris: the privileges to retain, in the notation of priv_str_to_set(3C), e.g. 'basic net_privaddr'. Exclusive: what it
   * does not name is lost, for user root too. Default: none, not even basic ones; user root without it stays as privileged
   * as it is. Ignored on Linux.
   */
  privileges?: string | undefined
  /**
   * A new root directory, as an absolute path, e.g. '/srv/mail' (chroot(2)). Load what lies outside it before the call.
   * Default: none.
   */
  chroot?: string | undefined
  /**
   * Linux: names of capabilities, separated by white space or commas, that child processes keep too, e.g. 'cap_net_raw'; each must be
   * permitted in `capabilities`. Default: none. Ignored on Solaris.
   */
  ambientCapabilities?: string | undefined
  /**
   * Linux: set no_new_privs (PR_SET_NO_NEW_PRIVS(2const)): no program that is executed later gains anything, set-user-ID
   * or not. Default: true. Ignored on Solaris, which has no such flag: the limit set, which is what is retained, bounds the privileges there.
   */
  noNewPrivileges?: boolean | undefined
  /**
   * What the new identity must be able to use, tried by the rehearsing child, e.g. { read: ['/etc/ssl/key.pem'], bind: [25] }. Nothing is
   * created or written. Default: nothing.
   */
  rehearse?:
    | {
        /** Files and directories to read: absolute paths, at most 1024, as the process will see them (in the chroot), e.g. '/etc/ssl/key.pem'. */
        readonly read?: readonly string[] | undefined
        /** The same to write: files, and directories to create files in, e.g. '/var/spool/smtp'. */
        readonly write?: readonly string[] | undefined
        /** TCP ports to bind, for IPv4 and IPv6: whole numbers from 1 to 65535, at most 1024, e.g. 25. */
        readonly bind?: readonly number[] | undefined
      }
    | undefined
  /** Accept an inspector that is open when harden() is called. Default: false. */
  allowInspector?: boolean | undefined
}

type Check = (value: unknown, option: string, context: Context) => void
type Known = { readonly [Option in keyof Required<HardenOptions>]: Check }

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

/** What other programs call each option. */
const words: Words<keyof HardenOptions> = optionWords
const wordsOfLists: Words<keyof NonNullable<HardenOptions['rehearse']>> = listWords

/** The largest id. The next one is (uid_t)-1, which means "leave it as it is" to setresuid(2). */
export const LARGEST_ID = 0xfffffffe
/** The remedy for a value that is not an id. */
export const WHOLE_ID = `an id is a whole number from 0 to ${LARGEST_ID}`
/** A bound: for each, the rehearsing child makes a few system calls. */
const ATTEMPTS_MAX = 1024
/** The kernel's limit (getgroups(2), NGROUPS_MAX); it has been a constant since Linux 2.6.4. */
export const NGROUPS_MAX = 65536

/** The call: the function's name, and its arguments after the options. */
interface Call {
  readonly name: string
  readonly more: readonly unknown[]
  readonly textOf: TextOf
}

/** The text that an option takes, from a list of words; undefined: there is none. */
type TextOf = (option: string, words: readonly string[]) => string | undefined

interface Context {
  readonly run: Run
  readonly textOf: TextOf
}

const ofHarden: Call = { name: 'harden', more: [], textOf: () => undefined }

/**
 * Returns a checked copy of the options.
 *
 * @param run receives each reason for a refusal, and may throw it; the option concerned is left out of the copy
 * @throws HardenError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE; `option` names the culprit
 */
export function validate(options: unknown, run: Run = (part) => part(), call: Call = ofHarden): HardenOptions {
  if (!isPlain(options)) throw wrongType('options', 'a plain object', options, remedyForCall(options, call))

  // Own properties only, each read once: a property of Object.prototype is not an option.
  const copy: Record<string, unknown> = { __proto__: null, ...options }
  const groups = copy.supplementalGroups
  if (Array.isArray(groups) && groups.length <= NGROUPS_MAX) copy.supplementalGroups = [...groups]
  if (isPlain(copy.rehearse)) copy.rehearse = copyOfLists(copy.rehearse)
  const right: Record<string, unknown> = { __proto__: null }
  const runHere: Run = (part) => run(() => namingPlaces(copy, part))
  const context: Context = { run: runHere, textOf: call.textOf }
  for (const [option, value] of Object.entries(copy)) {
    const isRight = runHere(() => {
      check(option, value, context)
      return true
    })
    if (isRight) right[option] = value
  }
  return right
}

function check(option: string, value: unknown, context: Context): void {
  if (!Object.hasOwn(known, option)) {
    const wanted = meant(option, words)
    const list = wanted === 'rehearse' ? meant(option, wordsOfLists) : undefined
    throw noSuch(option, {
      option: option.slice(0, 64),
      message: 'there is no option',
      wanted,
      kind: 'option',
      names: known,
      remedy: list && `write rehearse: { ${list}: [...] }`,
    })
  }
  if (value !== undefined) known[option as keyof Known](value, option, context)
}

interface Unknown {
  readonly option: string
  readonly message: string
  /** The name that is probably meant. */
  readonly wanted: string | undefined
  /** What the names stand for, and an object whose keys they are. */
  readonly kind: 'option' | 'list'
  readonly names: object
  /** For a name that belongs elsewhere. */
  readonly remedy?: string | undefined
}

/** The error about a name that does not exist. */
export function noSuch(name: string, { option, message, wanted, kind, names, remedy }: Unknown): HardenError {
  const called =
    wanted === undefined ? `the ${kind}s are ${Object.keys(names).join(', ')}` : `the ${kind} is called '${wanted}'`
  return wrongValue(option, `${message} ${show(name)}`, remedy ?? called, { found: name.slice(0, 64), wanted })
}

/** The remedy: the call as it should be, with the values that were given. */
function remedyForCall(options: unknown, { name, more }: Call): string {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return 'make it a plain object'
  if (!isNameOrId(options)) return `call ${name}({ user: 'smtp' }), with an account of the server's own`
  const [group] = more.filter(isNameOrId)
  const identity = `user: ${show(options)}${group === undefined ? '' : `, group: ${show(group)}`}`
  return more.some(isPlain)
    ? `call ${name}({ ${identity}, ... }), with the other options in the same object`
    : `call ${name}({ ${identity} })`
}

const isNameOrId = (value: unknown): boolean =>
  typeof value === 'string' ? /^[^\0:]{1,64}$/.test(value) : typeof value === 'number' && isId(value)

const isId = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= LARGEST_ID

/** Without a prototype, like the rest of the copy. */
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

/** NaN comes from Number(undefined). */
const numberOf = (value: number, remedy: string): string =>
  Number.isNaN(value) ? `is an environment variable not set? It has to be a number: ${remedy}` : remedy

function nameOrId(value: unknown, option: string): void {
  const empty = 'give a name or an id, or leave the option out'
  if (typeof value === 'number') {
    if (!isId(value))
      throw wrongValue(option, `${option} ${value} is not an id`, numberOf(value, WHOLE_ID), { found: `${value}` })
  } else if (typeof value === 'string') {
    text(value, option)
    if (value === '') throw wrongValue(option, `${option} is an empty string`, empty, { found: show(value) })
  } else throw wrongType(option, 'a name or an id', value, first(value, option))
}

/** The one name or id in a list, and where those after it belong; undefined: wrongType() has a remedy. */
function first(value: unknown, option: string): string | undefined {
  const [id, ...more] = typeof value === 'bigint' ? [Number(value)] : elementsOf(value)
  if (!isNameOrId(id) || !more.every(isNameOrId)) return undefined
  if (more.length === 0) return `write ${show(id)}`
  return option === 'group' ? `write ${show(id)}, and supplementalGroups: ${showList(more)}` : undefined
}

/** The elements of a short array, read without running its code. */
function elementsOf(value: unknown): unknown[] {
  if (!Array.isArray(value) || types.isProxy(value) || value.length > REASONS_MAX) return []
  return Array.from({ length: value.length }, (_, index) => Object.getOwnPropertyDescriptor(value, index)?.value)
}

function list(value: unknown, option: string, { run }: Context): void {
  if (value === 'initgroups') return
  if (!Array.isArray(value)) throw wrongType(option, `an array of names and ids, or 'initgroups'`, value, asList(value))
  refuseTooMany(value, option, NGROUPS_MAX, 'the kernel takes no more (NGROUPS_MAX)')
  checkEach(value, option, nameOrId, run)
}

/** A value that should be a list, as a list. */
function asList(value: unknown): string | undefined {
  if (typeof value === 'string' && nearest(value, ['initgroups'])) return `write 'initgroups'`
  const items = typeof value === 'string' ? wordsOf(value) : [value]
  return items.length > 0 && items.every(isNameOrId) ? `write ${showList(items)}` : undefined
}

export const showList = (items: readonly unknown[]): string => `[${items.map(show).join(', ')}]`

/** No more words than fit into a message. */
export const wordsOf = (text: string): string[] =>
  (text.length > 1024 ? [] : (text.match(/[^\s,]+/g) ?? [])).slice(0, 16)

function refuseTooMany(items: readonly unknown[], option: string, most: number, remedy: string): void {
  const { length } = items
  if (length > most)
    throw wrongValue(option, `${option} has ${length} elements, and at most ${most} are possible`, remedy, {
      found: `${length}`,
      wanted: `at most ${most}`,
    })
}

/** Runs all checks; each that throws is a reason for a refusal. */
function checkAll(checks: Iterable<() => void>, run: Run): void {
  const wrong: unknown[] = []
  for (const check of checks)
    try {
      check()
    } catch (error) {
      wrong.push(error)
      if (wrong.length === REASONS_MAX) break
    }
  refuseAll(wrong, run)
}

type CheckItem = (item: unknown, option: string) => void

function checkEach(items: readonly unknown[], option: string, checkItem: CheckItem, run: Run): void {
  // not map(), which skips holes
  checkAll(
    Array.from(items, (item, index) => () => checkItem(item, `${option}[${index}]`)),
    run,
  )
}

const attemptable: Readonly<Record<string, CheckItem>> = { read: absolutePath, write: absolutePath, bind: port }

function attempts(value: unknown, option: string, { run }: Context): void {
  const shape = '{ read: [...], write: [...], bind: [...] }'
  if (!isPlain(value))
    throw wrongType(option, 'a plain object', value, `write ${shape}, without those that are not needed`)
  checkAll(
    Object.entries(value).map(
      ([kind, items]) =>
        () =>
          attempt(items, option, kind, run),
    ),
    run,
  )
}

function attempt(items: unknown, option: string, kind: string, run: Run): void {
  const checkItem = Object.hasOwn(attemptable, kind) ? attemptable[kind] : undefined
  const name = `${option}.${kind.slice(0, 64)}`
  if (!checkItem)
    throw noSuch(kind, {
      option: name,
      message: `${option} has no`,
      wanted: meant(kind, wordsOfLists),
      kind: 'list',
      names: attemptable,
      remedy: Object.hasOwn(known, kind) ? `'${kind}' is an option: write it beside 'rehearse', not in it` : undefined,
    })
  if (items === undefined) return
  if (!Array.isArray(items)) throw wrongType(name, 'an array', items, asItems(items, checkItem))
  refuseTooMany(items, name, ATTEMPTS_MAX, 'name fewer')
  checkEach(items, name, checkItem, run)
}

/** A single path or port, as a list. */
function asItems(item: unknown, checkItem: CheckItem): string | undefined {
  const one = portOf(item) ?? item
  try {
    checkItem(one, '')
    return `write [${show(one)}]`
  } catch {
    return undefined
  }
}

/** A port written with quotes, or after an address. */
function portOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || value.length > 64) return undefined
  const port = Number(/^(?:.*:)?\s*0*([1-9]\d{0,4})\s*$/.exec(value)?.[1])
  return port < 65536 ? port : undefined
}

function port(value: unknown, option: string): void {
  if (typeof value !== 'number') {
    const number = portOf(value)
    throw wrongType(
      option,
      'a port number',
      value,
      number === undefined ? 'write its number, such as 25' : `write ${number}, without quotes`,
    )
  }
  if (!Number.isInteger(value) || value < 1 || value > 65535)
    throw wrongValue(
      option,
      `${option} ${value} is not a port`,
      numberOf(value, 'a port is a whole number from 1 to 65535'),
      {
        found: `${value}`,
      },
    )
}

export function text(value: unknown, option: string, context?: Context): void {
  if (typeof value !== 'string') throw wrongType(option, 'a string', value, oneText(value, option, context))
  if (value.includes('\0'))
    throw wrongValue(option, `${option} ${show(value)} contains a NUL byte`, 'remove it', { found: show(value) })
}

/** A list of words, as one text. */
function oneText(value: unknown, option: string, context: Context | undefined): string | undefined {
  const words = elementsOf(value)
  const isWords = words.length > 0 && words.every((word) => typeof word === 'string')
  const whole = isWords ? context?.textOf(option, words) : undefined
  if (whole !== undefined) return `write it as one string: ${show(whole)}`
  const example = examples.get(option)
  return example && `write a string such as '${example}', or leave the option out: then there are none`
}

const examples: ReadonlyMap<string, string> = new Map([
  ['capabilities', 'cap_net_bind_service+ep'],
  ['ambientCapabilities', 'cap_net_bind_service'],
  ['privileges', 'basic net_privaddr'],
])

function absolutePath(value: unknown, option: string): void {
  text(value, option)
  const path = value as string
  // a relative path means one folder to a reader of the configuration and another to the process
  if (isAbsolute(path)) return
  const absolute = option === 'chroot' ? resolved(path) : undefined
  throw wrongValue(
    option,
    `${option} ${show(path)} is not an absolute path`,
    absolute === undefined
      ? 'begin it with /'
      : `write ${show(absolute)}, which is that path in the present working directory`,
    { found: show(path), wanted: absolute === undefined ? 'a path that begins with /' : absolute },
  )
}

/** undefined: the resolved path is no better. */
function resolved(path: string): string | undefined {
  if (path === '' || path.startsWith('~') || path.length > 64) return undefined
  try {
    return resolve(path)
  } catch {
    return undefined // the working directory has been removed
  }
}

const booleans: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  ...(['true', 'yes', 'on', '1', 1] as const).map((word) => [word, true] as const),
  ...(['false', 'no', 'off', '0', 0] as const).map((word) => [word, false] as const),
])

function boolean(value: unknown, option: string): void {
  if (typeof value === 'boolean') return
  const meant = booleans.get(value)
  throw wrongType(
    option,
    'true or false',
    value,
    meant === undefined ? undefined : `write ${meant}${typeof value === 'string' ? ', without quotes' : ''}`,
  )
}
