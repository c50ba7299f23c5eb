/**
 * Linux: the expected groups and capability sets, and the steps by which each thread gets there.
 */
import type { Decision, Finding, Observation, Request } from '../../contract'
import { dueSteps } from '../../debug'
import { HardenError } from '../../errors'
import { danger, note } from '../../hazards'
import type { Step } from '../../native'
import type { HardenOptions } from '../../options'
import { allOf, type Ids, isAny, type State } from '../../state'
import { capabilityNames, kernelMask, maskOf, parseAmbient, parseCapabilities } from './capabilities'
import { readText } from './proc'

/** Bits of prctl(2), PR_GET_SECUREBITS (linux/securebits.h). */
const SECBIT_NO_SETUID_FIXUP = 1 << 2
const SECBIT_KEEP_CAPS = 1 << 4

interface Masks {
  readonly permitted: bigint
  readonly effective: bigint
  readonly inheritable: bigint
}

/** @throws HardenError ERR_HARDEN_CAPABILITIES, ERR_HARDEN_CHROOT_ESCAPE */
export function decide(request: Request, { state: before }: Observation, findings: Finding[]): Decision {
  const { options, uid, gid } = request
  const groups = chooseGroups(request, before, findings)
  const own = chooseSets(options, uid, before, findings)
  const ambient = parseAmbient(options.ambientCapabilities ?? '', own.permitted)
  // What is ambient must be inheritable as well (capabilities(7)).
  const inheritable = own.inheritable | ambient
  const bounding = chooseBounding(options, uid, own.permitted | inheritable, before, findings)
  const wanted: State = {
    user: allOf(uid),
    group: allOf(gid),
    groups,
    sets: {
      permitted: capabilityNames(own.permitted),
      effective: capabilityNames(own.effective),
      inheritable: capabilityNames(inheritable),
      bounding: capabilityNames(bounding),
      ambient: capabilityNames(ambient),
      limit: undefined,
    },
    securebits: before.securebits,
    noNewPrivileges: before.noNewPrivileges || (options.noNewPrivileges ?? true),
    jailed: options.chroot !== undefined,
    flags: undefined,
  }
  refuseEscape(wanted)
  return { wanted, steps: chooseSteps(wanted, before, request.groups !== undefined) }
}

function chooseGroups(
  { groups, gid }: Request,
  { groups: present, sets }: State,
  findings: Finding[],
): readonly number[] {
  if (groups || present.length === 0 || sets.permitted.includes('cap_setgid')) return groups ?? []
  const others = present.filter((group) => group !== gid) // podman --user lists the primary group too
  if (others.length === 0) return present
  findings.push(
    note(
      'HARDEN_GROUPS_KEPT',
      `the supplementary groups ${others.join(', ')} stay: without CAP_SETGID they cannot be given up`,
      'start the process without them, or with CAP_SETGID',
    ),
  )
  return present
}

/** A process that may call chroot(2) again can leave the new root. */
function refuseEscape({ jailed, sets }: State): void {
  if (!jailed || ![...sets.permitted, ...sets.inheritable].includes('cap_sys_chroot')) return
  throw new HardenError({
    code: 'ERR_HARDEN_CHROOT_ESCAPE',
    option: 'chroot',
    found: 'cap_sys_chroot',
    message: 'cap_sys_chroot would be retained, and it lets the process leave the chroot',
    remedy: `leave cap_sys_chroot out of 'capabilities', or 'chroot' out of the options`,
  })
}

const NONE: Masks = { permitted: 0n, effective: 0n, inheritable: 0n }

/** Exclusive, not cumulative: a text is the whole set, for root too; without a text, root alone keeps its own. */
function chooseSets({ capabilities }: HardenOptions, uid: number, before: State, findings: Finding[]): Masks {
  if (uid === 0)
    findings.push(
      danger(
        'HARDEN_USER_ROOT',
        `the process stays root${capabilities === undefined ? ', with all its capabilities' : " and goes on owning root's files"}`,
        `name an account of the server's own as 'user'`,
      ),
    )
  if (capabilities !== undefined) return chooseText(capabilities, findings)
  if (uid !== 0) return NONE
  const { permitted, effective, inheritable } = before.sets
  return {
    permitted: maskOf(permitted),
    effective: maskOf(before.user.effective === 0 ? effective : permitted),
    inheritable: maskOf(inheritable),
  }
}

function chooseText(text: string, findings: Finding[]): Masks {
  const { permitted, effective, inheritable } = parseCapabilities(text)
  const kernel = kernelMask()
  const unknown = (permitted | inheritable) & ~kernel
  if (unknown)
    findings.push(
      note(
        'HARDEN_UNKNOWN_CAPABILITY',
        `this kernel has no capability ${capabilityNames(unknown).join(', ')}, so there is none to retain`,
        'remove it from the text',
      ),
    )
  noteNotEffective(permitted & ~effective & kernel, findings)
  return { permitted: permitted & kernel, effective: effective & kernel, inheritable: inheritable & kernel }
}

