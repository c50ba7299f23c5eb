/**
 * Findings of level danger: by these a process of the new user, or who takes over this one, comes to more.
 */
import cluster from 'node:cluster'
import { capabilityNames } from '../capabilities'
import { native } from '../native'
import type { Plan } from '../platform/linux/plan'
import type { Finding } from '../report'
import { danger, isRoot, list, read, type Scene, statField } from './look'

/**
 * capabilities(7) of each; 'False Boundaries and Arbitrary Code Execution' (grsecurity, 2011) works them out. Not in the
 * list is what disturbs or listens, but does not lead to root by itself: cap_net_admin, cap_net_raw, cap_kill, ...
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

export function rootByCapability({ plan }: Scene<Plan>): Finding | undefined {
  const { user, permitted, inheritable } = plan.wanted
  if (user.real === 0) return undefined // HARDEN_USER_ROOT says it
  const found = waysToRoot(capabilityNames(permitted | inheritable))
  if (found.length === 0) return undefined
  return danger(
    'HARDEN_CAPABILITY_IS_ROOT',
    `whoever takes over the process becomes root by what it retains: ${found.map(([names, reason]) => `${names} (${reason})`).join(', ')}`,
    `leave ${found.map(([names]) => names).join(', ')} out of 'capabilities'; have a small process of its own do what needs it`,
  )
}

/** [names, reason] of what among them amounts to root. */
export function waysToRoot(capabilities: readonly string[]): [string, string][] {
  const held = new Set(capabilities)
  return Object.entries(rootBy).filter(([names]) => names.split(' ').every((name) => held.has(name)))
}

/** proc_tid_children(5), credentials(7) */
export function rootChildren(): Finding | undefined {
  if (!native().hasChildren()) return undefined // the usual case; the lists of all threads take half a millisecond
  const pids = children().filter((pid) => isRoot(pid))
  if (pids.length === 0) return undefined
  return danger(
    'HARDEN_CHILDREN_ROOT',
    `child processes that are root stay root: ${pids.join(', ')}`,
    'end them, or start them after harden(); cluster workers: harden them before the primary',
  )
}

function children(): number[] {
  const tasks = list('/proc/self/task')
  const lists = tasks.map((tid) => read(`/proc/self/task/${tid}/children`))
  if (lists.some((pids) => pids !== undefined)) return lists.flatMap((pids) => pids?.match(/\d+/g) ?? []).map(Number)
  // a kernel without CONFIG_PROC_CHILDREN
  return list('/proc')
    .filter((name) => /^\d+$/.test(name) && statField(read(`/proc/${name}/stat`), 4) === process.pid)
    .map(Number)
}

/** TIOCSTI(2const): whoever has the terminal open types into the shell of whoever started the process. */
export function terminal(): Finding | undefined {
  if (!statField(read('/proc/self/stat'), 7)) return undefined
  // where there is no such file, Linux before 6.2, it is always accepted
  if (read('/proc/sys/dev/tty/legacy_tiocsti')?.trim() === '0') return undefined
  return danger(
    'HARDEN_TIOCSTI',
    'the process has a controlling terminal that accepts TIOCSTI, so it can type commands into the shell that started it',
    'start it as a service or with setsid(1), or set sysctl dev.tty.legacy_tiocsti=0',
  )
}

/** proc_sys_fs(5), suid_dumpable; PR_SET_DUMPABLE(2const) */
export function suidDumpable(): Finding | undefined {
  if (read('/proc/sys/fs/suid_dumpable')?.trim() !== '1') return undefined
  return danger(
    'HARDEN_SUID_DUMPABLE',
    'fs.suid_dumpable is 1: a process that changes its user can be traced by that user, and leaves core dumps of what root had in memory',
    'set sysctl fs.suid_dumpable=0',
  )
}

/** node(1): a signal, which any process of the same user may send, writes the contents of the process to a file. */
export function signalReport(): Finding | undefined {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/[\s"]+/)]
  // Node takes an underscore for a hyphen
  const snapshot = options.some((option) => /^--heapsnapshot[-_]signal(=|$)/.test(option))
  const found = [process.report.reportOnSignal && '--report-on-signal', snapshot && '--heapsnapshot-signal']
  const names = found.filter((name) => name !== false).join(' and ')
  if (!names) return undefined
  return danger(
    'HARDEN_SIGNAL_REPORT',
    `any process of the new user can have this one write its memory or environment to a file, by a signal: ${names}`,
    `start Node without ${names} (NODE_OPTIONS, too), or set process.report.reportOnSignal to false`,
  )
}

/** SO_ACCEPTCONN, socket(7); in a cluster it is the primary that listens. */
export function notListening({ descriptors }: Scene): Finding | undefined {
  if (cluster.isWorker || !descriptors || descriptors.some(({ kind }) => kind === 'listens')) return undefined
  return danger(
    'HARDEN_NOT_LISTENING',
    'no socket of this process is listening yet: what only root may bind or read has to come before harden()',
    `call harden() when the server has emitted 'listening'`,
  )
}
