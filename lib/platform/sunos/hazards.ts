/** Solaris and illumos: the hazards. They do not read /proc, which has another format there. */
import type { Hazard, Scene } from '../../contract'
import { danger, environment, groupZero, note, notListening, signalReport } from '../../hazards'
import { native, type SunosAddon } from '../../native'
import { isAny } from '../../state'

/** In the order of the report: dangers first. */
export const hazards: readonly Hazard[] = [
  escalation,
  groupZero,
  signalReport,
  notListening,
  earlierChildren,
  environment,
]

/**
 * privileges(7). For objects of user 0 the kernel requires all privileges, whichever is used: so these lead past the
 * new user, but not to root by themselves, except file_dac_read, sys_devices and dtrace_kernel.
 */
const past: Readonly<Record<string, string>> = {
  file_dac_read: 'reads any file',
  file_dac_write: "writes any file that is not root's",
  file_chown: "owns any file that is not root's",
  file_owner: "changes the mode of any file that is not root's",
  file_setid: 'makes set-user-ID programs of other users',
  ipc_dac_read: 'reads the System V memory of other users',
  ipc_dac_write: 'writes the System V memory of other users',
  ipc_owner: 'owns the System V memory of other users',
  proc_owner: 'controls processes of other users',
  proc_zone: 'signals and traces processes of other zones',
  proc_setid: 'becomes any user but root',
  sys_admin: 'says where core files go (coreadm), which the kernel writes as root',
  sys_config: 'configures the system, its swap devices among others',
  sys_devices: 'makes a device of any disk',
  sys_linkdir: 'links and unlinks directories',
  sys_mount: 'mounts, and sends, rolls back and destroys ZFS file systems',
  dtrace_kernel: 'reads the memory of the kernel',
  virt_manage: 'manages virtual machines',
  xvm_control: 'controls the hypervisor',
}

/** With all of these in the limit set the kernel honours the set-user-ID bit of root's programs (privileges(7), "unsafe"). */
const unsafe = ['proc_setid', 'proc_audit', 'sys_resource']

function escalation({ plan }: Scene) {
  const { user, sets } = plan.wanted
  if (user.real === 0) return undefined // HARDEN_USER_ROOT covers it
  const found = Object.keys(past).filter((name) => sets.permitted.includes(name))
  const ways = found.map((name) => `${name} (${past[name]})`)
  if (unsafe.every((name) => sets.limit?.includes(name)))
    ways.push(`${unsafe.join(', ')} together (set-user-ID programs of root make root again)`)
  if (ways.length === 0) return undefined
  return danger(
    'HARDEN_PRIVILEGE_ESCALATES',
    `an attacker in the process gets past its user by what it retains: ${ways.join(', ')}`,
    `leave ${found.join(', ')} out of 'privileges'; have a small process of its own do what needs it`,
  )
}

function earlierChildren({ plan }: Scene) {
  if (!isAny(plan.before.state.user, 0) || !native<SunosAddon>().hasChildren()) return undefined
  return note(
    'HARDEN_CHILDREN',
    'child processes that run already stay what they are: those that are root stay root',
    'end them, or start them after harden(); cluster workers: harden them before the primary',
  )
}
