/**
 * Linux: what weakens a plan. One hazard is a reason to refuse it; src-native/linux finds the others.
 */
import type { Finding, Hazard, Scene } from '../../contract'
import { errnoName, HardenError, showPath } from '../../errors'
import {
  attempt,
  danger,
  environment,
  groupsLost,
  groupZero,
  isClusterWorker,
  listSome,
  notExamined,
  note,
  notListening,
  rootByItsGroups,
  sharedPort,
  signalReport,
  tryReading,
} from '../../hazards'
import { type LinuxAddon, native } from '../../native'
import { capabilityNames, maskOf } from './capabilities'
import { listMounts, nameIn, readText } from './proc'

/** In the order of the report: dangers first. */
export const hazards: readonly Hazard[] = [
  rootByCapability,
  rootByItsGroups,
  groupZero,
  terminal,
  suidDumpable,
  signalReport,
  notListening,
  rootPrimary,
  sockets,
  sharedPort,
  sessionRoot,
  groupsLost,
  fileCapabilities,
  processLimit,
  procInChroot,
  environment,
  notExamined,
]

const read = (scene: Pick<Scene, 'unread'>, path: string): string | undefined =>
  tryReading(scene, path, () => readText(path))

/** A field of proc_pid_stat(5), from the third on; the second is a name with any characters. */
function statField(stat: string | undefined, field: number): number | undefined {
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[field - 3])
}

/** undefined: it has ended. */
const parentOf = (scene: Scene, pid: number): number | undefined => statField(read(scene, `/proc/${pid}/stat`), 4)

/** Whether 0 is among its user ids; a zombie does not count, because Node does not go on without its main thread. */
function isRoot(scene: Scene, pid: number): boolean {
  const status = read(scene, `/proc/${pid}/status`) ?? ''
  // line feeds, not the flag m: a name may contain a carriage return
  return /\nUid:.*\t0\b/.test(status) && !/\nState:\tZ/.test(status)
}

/**
 * capabilities(7), and 'False Boundaries and Arbitrary Code Execution' (grsecurity, 2011). Capabilities that disturb or
 * listen, but do not lead to root by themselves, are left out: cap_net_admin, cap_net_raw, cap_kill, ...
 */
const rootBy: Readonly<Record<string, string>> = {
  cap_chown: 'owns any file',
  cap_dac_override: 'writes any file',
  cap_dac_read_search: 'reads any file',
  cap_fowner: 'changes the mode of any file',
  cap_setgid: 'joins any group',
  cap_setuid: 'becomes any user',
  cap_sys_module: 'loads code into the kernel',
  cap_sys_rawio: 'writes to ports, memory and disks',
  cap_sys_ptrace: 'controls any process',
  cap_sys_admin: 'mounts, and much else',
  cap_sys_boot: 'loads another kernel',
  cap_mknod: 'makes a device of any disk',
  cap_setfcap: 'gives any program any capability',
  // linux/capability.h: only both together make programs that read the kernel's memory
  'cap_perfmon cap_bpf': 'read all memory',
}

function rootByCapability({ plan }: Scene): Finding | undefined {
  const { user, sets } = plan.wanted
  if (user.real === 0) return undefined // HARDEN_USER_ROOT covers it
  const found = waysToRoot([...sets.permitted, ...sets.inheritable])
  if (found.length === 0) return undefined
  return danger(
    'HARDEN_CAPABILITY_IS_ROOT',
    `an attacker in the process becomes root by what it retains: ${found.map(([names, reason]) => `${names} (${reason})`).join(', ')}`,
    `leave ${found.map(([names]) => names).join(', ')} out of 'capabilities'; have a small process of its own do what needs it`,
  )
}

/** [names, reason] for each entry that amounts to root. */
export function waysToRoot(capabilities: readonly string[]): [string, string][] {
  const held = new Set(capabilities)
  return Object.entries(rootBy).filter(([names]) => names.split(' ').every((name) => held.has(name)))
}

