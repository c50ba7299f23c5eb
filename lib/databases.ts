/** passwd(5) and group(5) as files, for people to read. Decisions are made by the name service's answers. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import type { HardenOptions } from './options'
import type { State } from './state'

export interface Entry {
  readonly name: string
  readonly id: number
}

const PATHS = { user: '/etc/passwd', group: '/etc/group' } as const

export type Kind = keyof typeof PATHS

/** Every account or group; none if the file cannot be read. */
export function entries(kind: Kind): Entry[] {
  let text = ''
  try {
    text = read(PATHS[kind])
  } catch {
    // then ids are shown as numbers
  }
  return Array.from(text.matchAll(/^([^:\n]+):[^:\n]*:(\d+):/gm), ([, name = '', id]) => ({ name, id: Number(id) }))
}

/** Room for a hundred thousand accounts. */
const SIZE_MAX = 16 * 1024 * 1024

/** In a chroot the path may name anything: nothing is read for which the process would wait. */
function read(path: string): string {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const file = fstatSync(descriptor)
    return file.isFile() && file.size <= SIZE_MAX ? readFileSync(descriptor, 'utf8') : ''
  } finally {
    closeSync(descriptor)
  }
}

/** Names of ids. */
export type Accounts = Readonly<Record<Kind, ReadonlyMap<number, string>>>

/**
 * For each id the name that was given for it, else its first name in the file.
 *
 * @param options the names that were given for the ids of the first state
 */
export function accountsOf(
  states: readonly Pick<State, 'user' | 'group' | 'groups'>[],
  { user, group }: HardenOptions = {},
): Accounts {
  const users = states.flatMap(({ user }) => Object.values(user))
  const groups = states.flatMap(({ group, groups }) => [...Object.values(group), ...groups])
  return { user: namesOf('user', users, user), group: namesOf('group', groups, group) }
}

/** @param asked the name that was given for the first id */
function namesOf(kind: Kind, ids: readonly number[], asked: string | number | undefined): Map<number, string> {
  const names = new Map<number, string>()
  const wanted = new Set(ids)
  for (const { name, id } of entries(kind)) if (wanted.has(id) && !names.has(id)) names.set(id, name)
  const [first] = ids
  if (first !== undefined && typeof asked === 'string' && !/^\d+$/.test(asked)) names.set(first, asked)
  return names
}

/** For use in a chroot, where the new user may decide what the files say. */
export const noAccounts: Accounts = { user: new Map(), group: new Map() }

/** The first name that an id has, or the id. */
export function nameOf(kind: Kind, id: number): string {
  return entries(kind).find((entry) => entry.id === id)?.name ?? `${id}`
}
