/**
 * Names to ids. Done before anything changes, and before a chroot: after it, names cannot be looked up any more.
 */
import { existsSync } from 'node:fs'
import { type Entry, entries, type Kind } from './databases'
import { errnoName, HardenError, type Run, show, wrongValue } from './errors'
import type { Addon } from './native'
import { nearest } from './nearest'
import { type HardenOptions, LARGEST_ID, showList, WHOLE_ID, wordsOf } from './options'
import { REASONS_MAX } from './reasons'

/** The ids of the options; undefined where an option is missing. Every field is an own property. */
export interface Identity {
  readonly uid: number | undefined
  readonly gid: number | undefined
  /** Ascending, each once. */
  readonly groups: readonly number[] | undefined
}

/**
 * @param run receives the error about each wrong name, and may throw it; what the name stands for is then undefined
 * @throws HardenError ERR_UNKNOWN_CREDENTIAL, ERR_INVALID_ARG_VALUE, ERR_HARDEN_LOOKUP_FAILED
 */
export function resolve(
  { user, group, supplementalGroups }: HardenOptions,
  addon: Addon,
  run: Run = (part) => part(),
): Identity {
  const account = user === undefined ? undefined : run(() => findUser(user, addon))
  const gid = run(() =>
    group === undefined ? account && primaryGroup(account, addon) : findGroup(group, 'group', addon, account),
  )
  // a wrong name has no account whose groups could be found
  const groups =
    supplementalGroups === 'initgroups' && user !== undefined && account === undefined
      ? undefined
      : run(() => findGroups(supplementalGroups, account?.uid, gid, addon, run))
  return { uid: account?.uid, gid, groups }
}

function findGroups(
  groups: HardenOptions['supplementalGroups'],
  uid: number | undefined,
  gid: number | undefined,
  addon: Addon,
  run: Run,
): number[] | undefined {
  if (groups === undefined) return undefined
  if (groups === 'initgroups') return accountGroups(uid, gid, addon)
  const found: number[] = []
  let wrong = 0
  for (const [index, name] of groups.entries()) {
    const id = run(() => findGroup(name, `supplementalGroups[${index}]`, addon))
    if (id !== undefined) found.push(id)
    else if (++wrong === REASONS_MAX) break
  }
  return ascending(found)
}

function accountGroups(uid: number | undefined, gid: number | undefined, addon: Addon): number[] {
  if (uid === undefined || gid === undefined)
    throw wrongValue('supplementalGroups', `'initgroups' needs a user`, `give the option 'user' as well`, {
      found: 'initgroups',
    })
  return ascending(answer('supplementalGroups', uid, 'getgrouplist', addon.accountGroups(uid, gid)) ?? [])
}

export function ascending(ids: Iterable<number>): number[] {
  return [...new Set(ids)].sort((a, b) => a - b)
}

/** If the user is given by id, the group is not known yet. */
interface Account {
  readonly uid: number
  readonly gid: number | undefined
}

function findUser(user: string | number, addon: Addon): Account {
  if (typeof user === 'number') return { uid: user, gid: undefined }
  const found = isPossible(user) ? answer('user', user, 'getpwnam_r', addon.userByName(user)) : undefined
  return found
    ? { uid: usable(found.uid, 'user', user), gid: found.gid }
    : { uid: digits('user', user, () => remedyForUser(user, addon)), gid: undefined }
}

function primaryGroup({ uid, gid }: Account, addon: Addon): number {
  const found = gid ?? answer('user', uid, 'getpwuid_r', addon.userById(uid))?.gid
  if (found === undefined)
    throw wrongValue(
      'group',
      `user ${uid} has no account that could name its primary group`,
      `give the option 'group' as well`,
      { found: 'undefined' },
    )
  return usable(found, 'group', uid)
}

/** @param account whose primary group it is, if it is one */
function findGroup(group: string | number, option: string, addon: Addon, account?: Account): number {
  if (typeof group === 'number') return group
  const found = isPossible(group) ? answer(option, group, 'getgrnam_r', addon.groupByName(group)) : undefined
  return found
    ? usable(found.gid, option, group)
    : digits(option, group, () => remedyForGroup(group, option, addon, account))
}

const NAME_MAX = 1024

/** Whether a name may exist: name services end the process over some that cannot (nss-systemd over a long one). */
const isPossible = (name: string): boolean => Buffer.byteLength(name) <= NAME_MAX && !/[:\p{Cc}]/u.test(name)