/** The root children that the commit found while every thread was parked. */
export function rootChildren(pids: readonly number[]): Finding | undefined {
  if (pids.length === 0) return undefined
  return danger(
    'HARDEN_CHILDREN_ROOT',
    `child processes that are root stay root: ${listSome(pids.map(describeProcess))}`,
    'end them, or start them after harden(); cluster workers: harden them before the primary',
  )
}

/** TIOCSTI(2const): a process that has the terminal open can type into the shell that started it. */
function terminal(scene: Scene): Finding | undefined {
  if (!statField(read(scene, '/proc/self/stat'), 7)) return undefined
  // Linux before 6.2 has no such file, and always accepts TIOCSTI
  if (read(scene, '/proc/sys/dev/tty/legacy_tiocsti')?.trim() === '0') return undefined
  return danger(
    'HARDEN_TIOCSTI',
    'the process has a controlling terminal that accepts TIOCSTI, so it can type commands into the shell that started it',
    'start it as a service or with setsid(1), or set sysctl dev.tty.legacy_tiocsti=0',
  )
}

/**
 * A thread that changes its ids gives the whole process this value; until it has made the process not dumpable again,
 * the threads that are the new user's already can be traced, and through their memory those that are still root.
 *
 * @throws HardenError ERR_HARDEN_SUID_DUMPABLE
 * @see proc_sys_fs(5), suid_dumpable; PR_SET_DUMPABLE(2const); ptrace(2), "Ptrace access mode checking"
 */
function suidDumpable(scene: Scene): undefined {
  const { steps } = scene.plan
  if (!steps.includes('setresuid') && !steps.includes('setresgid')) return
  const path = '/proc/sys/fs/suid_dumpable'
  const setting = read(scene, path)?.trim()
  // Every kernel has it, so it is hidden where it is absent.
  if (setting === undefined) scene.unread.add(path)
  if (setting !== '1') return
  throw new HardenError({
    code: 'ERR_HARDEN_SUID_DUMPABLE',
    wanted: '0 or 2',
    found: '1',
    message:
      'fs.suid_dumpable is 1: while the threads change their ids, a process of the new user can trace this one and take root from it',
    remedy:
      'set sysctl fs.suid_dumpable=0 (for a container: on its host), or 2 if privileged processes are to leave core dumps: only root can read those',
  })
}

/** If the primary has ended, the parent is another process. */
function rootPrimary(scene: Scene): Finding | undefined {
  if (!isClusterWorker() || !isRoot(scene, process.ppid)) return undefined
  return note(
    'HARDEN_PRIMARY_ROOT',
    `the primary of this cluster worker, process ${process.ppid}, is still root, and does for its workers what they ask`,
    process.env.pm_id === undefined
      ? 'call harden() in the primary, too, when its workers have done so: in the other order it could not signal them'
      : 'run it in the fork mode of pm2 (exec_mode: fork), whose daemon is no part of the server; in cluster mode that daemon stays root',
  )
}

/** raw(7), packet(7), netlink(7), unix(7): access that was checked when they were opened or connected. */
function sockets({ descriptors }: Scene): Finding | undefined {
  const found = (descriptors ?? []).filter(({ descriptor, kind }) => powers.has(kind) && !isStandard(descriptor))
  if (found.length === 0) return undefined
  return note(
    'HARDEN_SOCKETS',
    `these sockets keep the access they were opened with: ${found.map(({ descriptor, kind, name }) => `descriptor ${descriptor} (${name ? `connected to ${showPath(name)}` : kind})`).join(', ')}`,
    'close them before harden() if they are not needed',
  )
}

const powers: ReadonlySet<string> = new Set(['raw', 'packet', 'netlink', 'peer'])

