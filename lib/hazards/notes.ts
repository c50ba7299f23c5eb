/**
 * Findings of level note: worth knowing when something does not work, or works longer than it should.
 */
import cluster from 'node:cluster'
import { readlinkSync, type Stats, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { show } from '../options'
import type { Finding } from '../report'
import { attempt, describeDescriptor, isRoot, note, read, type Scene } from './look'

/** A primary that has ended has left its worker to somebody else, who is none of its business. */
export function rootPrimary(): Finding | undefined {
  if (!cluster.isWorker || !process.connected || !isRoot(process.ppid)) return undefined
  return note(
    'HARDEN_PRIMARY_ROOT',
    `the primary of this cluster worker, process ${process.ppid}, is still root, and does for its workers what they ask`,
    'call harden() in the primary, too, when its workers have done so: the other way round it could not signal them',
  )
}

/** raw(7), packet(7), netlink(7): power that was checked when they were opened. */
export function sockets({ descriptors }: Scene): Finding | undefined {
  const found = (descriptors ?? []).filter(({ kind }) => kind !== 'listens')
  if (found.length === 0) return undefined
  return note(
    'HARDEN_SOCKETS',
    `what these sockets were opened for they stay able to do: ${found.map(({ descriptor, kind }) => `descriptor ${descriptor} (${kind})`).join(', ')}`,
    'close them before harden() if they are not needed',
  )
}

/**
 * RLIMIT_NPROC, getrlimit(2): counts the threads of all processes of a real user, and none of root's. libuv's pool alone
 * may have 1024 (UV_THREADPOOL_SIZE).
 */
export function processLimit({ plan, before }: Scene): Finding | undefined {
  const uid = plan.wanted.user.real
  const limit = Number(/^Max processes +(\d+)/m.exec(read('/proc/self/limits') ?? '')?.[1] ?? Number.POSITIVE_INFINITY)
  if (limit > 1024 || uid === 0 || uid === before.user.real) return undefined
  return note(
    'HARDEN_NPROC',
    `all processes of user ${uid} together may have ${limit} threads; beyond that Workers and child processes fail with EAGAIN`,
    'see that it suffices (RLIMIT_NPROC: ulimit -u, LimitNPROC=), and that no other service runs as this user',
  )
}

/** PROC_SUPER_MAGIC, statfs(2) */
export function procInChroot({ plan: { root } }: Scene): Finding | undefined {
  const type = root && attempt(() => statfsSync(`/proc/self/fd/${root.descriptor}/proc`).type)
  if (type !== 0x9fa0) return undefined
  return note(
    'HARDEN_PROC_IN_CHROOT',
    `/proc is mounted in the chroot ${show(root?.path)}: through it other processes of the new user lead out`,
    'unmount it there, unless the server needs it',
  )
}

/** Who can write to a directory can put another in the place of what lies in it (path_resolution(7), rename(2)). */
export function writableAncestor({ plan: { root } }: Scene): Finding | undefined {
  if (!root) return undefined
  const own = `/proc/self/fd/${root.descriptor}`
  // by the descriptor and not by the path, which may lead elsewhere by now
  let up = own
  const suspects: string[] = []
  for (let path = attempt(() => readlinkSync(own)); path?.startsWith('/'); path = path === '/' ? '' : dirname(path)) {
    const stats = attempt(() => statSync(up))
    if (stats && isWritable(stats, up === own)) suspects.push(show(path))
    up += '/..'
  }
  if (suspects.length === 0) return undefined
  return note(
    'HARDEN_WRITABLE_ANCESTOR',
    `others than root can change what is in the chroot, or exchange it: ${suspects.join(', ')}`,
    'chown them to root, and chmod go-w',
  )
}

/** Under a sticky directory, such as /tmp, only the owner can exchange what is there; to add to the root is enough. */
function isWritable({ uid, mode }: Stats, isRoot: boolean): boolean {
  return uid !== 0 || ((mode & 0o022) !== 0 && (isRoot || (mode & 0o1000) === 0))
}

/** environ(7) */
export function environment({ plan }: Scene): Finding | undefined {
  if (plan.wanted.user.real === 0) return undefined
  const roots = { HOME: '/root', USER: 'root', LOGNAME: 'root' }
  const found = Object.entries(roots).flatMap(([name, value]) => (process.env[name] === value ? name : []))
  if (found.length === 0) return undefined
  return note(
    'HARDEN_ENVIRONMENT',
    `${found.join(', ')} in the environment ${found.length === 1 ? 'is' : 'are'} root's still: programs look there for files they cannot read`,
    `set or delete ${found.map((name) => `process.env.${name}`).join(', ')}`,
  )
}

/** Many files of root's are open to its group (credentials(7)). */
export function rootGroup({ plan: { wanted } }: Scene): Finding | undefined {
  const { user, group, groups } = wanted
  if (user.real === 0 || (group.real !== 0 && !groups.includes(0))) return undefined
  return note(
    'HARDEN_GROUP_ROOT',
    `group 0, root's, is ${group.real === 0 ? 'the group' : 'among the supplementary groups'} of the process`,
    `name a group of the server's own, and 0 not among 'supplementalGroups'`,
  )
}

/** Open files and devices; sockets and pipes are no matter of permission. */
export function foreignFiles(descriptors: readonly number[]): Finding {
  return note(
    'HARDEN_DESCRIPTORS',
    `what the new user could not open itself, and goes on using: ${descriptors.map(describeDescriptor).join(', ')}`,
    'give the files to the new user if they are to be opened again (a log after its rotation), or close them before harden()',
  )
}