/** "There is no such account" is an answer; "the name service failed" must not be taken for it. */
function answer<T extends object>(
  option: string,
  name: string | number,
  syscall: string,
  found: T | number | undefined,
): T | undefined {
  if (typeof found !== 'number') return found
  throw new HardenError({
    code: 'ERR_HARDEN_LOOKUP_FAILED',
    option,
    step: 'resolve',
    syscall,
    errno: -found,
    found: `${name}`.slice(0, 64),
    message: `${option} ${show(name)} could not be looked up: ${syscall}: ${errnoName(found)}`,
    remedy:
      'see that the name service answers (getent passwd, getent group; /etc/nsswitch.conf), at the start of the system as ' +
      'well (systemd: After=nss-user-lookup.target), or give numeric ids',
  })
}

interface Mending {
  readonly remedy: string
  readonly wanted?: string
}

/** For a name without an account. Only digits can be an id; '0day', '0x10', ' 0' are names that do not exist. */
function digits(option: string, name: string, mend: () => Mending): number {
  if (!/^[0-9]+$/.test(name))
    throw new HardenError({
      ...mend(),
      code: 'ERR_UNKNOWN_CREDENTIAL',
      option,
      found: name.slice(0, 64),
      message: `${option} ${show(name)} does not exist`,
    })
  return usable(Number(name), option, name)
}

function remedyForUser(name: string, addon: Addon): Mending {
  const [user = '', group = '', ...more] = name.split(':')
  if (more.length === 0 && isThere(addon.userByName, user) && isThere(addon.groupByName, group))
    return { remedy: `write { user: ${show(user)}, group: ${show(group)} }`, wanted: user }
  // not root: giving up root for root is no remedy
  const names = entries('user').filter(({ id }) => id !== 0)
  return remedyForName('user', name, nearestOf(name, names, addon.userByName))
}

function remedyForGroup(name: string, option: string, addon: Addon, account: Account | undefined): Mending {
  const words = wordsOf(name)
  if (option !== 'group' && words.length > 1 && words.every((word) => isThere(addon.groupByName, word)))
    return { remedy: `each name is one element: ${showList(words)}`, wanted: showList(words) }
  const primary = account?.gid === undefined ? undefined : addon.groupById(account.gid)
  if (option === 'group' && typeof primary === 'string')
    return { remedy: `the primary group of the user is ${show(primary)}: leave 'group' out to get it`, wanted: primary }
  return remedyForName('group', name, nearestOf(name, entries('group'), addon.groupByName))
}

type Lookup = (name: string) => object | number | undefined

const isThere = (lookup: Lookup, name: string): boolean =>
  name !== '' && isPossible(name) && typeof lookup(name) === 'object'

function nearestOf(name: string, known: readonly Entry[], lookup: Lookup): string | undefined {
  const wanted = nearest(
    name,
    known.map(({ name }) => name),
  )
  return wanted !== undefined && isThere(lookup, wanted) ? wanted : undefined
}

function remedyForName(kind: Kind, name: string, wanted: string | undefined): Mending {
  if (!isPossible(name))
    return { remedy: 'correct it: no account has so long a name, or a colon or a control character in it' }
  const create = creation(kind, name)
  if (wanted !== undefined) return { remedy: `did you mean ${show(wanted)}? If not, ${create}`, wanted }
  return {
    remedy: `correct the spelling (getent ${kind === 'user' ? 'passwd' : 'group'} lists what there is), or ${create}`,
  }
}

/** The command that creates such an account, with the tools that are installed. */
function creation(kind: Kind, name: string): string {
  // the names that these programs accept
  const isPlain = /^[a-z_][a-z0-9_-]{0,30}$/.test(name)
  if (isPlain && isInstalled('/usr/sbin/useradd', '/etc/login.defs'))
    return `create it: ${kind === 'user' ? 'useradd --system --no-create-home --shell /usr/sbin/nologin' : 'groupadd --system'} ${name}`
  if (isPlain && isInstalled('/usr/sbin/adduser', '/bin/busybox'))
    return `create it: ${kind === 'user' ? 'adduser -S -D -H -s /sbin/nologin' : 'addgroup -S'} ${name}`
  return 'create it (useradd(8), groupadd(8))'
}

/** Solaris has a useradd too, without these options. */
function isInstalled(...paths: readonly string[]): boolean {
  try {
    return paths.every((path) => existsSync(path))
  } catch {
    return false // Node's permissions forbid it
  }
}

function usable(id: number, option: string, name: string | number): number {
  if (id > LARGEST_ID)
    throw wrongValue(option, `${option} ${show(name)} has the id ${id}, which is not a valid id`, WHOLE_ID, {
      found: `${id}`,
    })
  return id
}
