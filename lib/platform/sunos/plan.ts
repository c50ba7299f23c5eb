/**
 * Solaris and illumos: the expected groups and privilege sets, and the steps by which the process gets there.
 */
import type { Decision, Finding, Observation, Request } from '../../contract'
import { dueSteps } from '../../debug'
import { HardenError, wrongValue } from '../../errors'
import { danger, note } from '../../hazards'
import type { PrivilegeSet, Step } from '../../native'
import { allOf, type Ids, type Sets, type State } from '../../state'
import { basicPrivileges, parsePrivileges, setsHeld } from './privileges'

export interface SunosDecision extends Decision {
  /** The text of the option; null: the sets stay as they are. */
  readonly privileges: string | null
}

/** @throws HardenError ERR_HARDEN_PRIVILEGES, ERR_HARDEN_CHROOT_ESCAPE, ERR_INVALID_ARG_VALUE */
export function decide(request: Request, before: Observation, findings: Finding[]): SunosDecision {
  const { options, uid, gid } = request
  const wanted: State = {
    user: allOf(uid),
    group: allOf(gid),
    groups: chooseGroups(request, before, findings),
    sets: choosePrivileges(request, before.state, findings),
    noNewPrivileges: false,
    securebits: undefined,
    flags: ['PRIV_AWARE'],
    jailed: options.chroot !== undefined,
  }
  refuseEscape(wanted)
  noteFlags(before.state.flags ?? [], findings)
  const privileges = keepsPrivileges(request) ? null : (options.privileges ?? '')
  return { wanted, steps: chooseSteps(wanted, before.state, privileges), privileges }
}

function chooseGroups({ groups }: Request, { state, groupsMax }: Observation, findings: Finding[]): readonly number[] {
  if (groups && groups.length > groupsMax)
    throw wrongValue(
      'supplementalGroups',
      `${groups.length} groups are too many`,
      `this system takes ${groupsMax} (getconf NGROUPS_MAX; ngroups_max in /etc/system)`,
    )
  if (groups || state.sets.permitted.includes('proc_setid')) return groups ?? []
  // initgroups(3C) lists the primary group too, which the process has anyway
  const kept = state.groups.filter((group) => group !== state.group.effective)
  if (kept.length > 0)
    findings.push(
      note(
        'HARDEN_GROUPS_KEPT',
        `the supplementary groups ${kept.join(', ')} stay: without proc_setid they cannot be given up`,
        'start the process without them, or with proc_setid',
      ),
    )
  return state.groups
}

/** Exclusive, not cumulative: a text is the whole set, for root too; without a text, root alone keeps its own. */
const keepsPrivileges = ({ options, uid }: Request): boolean => uid === 0 && options.privileges === undefined

function choosePrivileges(request: Request, before: State, findings: Finding[]): Sets {
  const { permitted, limit = [], effective, inheritable } = before.sets
  const sets = { inheritable, bounding: undefined, ambient: undefined }
  const keeps = keepsPrivileges(request)
  if (request.uid === 0)
    findings.push(
      danger(
        'HARDEN_USER_ROOT',
        `the process stays root${keeps ? ', with all its privileges' : " and goes on owning root's files"}`,
        `name an account of the server's own as 'user'`,
      ),
    )
  if (keeps) return { ...sets, permitted, limit, effective: before.user.effective === 0 ? effective : permitted }
  const retained = parsePrivileges(request.options.privileges ?? '')
  noteBasic(retained, findings)
  return { ...sets, permitted: retained, limit: retained, effective: retained }
}

/** privileges(7): what a server without them cannot do. Systems differ in which of these are basic. */
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
  findings.push(
    note(
      'HARDEN_BASIC_GONE',
      `these basic privileges, which every process has by default, are not retained: ${names.join(', ')}`,
      `begin 'privileges' with basic, e.g. 'basic net_privaddr', unless that is meant`,
    ),
  )
}

/** setpflags(2): each is a way to privileges that are named nowhere. */
const gained: Readonly<Record<string, string>> = {
  PRIV_XPOLICY: 'an extended policy could grant it privileges',
  PRIV_PFEXEC: "the programs it executes got what its account's rights profiles grant",
}

function noteFlags(flags: readonly string[], findings: Finding[]): void {
  const found = Object.keys(gained).filter((flag) => flags.includes(flag))
  if (found.length === 0) return
  findings.push(
    note(
      'HARDEN_PROCESS_FLAGS',
      `the process was started with ${found.map((flag) => `${flag} (${gained[flag]})`).join(', ')}; harden() clears it`,
      'start it without pfexec(1) and without a profile shell (pfsh, pfbash, pfksh)',
    ),
  )
}

/** A process that may call chroot(2) again can leave the new root. */
function refuseEscape({ jailed, sets }: State): void {
  if (!jailed || !sets.permitted.includes('proc_chroot')) return
  throw new HardenError({
    code: 'ERR_HARDEN_CHROOT_ESCAPE',
    option: 'chroot',
    found: 'proc_chroot',
    message: 'proc_chroot would be retained, and it lets the process leave the chroot',
    remedy: `leave proc_chroot out of 'privileges', or 'chroot' out of the options`,
  })
}

/** Privilege-aware before setuid(2), which otherwise takes root's privileges; the sets after it, because it needs
 * proc_setid (privileges(7)). */
function chooseSteps(wanted: State, before: State, privileges: string | null): Step[] {
  const differ = (wanted: Ids, { real, effective, saved }: Ids) =>
    [real, effective, saved].some((id) => id !== wanted.real)
  const held = privileges === null ? keptSets(before) : setsHeld(privileges)
  const flags = before.flags ?? []
  return dueSteps([
    ['setgroups', wanted.groups.join() !== before.groups.join(), 'the supplementary groups are as wanted'],
    ['setgid', differ(wanted.group, before.group), 'all group ids are as wanted'],
    ['chroot', wanted.jailed, "no 'chroot' is asked for"],
    ['setpflags', !flags.includes('PRIV_AWARE'), 'PRIV_AWARE is set'],
    ['setuid', differ(wanted.user, before.user), 'all user ids are as wanted'],
    ['xpolicy', flags.includes('PRIV_XPOLICY'), 'PRIV_XPOLICY is clear'],
    ['pfexec', flags.includes('PRIV_PFEXEC'), 'PRIV_PFEXEC is clear'],
    ['permitted', !held.includes('permitted'), 'the permitted set is as wanted'],
    ['limit', !held.includes('limit'), 'the limit set is as wanted'],
    ['effective', !held.includes('effective'), 'the effective set is as wanted'],
  ])
}

/** Root that was set aside (seteuid(2)) has not all that is permitted in its effective set. */
function keptSets({ user }: State): PrivilegeSet[] {
  return user.effective === 0 ? ['permitted', 'limit', 'effective'] : ['permitted', 'limit']
}
