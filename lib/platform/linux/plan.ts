/**
 * Linux: what becomes of the groups and the capability sets, and the steps by which each thread comes to it.
 */
import { type Credentials, isAny, type ThreadState } from '../../audit'
import {
  CAP_SETGID,
  CAP_SETPCAP,
  CAP_SYS_CHROOT,
  capabilityNames,
  kernelMask,
  parseAmbient,
  parseCapabilities,
} from '../../capabilities'
import { HardenError } from '../../errors'
import type { Masks, Step } from '../../native'
import type { HardenOptions } from '../../options'
import type { Plan as AnyPlan, Asked } from '../../plan'
import type { Finding } from '../../report'

/** Bits of prctl(2), PR_GET_SECUREBITS (linux/securebits.h). */
const SECBIT_NO_SETUID_FIXUP = 1 << 2
const SECBIT_KEEP_CAPS = 1 << 4

export interface Plan extends AnyPlan {
  readonly wanted: Credentials
  readonly steps: readonly Step[]
  readonly boundingDrop: bigint
}

export interface Observation {
  readonly state: ThreadState
  /** The same as the native code needs it: opaque. */
  readonly token: ArrayBuffer
}

/** @throws HardenError ERR_HARDEN_CAPABILITIES, ERR_HARDEN_CHROOT_ESCAPE */
export function decide(
  asked: Asked,
  before: ThreadState,
  findings: Finding[],
): Pick<Plan, 'wanted' | 'steps' | 'boundingDrop'> {
  const { options, uid, gid } = asked
  const groups = chooseGroups(asked, before, findings)
  const sets = chooseSets(options, uid, before, findings)
  const bounding = chooseBounding(options, uid, sets, before, findings)
  const wanted: Credentials = {
    user: { real: uid, effective: uid, saved: uid, fs: uid },
    group: { real: gid, effective: gid, saved: gid, fs: gid },
    groups,
    ...sets,
    bounding,
    securebits: before.securebits,
    noNewPrivileges: before.noNewPrivileges || (options.noNewPrivileges ?? true),
    jailed: options.chroot !== undefined,
  }
  refuseEscape(wanted)
  return { wanted, steps: dueSteps(wanted, before), boundingDrop: before.bounding & ~bounding }
}

function chooseGroups({ groups }: Asked, before: ThreadState, findings: Finding[]): readonly number[] {
  if (groups || before.groups.length === 0 || before.permitted & CAP_SETGID) return groups ?? []
  findings.push({
    code: 'HARDEN_GROUPS_KEPT',
    level: 'note',
    message: `the supplementary groups ${before.groups.join(', ')} stay: without CAP_SETGID they cannot be given up`,
    remedy: 'start the process without them, or with CAP_SETGID',
  })
  return before.groups
}

/** Whoever may call chroot(2) again gets out of it. */
function refuseEscape({ jailed, permitted, inheritable }: Credentials): void {
  if (!jailed || !((permitted | inheritable) & CAP_SYS_CHROOT)) return
  throw new HardenError({
    code: 'ERR_HARDEN_CHROOT_ESCAPE',
    option: 'chroot',
    message: 'cap_sys_chroot is to be retained, and with it anybody gets out of the chroot',
    remedy: `leave cap_sys_chroot out of 'capabilities', or 'chroot' out of the options`,
  })
}

interface Sets extends Masks {
  readonly ambient: bigint
}

/** Exclusive, not cumulative: with a text it is exactly the text, for root too; without one root alone keeps its own. */
function chooseSets(options: HardenOptions, uid: number, before: ThreadState, findings: Finding[]): Sets {
  const own = chooseOwnSets(options, uid, before, findings)
  const ambient = parseAmbient(options.ambientCapabilities ?? '', own.permitted)
  // What is ambient must be inheritable as well (capabilities(7)).
  return { ...own, inheritable: own.inheritable | ambient, ambient }
}

function chooseOwnSets({ capabilities }: HardenOptions, uid: number, before: ThreadState, findings: Finding[]): Masks {
  if (uid === 0)
    findings.push({
      code: 'HARDEN_USER_ROOT',
      level: 'danger',
      message: `the process stays root${capabilities === undefined ? ', with all its capabilities' : " and goes on owning root's files"}`,
      remedy: `name an account of the server's own as 'user'`,
    })
  if (capabilities !== undefined) {
    const { permitted, effective, inheritable } = parseCapabilities(capabilities)
    const kernel = kernelMask()
    const unknown = (permitted | inheritable) & ~kernel
    if (unknown)
      findings.push({
        code: 'HARDEN_UNKNOWN_CAPABILITY',
        level: 'note',
        message: `this kernel has no capability ${capabilityNames(unknown).join(', ')}, so there is none to retain`,
        remedy: 'remove it from the text',
      })
    return { permitted: permitted & kernel, effective: effective & kernel, inheritable: inheritable & kernel }
  }
  if (uid !== 0) return { permitted: 0n, effective: 0n, inheritable: 0n }
  const { permitted, inheritable } = before
  return { permitted, effective: before.user.effective === 0 ? before.effective : permitted, inheritable }
}

/** Nothing that is executed later can have more than this set (capabilities(7)). To trim it takes CAP_SETPCAP. */
function chooseBounding(
  { capabilities, noNewPrivileges }: HardenOptions,
  uid: number,
  { permitted, inheritable }: Masks,
  before: ThreadState,
  findings: Finding[],
): bigint {
  if (uid === 0 && capabilities === undefined) return before.bounding
  const bounding = before.bounding & (permitted | inheritable)
  if (bounding === before.bounding || before.permitted & CAP_SETPCAP) return bounding
  findings.push({
    code: 'HARDEN_BOUNDING_KEPT',
    level: noNewPrivileges === false ? 'danger' : 'note',
    message: 'the bounding set stays as it is: without CAP_SETPCAP it cannot be trimmed',
    remedy: 'start the process with CAP_SETPCAP (in a container: add SETPCAP)',
  })
  return before.bounding
}

function dueSteps(wanted: Credentials, before: ThreadState): Step[] {
  const uid = wanted.user.real
  const losesRoot = isAny(before.user, 0) && uid !== 0
  const keepcaps =
    losesRoot &&
    (wanted.permitted | wanted.inheritable) !== 0n &&
    !(before.securebits & (SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP))
  const maySetGroups = (before.permitted & CAP_SETGID) !== 0n
  const due: Record<Step, boolean> = {
    chroot: wanted.jailed,
    bounding: wanted.bounding !== before.bounding,
    // In a user namespace every id that is not mapped looks like 65534, so "it is that already" proves nothing. To set
    // one's own ids needs no privilege, and shows: an unmapped one is refused (user_namespaces(7)).
    setgroups: wanted.groups.join() !== before.groups.join() || (before.groups.length > 0 && maySetGroups),
    setresgid: true,
    keepcaps,
    setresuid: true,
    capset: true,
    'keepcaps back': keepcaps,
    ambient: wanted.ambient !== 0n || before.ambient !== 0n,
    no_new_privs: wanted.noNewPrivileges && !before.noNewPrivileges,
  }
  return (Object.keys(due) as Step[]).filter((step) => due[step])
}
