/**
 * Solaris and illumos: what becomes of the groups and the privilege sets, and the steps by which the process comes to it.
 */
import type { Ids, PrivilegeSets, ProcessCredentials, ProcessState } from '../../audit'
import { HardenError } from '../../errors'
import type { PrivilegeSet, SunosStep } from '../../native'
import { wrongValue } from '../../options'
import type { Plan as AnyPlan, Asked } from '../../plan'
import { basicPrivileges, parsePrivileges, setsHeld } from '../../privileges'
import type { Finding } from '../../report'

export interface Plan extends AnyPlan {
  readonly wanted: ProcessCredentials
  readonly steps: readonly SunosStep[]
  /** The text of the option; null: the sets stay as they are. */
  readonly privileges: string | null
}

/** As it is before: with what only the plan has to know. */
export interface State extends ProcessState {
  /** sysconf(3C), _SC_NGROUPS_MAX */
  readonly groupsMax: number
}

/** @throws HardenError ERR_HARDEN_PRIVILEGES, ERR_HARDEN_CHROOT_ESCAPE, ERR_INVALID_ARG_VALUE */
export function decide(
  asked: Asked,
  before: State,
  findings: Finding[],
): Pick<Plan, 'wanted' | 'steps' | 'privileges'> {
  const { options, uid, gid } = asked
  const wanted: ProcessCredentials = {
    user: { real: uid, effective: uid, saved: uid, fs: uid },
    group: { real: gid, effective: gid, saved: gid, fs: gid },
    groups: chooseGroups(asked, before, findings),
    privileges: choosePrivileges(asked, before, findings),
    flags: ['PRIV_AWARE'],
    jailed: options.chroot !== undefined,
  }
  refuseEscape(wanted)
  noteFlags(before, findings)
  const privileges = keepsPrivileges(asked) ? null : (options.privileges ?? '')
  return { wanted, steps: dueSteps(wanted, before, privileges), privileges }
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
const keepsPrivileges = ({ options, uid }: Asked): boolean => uid === 0 && options.privileges === undefined

function choosePrivileges(asked: Asked, before: State, findings: Finding[]): PrivilegeSets {
  const { permitted, limit, effective, inheritable } = before.privileges
  const keeps = keepsPrivileges(asked)
  if (asked.uid === 0)
    findings.push({
      code: 'HARDEN_USER_ROOT',
      level: 'danger',
      message: `the process stays root${keeps ? ', with all its privileges' : " and goes on owning root's files"}`,
      remedy: `name an account of the server's own as 'user'`,
    })
  if (keeps) return { permitted, limit, effective: before.user.effective === 0 ? effective : permitted, inheritable }
  const retained = parsePrivileges(asked.options.privileges ?? '')
  noteBasic(retained, findings)
  return { permitted: retained, limit: retained, effective: retained, inheritable }
}

/** privileges(7), of what a server may miss; systems differ in which of these are basic. */
const without: Readonly<Record<string, string>> = {
  file_read: 'opens no file to read',
  file_write: 'opens no file to write',
  net_access: 'opens no TCP, UDP or SCTP socket, so it cannot listen on a port again; Unix sockets stay',
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

/** setpflags(2): each is a way to privileges that are named nowhere. */
const gained: Readonly<Record<string, string>> = {
  PRIV_XPOLICY: 'an extended policy could grant it privileges',
  PRIV_PFEXEC: "the programs it executes got what its account's rights profiles grant",
}

function noteFlags({ flags }: State, findings: Finding[]): void {
  const found = Object.keys(gained).filter((flag) => flags.includes(flag))
  if (found.length === 0) return
  findings.push({
    code: 'HARDEN_PROCESS_FLAGS',
    level: 'note',
    message: `the process was started with ${found.map((flag) => `${flag} (${gained[flag]})`).join(', ')}; harden() clears it`,
    remedy: 'start it without pfexec(1) and without a profile shell (pfsh, pfbash, pfksh)',
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
function dueSteps(wanted: ProcessCredentials, before: State, privileges: string | null): SunosStep[] {
  const differ = (wanted: Ids, present: Ids) => Object.values(present).some((id) => id !== wanted.real)
  // root that has been set aside has not what it is permitted
  const keepsEffective: readonly PrivilegeSet[] = before.user.effective === 0 ? ['effective'] : []
  const held = privileges === null ? (['permitted', 'limit', ...keepsEffective] as const) : setsHeld(privileges)
  const due: Record<SunosStep, boolean> = {
    setgroups: wanted.groups.join() !== before.groups.join(),
    setgid: differ(wanted.group, before.group),
    chroot: wanted.jailed,
    setpflags: !before.flags.includes('PRIV_AWARE'),
    setuid: differ(wanted.user, before.user),
    xpolicy: before.flags.includes('PRIV_XPOLICY'),
    pfexec: before.flags.includes('PRIV_PFEXEC'),
    permitted: !held.includes('permitted'),
    limit: !held.includes('limit'),
    effective: !held.includes('effective'),
  }
  return (Object.keys(due) as SunosStep[]).filter((step) => due[step])
}
