/**
 * Names to ids. Done before anything changes, and before a chroot: afterwards there are only numbers.
 */
import { errnoName, HardenError } from './errors'
import type { Addon } from './native'
import { type HardenOptions, LARGEST_ID, show, wrongValue } from './options'

/** Ids that were asked for; undefined where nothing was. Every field is an own property. */
export interface Identity {
  readonly uid: number | undefined
  readonly gid: number | undefined
  /** Ascending, each once. */
  readonly groups: readonly number[] | undefined
}

/**
 * @throws HardenError ERR_UNKNOWN_CREDENTIAL, ERR_INVALID_ARG_VALUE, ERR_HARDEN_LOOKUP_FAILED
 */
export function resolve({ user, group, supplementalGroups }: HardenOptions, addon: Addon): Identity {
  const account = user === undefined ? undefined : findUser(user, addon)
  const gid = group === undefined ? account && primaryGroup(account, addon) : findGroup(group, 'group', addon)
  return { uid: account?.uid, gid, groups: findGroups(supplementalGroups, account?.uid, gid, addon) }
}

function findGroups(
  groups: HardenOptions['supplementalGroups'],
  uid: number | undefined,
  gid: number | undefined,
  addon: Addon,
): number[] | undefined {
  if (groups === undefined) return undefined
  if (groups !== 'initgroups')
    return ascending(groups.map((name, index) => findGroup(name, `supplementalGroups[${index}]`, addon)))
  if (uid === undefined || gid === undefined)
    throw wrongValue('supplementalGroups', `'initgroups' goes with a user`, `give the option 'user' as well`)
  return ascending(answer('supplementalGroups', uid, 'getgrouplist', addon.accountGroups(uid, gid)) ?? [])
}

export function ascending(ids: Iterable<number>): number[] {
  return [...new Set(ids)].sort((a, b) => a - b)
}

/** Of a user that is given by its id, the group is not known yet. */
interface Account {
  readonly uid: number
  readonly gid: number | undefined
}

function findUser(user: string | number, addon: Addon): Account {
  if (typeof user === 'number') return { uid: user, gid: undefined }
  const found = answer('user', user, 'getpwnam_r', addon.userByName(user))
  return found
    ? { uid: usable(found.uid, 'user', user), gid: found.gid }
    : { uid: digits('user', user), gid: undefined }
}

function primaryGroup({ uid, gid }: Account, addon: Addon): number {
  const found = gid ?? answer('user', uid, 'getpwuid_r', addon.userById(uid))?.gid
  if (found === undefined)
    throw wrongValue(
      'group',
      `user ${uid} has no account that could name its primary group`,
      `give the option 'group' as well`,
    )
  return usable(found, 'group', uid)
}

function findGroup(group: string | number, option: string, addon: Addon): number {
  if (typeof group === 'number') return group
  const found = answer(option, group, 'getgrnam_r', addon.groupByName(group))
  return found ? usable(found.gid, option, group) : digits(option, group)
}

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
    message: `${option} ${show(name)} could not be looked up: ${syscall}: ${errnoName(found)}`,
    remedy:
      'see that the name service answers (getent passwd, getent group; /etc/nsswitch.conf), at the start of the system as ' +
      'well (systemd: After=nss-user-lookup.target), or give numeric ids',
  })
}

/** No account has this name. Nothing but digits can be an id; '0day', '0x10', ' 0' are names that do not exist. */
function digits(option: string, name: string): number {
  if (!/^[0-9]+$/.test(name))
    throw new HardenError({
      code: 'ERR_UNKNOWN_CREDENTIAL',
      option,
      message: `${option} ${show(name)} does not exist`,
      remedy: `create it (useradd(8), groupadd(8)), or correct the spelling; of one that should exist see what getent(1) says`,
    })
  return usable(Number(name), option, name)
}

function usable(id: number, option: string, name: string | number): number {
  if (id > LARGEST_ID)
    throw wrongValue(
      option,
      `${option} ${show(name)} has the id ${id}, which is none`,
      `an id is a whole number from 0 to ${LARGEST_ID}`,
    )
  return id
}