/** Standard input, output and error, and the channel to a parent (child_process.fork()). */
function isStandard(descriptor: number): boolean {
  return descriptor < 3 || `${descriptor}` === process.env.NODE_CHANNEL_FD
}

/** credentials(7), "Session ID", "Process group ID": processes that share a terminal or signals with this one. */
function sessionRoot(scene: Scene): Finding | undefined {
  const found = native<LinuxAddon>().sessionRoot()
  if (typeof found === 'number') {
    scene.unread.add(`/proc (${errnoName(found)})`)
    return undefined
  }
  const pids = found.filter((pid) => !descendsFromPrimary(scene, pid))
  if (pids.length === 0) return undefined
  return note(
    'HARDEN_SESSION_ROOT',
    `processes of this session or process group are root, and not ancestors of this process: ${listSome(pids.map(describeProcess))}`,
    'end them if they are helpers of an earlier start; start the server as a service, or with setsid(1)',
  )
}

/** Such as another worker, or the process that rehearses for one, which may have ended by now. HARDEN_PRIMARY_ROOT already
 * says that the workers' primary is root. */
function descendsFromPrimary(scene: Scene, pid: number): boolean {
  if (!isClusterWorker() || !isRoot(scene, process.ppid)) return false
  let above = parentOf(scene, pid)
  while (above !== undefined && above !== 0 && above !== process.ppid) above = parentOf(scene, above)
  return above !== 0
}

function describeProcess(pid: number): string {
  const name = attempt(() => nameIn(readText(`/proc/${pid}/status`)))
  return name ? `${pid} (${name})` : `${pid}`
}

/** capabilities(7), "Safety checking for capability-dumb binaries": the file's capabilities must be in the bounding
 * set. */
function fileCapabilities({ plan }: Scene): Finding | undefined {
  const beyond = native<LinuxAddon>().fileCapabilities(process.execPath) & ~maskOf(plan.wanted.sets.bounding ?? [])
  if (beyond === 0n) return undefined
  return note(
    'HARDEN_FILE_CAPABILITIES',
    `${showPath(process.execPath)} has file capabilities that no child may have any more: ${capabilityNames(beyond).join(', ')}; fork(), cluster and spawn of node fail with EPERM`,
    `remove them: setcap -r ${process.execPath}`,
  )
}

/**
 * RLIMIT_NPROC, getrlimit(2), counts the threads of all processes of a real user, but not root's. libuv's pool alone
 * may have 1024 (UV_THREADPOOL_SIZE).
 */
function processLimit(scene: Scene): Finding | undefined {
  const { plan } = scene
  const uid = plan.wanted.user.real
  const limit = Number(
    /^Max processes +(\d+)/m.exec(read(scene, '/proc/self/limits') ?? '')?.[1] ?? Number.POSITIVE_INFINITY,
  )
  if (limit > 1024 || uid === 0 || uid === plan.before.state.user.real) return undefined
  return note(
    'HARDEN_NPROC',
    `all processes of user ${uid} together may have ${limit} threads; beyond that Workers and child processes fail with EAGAIN`,
    'see that it suffices (RLIMIT_NPROC: ulimit -u, LimitNPROC=), and that no other service runs as this user',
  )
}

/** Compares mount points only: a path below the new root is not looked up, because a link in it would be followed from
 * the old root. */
function procInChroot(scene: Scene): Finding | undefined {
  const { root } = scene.plan
  if (!root || !isMountOfProc(scene, root.path)) return undefined
  return note(
    'HARDEN_PROC_IN_CHROOT',
    `/proc is mounted in the chroot ${showPath(root.path)}: through it other processes of the new user lead out`,
    'unmount it there, unless the server needs it',
  )
}

function isMountOfProc(scene: Scene, root: string): boolean {
  const below = root === '/' ? '/' : `${root}/`
  return (tryReading(scene, '/proc/self/mountinfo', listMounts) ?? []).some(
    ({ path, type }) => type === 'proc' && path.startsWith(below),
  )
}
