/**
 * What weakens a plan without being a reason to refuse it, as far as both systems share it. Read-only; whatever
 * vanishes or cannot be read is skipped.
 */
import type { Cluster } from 'node:cluster'
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ascending } from './accounts'
import type { Finding, FindingCode, Plan, Scene } from './contract'
import { errnoName } from './errors'

export function danger(code: FindingCode, message: string, remedy: string): Finding {
  return { code, level: 'danger', message, remedy }
}

export function note(code: FindingCode, message: string, remedy: string): Finding {
  return { code, level: 'note', message, remedy }
}

const NAMED_MAX = 5

/** "a, b, c, d, e and 2 more" */
export function listSome(names: readonly string[]): string {
  const more = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : ''
  return names.slice(0, NAMED_MAX).join(', ') + more
}

/** undefined: it does not exist, or this process may not read it. */
export function attempt<T>(part: () => T): T | undefined {
  try {
    return part()
  } catch {
    return undefined
  }
}

/** Like attempt(), and remembers what exists but was refused: findings that depend on it are missing then. */
export function tryReading<T>({ unread }: Pick<Scene, 'unread'>, what: string, part: () => T): T | undefined {
  try {
    return part()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ESRCH') unread.add(what)
    return undefined
  }
}

/**
 * What to give to root so that nothing else can be put in the place of `path`: the folder that holds it, or, if that is
 * sticky and so lets users exchange only what they own, the path itself.
 *
 * @param user who can exchange it; undefined: any user but root
 */
export function exchangedThrough(path: string, user?: number): string {
  const folder = attempt(() => statSync(dirname(path)))
  const isItsOwners = folder !== undefined && (user === undefined ? folder.uid !== 0 : folder.uid === user)
  return folder !== undefined && folder.mode & 0o1000 && !isItsOwners ? path : dirname(path)
}

/** Never silence: Node's --permission, hidepid, a seccomp filter or a security module can take findings away. */
export function notExamined({ unread }: Scene): Finding | undefined {
  if (unread.size === 0) return undefined
  return note(
    'HARDEN_NOT_EXAMINED',
    `these could not be read, so findings that depend on them may be missing: ${[...unread].join(', ')}`,
    'let the process read them (Node: --allow-fs-read=/proc; systemd: ProcSubset=all), and the name service answer (getent group)',
  )
}

/** node(1): with these options a signal, which any process of the same user may send, writes the contents of the
 * process to a file. */