function noteNotEffective(mask: bigint, findings: Finding[]): void {
  if (!mask) return
  const names = capabilityNames(mask)
  const fails = names.includes('cap_net_bind_service')
    ? 'bind(2) to a port below 1024 fails'
    : 'calls that need it are refused'
  findings.push(
    note(
      'HARDEN_NOT_EFFECTIVE',
      `${names.join(', ')}: permitted, but not effective, so ${fails}, and nothing in Node can raise it later`,
      `'${names.join(',')}+ep' in 'capabilities' makes it usable`,
    ),
  )
}

/** Programs that are executed later cannot have more than this set (capabilities(7)). Trimming it takes CAP_SETPCAP. */
function chooseBounding(
  { capabilities, noNewPrivileges }: HardenOptions,
  uid: number,
  retained: bigint,
  { sets, user }: State,
  findings: Finding[],
): bigint {
  const present = maskOf(sets.bounding ?? [])
  if (uid === 0 && capabilities === undefined) return present
  const bounding = present & retained
  if (bounding === present || sets.permitted.includes('cap_setpcap')) return bounding
  const found = noNewPrivileges === false ? danger : note
  findings.push(
    found(
      'HARDEN_BOUNDING_KEPT',
      'the bounding set stays as it is: without CAP_SETPCAP it cannot be trimmed',
      user.effective === 0
        ? 'start the process with CAP_SETPCAP (in a container: add SETPCAP)'
        : 'have the service manager trim it (systemd: CapabilityBoundingSet=)',
    ),
  )
  return present
}

/** @param areAsked whether the groups come from the option, not from what the process cannot give up */
function chooseSteps(wanted: State, before: State, areAsked: boolean): Step[] {
  const uid = wanted.user.real
  const losesRoot = isAny(before.user, 0) && uid !== 0
  const keepcaps =
    losesRoot &&
    wanted.sets.permitted.length + wanted.sets.inheritable.length > 0 &&
    !((before.securebits ?? 0) & (SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP))
  const maySetGroups = before.sets.permitted.includes('cap_setgid')
  const sameGroups = wanted.groups.join() === before.groups.join()
  const mayBeUnmapped = wanted.groups.includes(OVERFLOW_ID) && !mapsEveryId('gid_map')
  const isEmpty = (names: readonly string[] | undefined) => names === undefined || names.length === 0
  const setsGroups = !sameGroups || (before.groups.length > 0 && maySetGroups) || (areAsked && mayBeUnmapped)
  const keepcapsWhy = 'setresuid takes nothing that is to be retained'
  const noNewPrivsWhy = before.noNewPrivileges ? 'it is on' : "'noNewPrivileges' is false"
  return dueSteps([
    ['chroot', wanted.jailed, "no 'chroot' is asked for"],
    ['bounding', wanted.sets.bounding?.join() !== before.sets.bounding?.join(), 'the bounding set is as wanted'],
    ['setgroups', setsGroups, 'the supplementary groups are as wanted, or cannot be changed'],
    ['setresgid', !holds(wanted.group, before.group, 'gid_map'), 'all group ids are as wanted'],
    ['keepcaps', keepcaps, keepcapsWhy],
    ['setresuid', !holds(wanted.user, before.user, 'uid_map'), 'all user ids are as wanted'],
    ['capset', true, ''],
    ['keepcaps back', keepcaps, keepcapsWhy],
    ['ambient', !isEmpty(wanted.sets.ambient) || !isEmpty(before.sets.ambient), 'the ambient set is and stays empty'],
    ['no_new_privs', wanted.noNewPrivileges && !before.noNewPrivileges, noNewPrivsWhy],
  ])
}

/**
 * In a user namespace an unmapped id looks like 65534, whether or not 65534 itself is mapped, so finding that id proves
 * nothing: the call is made there; it needs no privilege and is refused for an unmapped id (user_namespaces(7)).
 */
function holds(wanted: Ids, present: Ids, map: 'uid_map' | 'gid_map'): boolean {
  const id = wanted.real
  if (![present.real, present.effective, present.saved, present.fs].every((each) => each === id)) return false
  return id !== OVERFLOW_ID || mapsEveryId(map)
}

const OVERFLOW_ID = 65534

/** The first user namespace does, in one line: first id inside, first id outside, count. */
function mapsEveryId(map: 'uid_map' | 'gid_map'): boolean {
  try {
    return /^ *0 +0 +4294967295\n$/.test(readText(`/proc/self/${map}`))
  } catch {
    return false // then the step is taken
  }
}
