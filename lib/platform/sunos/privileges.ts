/**
 * Privileges as text and as names. The system's own priv_str_to_set(3C) does both ways; there is no table of names here.
 */
import { errnoName, HardenError } from '../../errors'
import { native, type SunosAddon } from '../../native'
import { show } from '../../options'

/** What every process used to be allowed; which these are differs between systems (privileges(7)). */
export const basicPrivileges = (): string[] => parsePrivileges('basic')

/**
 * @returns names in the system's order
 * @throws HardenError ERR_HARDEN_PRIVILEGES; `found` is the word at fault
 */
export function parsePrivileges(text: string): string[] {
  const names = native<SunosAddon>().privilegesFromText(text)
  if (typeof names !== 'number') return names
  if (names < 0)
    throw new HardenError({
      code: 'ERR_HARDEN_PRIVILEGES',
      option: 'privileges',
      syscall: 'priv_str_to_set',
      errno: names,
      message: `privileges ${show(text)} could not be read: priv_str_to_set: ${errnoName(-names)}`,
      remedy: 'raise the limit on memory (ulimit -v), and call harden() again',
    })
  // It counts bytes; the separators are those that it is given.
  const before = Buffer.from(text).subarray(0, names).toString()
  const [word = ''] = text.slice(before.length).split(/[ \t\r\n,:]/, 1)
  throw new HardenError({
    code: 'ERR_HARDEN_PRIVILEGES',
    option: 'privileges',
    found: word.slice(0, 64),
    message: `privileges: ${show(word)} at character ${before.length + 1} is no privilege that this system knows`,
    remedy: `see ppriv -l for their names, and priv_str_to_set(3C), e.g. 'basic net_privaddr'; sets of privileges cannot be negated`,
  })
}