export function signalReport(): Finding | undefined {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/[\s"]+/)]
  // Node takes an underscore for a hyphen
  const snapshot = options.some((option) => /^--heapsnapshot[-_]signal(=|$)/.test(option))
  const ways = [
    ...(attempt(() => process.report.reportOnSignal) === true
      ? ['--report-on-signal: leave it out, or set process.report.reportOnSignal to false']
      : []),
    ...(snapshot ? ['--heapsnapshot-signal: leave it out'] : []),
  ]
  if (ways.length === 0) return undefined
  const names = ways.map((way) => way.split(':', 1).join('')).join(' and ')
  return danger(
    'HARDEN_SIGNAL_REPORT',
    `any process of the new user can have this one write its memory or environment to a file, by a signal: ${names}`,
    `${ways.join('; ')} (of NODE_OPTIONS, too)`,
  )
}

/** A cluster worker has a channel to its primary, and has loaded node:cluster; in any other process loading it would
 * take 2 ms. */
export function isClusterWorker(): boolean {
  return process.connected === true && (require('node:cluster') as Cluster).isWorker
}

/** SO_ACCEPTCONN, socket(7), or a bound datagram socket; in a cluster it is the primary that listens. */
export function notListening({ descriptors }: Scene): Finding | undefined {
  if (isClusterWorker() || !descriptors) return undefined
  if (descriptors.some(({ kind }) => kind === 'listens' || kind === 'datagram')) return undefined
  return note(
    'HARDEN_NOT_LISTENING',
    'no socket of this process is listening yet: whatever only root may bind or read must come before harden()',
    `call harden() when the server has emitted 'listening'`,
  )
}

/** environ(7) */
export function environment({ plan }: Scene): Finding | undefined {
  if (plan.wanted.user.real === 0) return undefined
  const roots = { HOME: '/root', USER: 'root', LOGNAME: 'root' }
  const found = Object.entries(roots).flatMap(([name, value]) => (process.env[name] === value ? name : []))
  if (found.length === 0) return undefined
  return note(
    'HARDEN_ENVIRONMENT',
    `${found.join(', ')} in the environment ${found.length === 1 ? 'is' : 'are'} still root's: programs look there for files they cannot read`,
    `set or delete ${found.map((name) => `process.env.${name}`).join(', ')}`,
  )
}

/** OpenShift gives such user ids to containers, each in group 0. */
export function isArbitrary(uid: number): boolean {
  return uid >= 1_000_000_000
}

/** setgroups(2), setgid(2); on Solaris privileges(7). A plain user keeps the groups of its start. */
const mayChangeGroups = ({ before: { state } }: Plan): boolean =>
  ['cap_setgid', 'proc_setid'].some((name) => state.sets.permitted?.includes(name))

/** systemd's SupplementaryGroups= and Kubernetes' supplementalGroups only add groups. */
const startWithout =
  'start the process without it: take the account out of the group, or name another where the process is started (Docker: --user UID:GID; Kubernetes: runAsGroup, supplementalGroupsPolicy: Strict; systemd: Group=)'

/** Many of root's files are open to its group (credentials(7)). */
export function groupZero({ plan }: Scene): Finding | undefined {
  const { user, group, groups } = plan.wanted
  if (user.real === 0 || (group.real !== 0 && !groups.includes(0))) return undefined
  return (isArbitrary(user.real) ? note : danger)(
    'HARDEN_GROUP_ZERO',
    `group 0, root's, is ${group.real === 0 ? 'the group' : 'among the supplementary groups'} of the process`,
    mayChangeGroups(plan) ? `name a group of the server's own, and 0 not among 'supplementalGroups'` : startWithout,
  )
}

/** A port that several listeners share belongs to the user that opened the first one (socket(7), SO_REUSEPORT). */
export function sharedPort({ plan, descriptors }: Scene): Finding | undefined {
  const { user } = plan.wanted
  const shared = (descriptors ?? []).filter(({ sharesPort }) => sharesPort)
  if (shared.length === 0 || user.real === plan.before.state.user.effective) return undefined
  return note(
    'HARDEN_REUSEPORT',
    `SO_REUSEPORT is per user: beside ${shared.map(({ descriptor }) => `descriptor ${descriptor}`).join(', ')}, which this user has opened, user ${user.real} gets EADDRINUSE`,
    'close the listener before the next one is opened, or open all of them before harden()',
  )
}

/** What a member of such a group can do; the names are those that distributions and daemons use. */
const rootByGroup: ReadonlyMap<string, string> = new Map([
  ['root', "reads and writes what is open to root's group"],
  ['disk', 'reads and writes every disk'],
  ['shadow', 'reads the hashes of passwords'],
  ['kmem', 'reads the memory of the kernel'],
  ['docker', 'starts containers as root'],
  ['podman', 'starts containers as root'],
  ['lxd', 'starts containers as root'],
  ['incus', 'starts containers'],
  ['incus-admin', 'starts containers as root'],
  ['libvirt', 'starts machines that mount any file'],
  ['libvirtd', 'starts machines that mount any file'],
  ['sudo', 'becomes root by sudo(8)'],
  ['wheel', 'becomes root by su(1) or sudo(8)'],
  ['admin', 'becomes root by sudo(8)'],
  ['staff', 'writes programs to /usr/local'],
])

/** [name, reason] if a member of this group becomes root. */
export function wayOfGroup(name: string): [string, string] | undefined {
  const reason = rootByGroup.get(name)
  return reason === undefined ? undefined : [name, reason]
}

/** The name of a group, or its number where the system has none. */
function nameOf({ platform, unread }: Scene, gid: number): string {
  const name = platform.addon().groupById(gid)
  if (typeof name === 'number') unread.add(`the name of group ${gid} (${errnoName(name)})`)
  return typeof name === 'string' ? name : `${gid}`
}

/** group(5). Group 0 has its own finding, HARDEN_GROUP_ZERO. */
export function rootByItsGroups(scene: Scene): Finding | undefined {
  const { user, group, groups } = scene.plan.wanted
  if (user.real === 0) return undefined
  const ways = ascending([group.real, ...groups])
    .filter((gid) => gid !== 0)
    .map((gid) => wayOfGroup(nameOf(scene, gid)))
    .filter((way) => way !== undefined)
  if (ways.length === 0) return undefined
  return danger(
    'HARDEN_GROUP_IS_ROOT',
    `an attacker in the process becomes root by its groups: ${ways.map(([name, reason]) => `${name} (${reason})`).join(', ')}`,
    mayChangeGroups(scene.plan)
      ? `leave ${ways.map(([name]) => name).join(', ')} out; have another, small process do what needs it`
      : startWithout,
  )
}

/** Groups of the process or of its account (getgrouplist(3)) that are lost. Groups that amount to root are never
 * advised. */
export function groupsLost(scene: Scene): Finding | undefined {
  const { plan, platform } = scene
  const { user, group, groups } = plan.wanted
  if (plan.explicitGroups || user.real === 0) return undefined
  const kept = new Set([0, group.real, ...groups])
  const lost = ascending([...plan.before.state.groups, ...plan.accountGroups]).filter((gid) => !kept.has(gid))
  if (lost.length === 0) return undefined
  const ofRoot = platform.addon().accountGroups(0, 0)
  const roots = new Set(typeof ofRoot === 'number' ? [] : ofRoot)
  const names = lost.filter((gid) => !roots.has(gid)).map((gid) => nameOf(scene, gid))
  const useful = names.filter((name) => !wayOfGroup(name))
  if (useful.length === 0) return undefined
  const list = useful.map((name) => (/^\d+$/.test(name) ? name : `'${name}'`)).join(', ')
  return note(
    'HARDEN_GROUPS_LOST',
    `supplementary groups of the process or of its account are not retained: ${useful.join(', ')}`,
    `if files depend on them: supplementalGroups: [${list}], or 'initgroups' for those of the account`,
  )
}
