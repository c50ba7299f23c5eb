/** passwd(5) and group(5) as they lie on the disk: for people to read. What is decided is asked of the name service. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import type { HardenOptions } from './options'
import type { State } from './state'

export interface Entry {
  readonly name: string
  readonly id: number
}

const PATHS = { user: '/etc/passwd', group: '/etc/group' } as const

export type Kind = keyof typeof PATHS

/** None where they cannot be read. */
export function entries(kind: Kind): Entry[] {
  let text = ''
  try {
    text = read(PATHS[kind])
  } catch {
    // then there are numbers
  }
  return Array.from(text.matchAll(/^([^:\n]+):[^:\n]*:(\d+):/gm), ([, name = '', id]) => ({ name, id: Number(id) }))
}

/** Of a hundred thousand accounts. */
const SIZE_MAX = 16 * 1024 * 1024

/** In a chroot it may be a file of any kind: none that the process would wait for is read. */
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
 * Of each id the name by which it was asked for, else the first that it has on the disk.
 *
 * @param asked names for the ids of the first state
 */
export function accountsOf(
  states: readonly Pick<State, 'user' | 'group' | 'groups'>[],
  { user, group }: HardenOptions = {},
): Accounts {
  const users = states.flatMap(({ user }) => Object.values(user))
  const groups = states.flatMap(({ group, groups }) => [...Object.values(group), ...groups])
  return { user: namesOf('user', users, user), group: namesOf('group', groups, group) }
}

/** @param asked for the first of the ids */
function namesOf(kind: Kind, ids: readonly number[], asked: string | number | undefined): Map<number, string> {
  const names = new Map<number, string>()
  const wanted = new Set(ids)
  for (const { name, id } of entries(kind)) if (wanted.has(id) && !names.has(id)) names.set(id, name)
  const [first] = ids
  if (first !== undefined && typeof asked === 'string' && !/^\d+$/.test(asked)) names.set(first, asked)
  return names
}

/** In a chroot the new user may decide what is found under the name of a file. */
export const noAccounts: Accounts = { user: new Map(), group: new Map() }

/** The first name that an id has, or the id. */
export function nameOf(kind: Kind, id: number): string {
  return entries(kind).find((entry) => entry.id === id)?.name ?? `${id}`
}
