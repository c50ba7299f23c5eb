/**
 * The state of a thread on either system, and the differences between two. Shares nothing with the code that applies a
 * plan. Every field is an own property of every state, so that no prototype answers for a missing one.
 */

/** The four user or group ids of a thread (credentials(7)); on Solaris `fs` is the effective one. */
export interface Ids {
  readonly real: number
  readonly effective: number
  readonly saved: number
  readonly fs: number
}

export const isAny = ({ real, effective, saved, fs }: Ids, id: number): boolean =>
  [real, effective, saved, fs].includes(id)

export const allOf = (id: number): Ids => ({ real: id, effective: id, saved: id, fs: id })

/** Names in the system's order: of capabilities (capabilities(7)) or of privileges (privileges(7)). */
export type Names = readonly string[]

/** By the name of the set: Linux has permitted, effective, inheritable, bounding, ambient; Solaris the first three and limit. */
export interface Sets {
  readonly permitted: Names
  readonly effective: Names
  readonly inheritable: Names
  readonly bounding: Names | undefined
  readonly ambient: Names | undefined
  readonly limit: Names | undefined
}

export interface State {
  readonly user: Ids
  readonly group: Ids
  /** The supplementary groups, ascending. */
  readonly groups: readonly number[]
  readonly sets: Sets
  /** Its root and working directory are the new root of the plan. */
  readonly jailed: boolean
  /** Linux (PR_SET_NO_NEW_PRIVS(2const)); false on Solaris. */
  readonly noNewPrivileges: boolean
  /** Linux (PR_GET_SECUREBITS(2const)); undefined where only /proc was read, which does not show them. */
  readonly securebits: number | undefined
  /** Solaris: flags of the process (getpflags(2)). PRIV_AWARE: no user id gives or takes privileges. */
  readonly flags: Names | undefined
}

export interface Thread {
  /** gettid(2); on Solaris getpid(2): the process stands for all its threads. */
  readonly tid: number
  readonly name: string
}

/** One comparable word for each field, in the order of a report; unknown fields are left out. */
export type Words = ReadonlyMap<string, string>

/** One field that differs from what it should be. */
export interface Difference {
  readonly field: string
  readonly wanted: string
  readonly found: string
}

/** A difference in one thread. */
export interface Discrepancy extends Difference {
  readonly tid: number
  readonly name: string
}

export function inWords({ user, group, groups, sets, ...others }: State): Words {
  const ids = ({ real, effective, saved, fs }: Ids) => `${real} ${effective} ${saved} ${fs}`
  const { jailed, noNewPrivileges, securebits, flags } = others
  const fields: [string, string | undefined][] = [
    ['user', ids(user)],
    ['group', ids(group)],
    ['groups', groups.join(' ')],
    ...Object.entries(sets).map(([set, names]): [string, string | undefined] => [set, names?.join(' ')]),
    ['jailed', `${jailed}`],
    ['noNewPrivileges', `${noNewPrivileges}`],
    ['securebits', securebits?.toString()],
    ['flags', flags?.join(' ')],
  ]
  return new Map(fields.filter((field): field is [string, string] => field[1] !== undefined))
}

/** Every difference, excess or lack, in the fields that both sides have. */
export function compare(wanted: Words, state: State): Difference[] {
  const differences: Difference[] = []
  for (const [field, found] of inWords(state)) {
    const word = wanted.get(field)
    if (word !== undefined && word !== found) differences.push({ field, wanted: word, found })
  }
  return differences
}
