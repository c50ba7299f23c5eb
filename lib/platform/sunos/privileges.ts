/**
 * Privileges as text and as names. The system's priv_str_to_set(3C) converts both ways; there is no table of names
 * here.
 */
import { errnoName, HardenError, type Run, show } from '../../errors'
import { native, type PrivilegeSet, type SunosAddon } from '../../native'
import { nearest } from '../../nearest'
import type { HardenOptions } from '../../options'

/** The privileges that every process has by default; systems differ in which these are (privileges(7)). */
export const basicPrivileges = (): string[] => parsePrivileges('basic')

/**
 * @returns names in the system's order
 * @throws HardenError ERR_HARDEN_PRIVILEGES; `found` is the word at fault
 */
export function parsePrivileges(text: string): string[] {
  const names = native<SunosAddon>().privilegesFromText(text)
  if (typeof names !== 'number') return names
  if (names < 0) throw unreadable(text, names)
  // It counts bytes; the separators are those of src-native/sunos/privileges.c.
  const before = Buffer.from(text).subarray(0, names).toString()
  const [word = ''] = text.slice(before.length).split(/[ \t\r\n,]/, 1)
  const wanted = nearest(word, [...allPrivileges(), 'basic', 'all', 'none', 'zone'])
  const remedy = `see ppriv -l for their names, and priv_str_to_set(3C), e.g. 'basic net_privaddr'; sets of privileges cannot be negated`
  throw new HardenError({
    code: 'ERR_HARDEN_PRIVILEGES',
    option: 'privileges',
    found: word.slice(0, 64),
    wanted,
    message: `privileges: ${show(word)} at character ${before.length + 1} is not a privilege of this system`,
    remedy: wanted === undefined ? remedy : `did you mean '${wanted}'? For their names see ppriv -l`,
  })
}

/** All names that the system has. */
export function allPrivileges(): string[] {
  const names = native<SunosAddon>().privilegesFromText('all')
  return typeof names === 'number' ? [] : names
}

export const readTexts = ({ privileges = '' }: HardenOptions, run: Run): boolean =>
  run(() => parsePrivileges(privileges)) !== undefined

/** The text that an option takes, from a list of words; undefined: there is none. */
export function textOf(option: string, words: readonly string[]): string | undefined {
  const text = words.join(' ')
  return option === 'privileges' && typeof native<SunosAddon>().privilegesFromText(text) !== 'number' ? text : undefined
}

/**
 * @returns the sets of the process that equal the text's set, bits without a name included
 * @throws HardenError ERR_HARDEN_PRIVILEGES
 */
export function setsHeld(text: string): PrivilegeSet[] {
  const held = native<SunosAddon>().setsHeld(text)
  if (typeof held === 'number') throw unreadable(text, held)
  return held
}

function unreadable(text: string, errno: number): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_PRIVILEGES',
    option: 'privileges',
    syscall: 'priv_str_to_set',
    errno,
    message: `privileges ${show(text)} could not be read: priv_str_to_set: ${errnoName(-errno)}`,
    remedy: 'raise the limit on memory (ulimit -v), and call harden() again',
  })
}
