/**
 * Solaris and illumos: what becomes of the groups and the privilege sets, and the steps by which the process comes to it.
 */
import type { Ids, PrivilegeSets, ProcessCredentials, ProcessState } from '../../audit'
import { HardenError } from '../../errors'
import type { SunosStep } from '../../native'
import { wrongValue } from '../../options'
import type { Plan as AnyPlan, Asked } from '../../plan'
import { basicPrivileges, parsePrivileges } from '../../privileges'
import type { Finding } from '../../report'

export interface Plan extends AnyPlan {
  readonly wanted: ProcessCredentials
  readonly steps: readonly SunosStep[]
}

/** As it is before: with what only the plan has to know. */
export interface State extends ProcessState {
  /** sysconf(3C), _SC_NGROUPS_MAX */
  readonly groupsMax: number
}

/** @throws HardenError ERR_HARDEN_PRIVILEGES, ERR_HARDEN_CHROOT_ESCAPE, ERR_INVALID_ARG_VALUE */
export function decide(asked: Asked, before: State, findings: Finding[]): Pick<Plan, 'wanted' | 'steps'> {
  const { options, uid, gid } = asked
  const wanted: ProcessCredentials = {
    user: { real: uid, effective: uid, saved: uid, fs: uid },
    group: { real: gid, effective: gid, saved: gid, fs: gid },
    groups: chooseGroups(asked, before, findings),
    privileges: choosePrivileges(asked, before, findings),
    aware: true,
    jailed: options.chroot !== undefined,
  }
  refuseEscape(wanted)
  return { wanted, steps: dueSteps(wanted, before) }
}

function chooseGroups({ groups }: Asked, before: State, findings: Finding[]): readonly number[] {
  if (groups && groups.length > before.groupsMax)
    throw wrongValue(
      'supplementalGroups',
      `${groups.length} groups are too many`,
      `this system takes ${before.groupsMax} (getconf NGROUPS_MAX; ngroups_max in /etc/system)`,
    )
  if (groups || before.groups.length === 0 || before.privileges.permitted.includes('proc_setid')) return groups ?? []
  findings.push({
    code: 'HARDEN_GROUPS_KEPT',
    level: 'note',
    message: `the supplementary groups ${before.groups.join(', ')} stay: without proc_setid they cannot be given up`,
    remedy: 'start the process without them, or with proc_setid',
  })
  return before.groups
}

/** Exclusive, not cumulative: with a text it is exactly the text, for root too; without one root alone keeps its own. */
function choosePrivileges({ options, uid }: Asked, before: State, findings: Finding[]): PrivilegeSets {
  const { permitted, limit, effective, inheritable } = before.privileges
  const keeps = uid === 0 && options.privileges === undefined
  if (uid === 0)
    findings.push({
      code: 'HARDEN_USER_ROOT',
      level: 'danger',
      message: `the process stays root${keeps ? ', with all its privileges' : " and goes on owning root's files"}`,
      remedy: `name an account of the server's own as 'user'`,
    })
  if (keeps) return { permitted, limit, effective: before.user.effective === 0 ? effective : permitted, inheritable }
  const retained = parsePrivileges(options.privileges ?? '')
  noteBasic(retained, findings)
  return { permitted: retained, limit: retained, effective: retained, inheritable }
}

/** privileges(7), of what a server may miss; systems differ in which of these are basic. */
const without: Readonly<Record<string, string>> = {
  file_read: 'opens no file to read',
  file_write: 'opens no file to write',
  net_access: 'opens no socket, so it cannot listen again',
  proc_fork: 'starts no child process',
  proc_exec: 'executes no program',
}

function noteBasic(retained: readonly string[], findings: Finding[]): void {
  const gone = basicPrivileges().filter((name) => !retained.includes(name))
  if (gone.length === 0) return
  const names = gone.map((name) => (Object.hasOwn(without, name) ? `${name} (${without[name]})` : name))
  findings.push({
    code: 'HARDEN_BASIC_GONE',
    level: 'note',
    message: `without what every process has by default, the basic privileges, it goes on with what is open: ${names.join(', ')}`,
    remedy: `begin 'privileges' with basic, e.g. 'basic net_privaddr', unless that is meant`,
  })
}

/** Whoever may call chroot(2) again gets out of it. */
function refuseEscape({ jailed, privileges }: ProcessCredentials): void {
  if (!jailed || !privileges.permitted.includes('proc_chroot')) return
  throw new HardenError({
    code: 'ERR_HARDEN_CHROOT_ESCAPE',
    option: 'chroot',
    message: 'proc_chroot is to be retained, and with it anybody gets out of the chroot',
    remedy: `leave proc_chroot out of 'privileges', or 'chroot' out of the options`,
  })
}

/** Aware before setuid(2), which takes what root has otherwise; the sets after it, for it needs proc_setid (privileges(7)). */
function dueSteps(wanted: ProcessCredentials, before: State): SunosStep[] {
  const differ = (wanted: Ids, present: Ids) => Object.values(present).some((id) => id !== wanted.real)
  const due: Record<SunosStep, boolean> = {
    setgroups: wanted.groups.join() !== before.groups.join(),
    setgid: differ(wanted.group, before.group),
    chroot: wanted.jailed,
    setpflags: true,
    setuid: differ(wanted.user, before.user),
    permitted: true,
    limit: true,
    effective: true,
  }
  return (Object.keys(due) as SunosStep[]).filter((step) => due[step])
}
