/**
 * Options and the present state to a frozen Plan: from here on nothing is decided any more.
 */
import { type Identity, resolve } from './accounts'
import type { Credentials, ThreadState } from './audit'
import { CAP_SETGID, CAP_SETPCAP, capabilityNames, kernelMask, parseCapabilities } from './capabilities'
import { HardenError } from './errors'
import type { Masks, Step } from './native'
import type { HardenOptions } from './options'
import type { Finding } from './report'

/** Bits of prctl(2), PR_GET_SECUREBITS (linux/securebits.h). */
const SECBIT_NO_SETUID_FIXUP = 1 << 2
const SECBIT_KEEP_CAPS = 1 << 4

export interface Plan {
  /** What every thread is to be. */
  readonly wanted: Credentials
  /** What has to be done for it, and nothing that holds already. */
  readonly steps: readonly Step[]
  readonly boundingDrop: bigint
  readonly findings: readonly Finding[]
}

/**
 * @param before the state of the calling thread; the commit makes sure that it is that of all
 * @throws HardenError whatever is wrong with names, ids and capability text, and ERR_HARDEN_USER_REQUIRED
 */
export function makePlan(options: HardenOptions, before: ThreadState): Plan {
  const identity = resolve(options)
  const findings: Finding[] = []
  const uid = identity.uid ?? presentUser(before)
  const gid = identity.gid ?? before.group.effective
  const groups = chooseGroups(identity, before, findings)
  const sets = chooseSets(options, uid, before, findings)
  const bounding = chooseBounding(options, uid, sets, before, findings)
  const wanted: Credentials = {
    user: { real: uid, effective: uid, saved: uid, fs: uid },
    group: { real: gid, effective: gid, saved: gid, fs: gid },
    groups,
    ...sets,
    bounding,
    ambient: 0n,
    securebits: before.securebits,
    noNewPrivileges: before.noNewPrivileges || (options.noNewPrivileges ?? true),
  }
  return Object.freeze({
    wanted: Object.freeze(wanted),
    steps: Object.freeze(dueSteps(wanted, before)),
    boundingDrop: before.bounding & ~bounding,
    findings: Object.freeze(findings),
  })
}

const isAny = (ids: ThreadState['user'], id: number): boolean => Object.values(ids).includes(id)
const isOnly = (ids: ThreadState['user'], id: number): boolean => Object.values(ids).every((found) => found === id)

function presentUser(before: ThreadState): number {
  if (!isAny(before.user, 0)) return before.user.effective
  throw new HardenError({
    code: 'ERR_HARDEN_USER_REQUIRED',
    option: 'user',
    message: 'the process has root among its user ids, and no user is named to take its place',
    remedy: `give the option 'user': an account of the server's own`,
  })
}

function chooseGroups({ groups }: Identity, before: ThreadState, findings: Finding[]): readonly number[] {
  if (groups || before.groups.length === 0 || before.effective & CAP_SETGID) return groups ?? []
  findings.push({
    code: 'HARDEN_GROUPS_KEPT',
    level: 'note',
    message: `the supplementary groups ${before.groups.join(', ')} stay: without CAP_SETGID they cannot be given up`,
    remedy: 'start the process without them, or with CAP_SETGID',
  })
  return before.groups
}

/** Exclusive, not cumulative: with a text it is exactly the text, for root too; without one root alone keeps its own. */
function chooseSets({ capabilities }: HardenOptions, uid: number, before: ThreadState, findings: Finding[]): Masks {
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
  if (bounding === before.bounding || before.effective & CAP_SETPCAP) return bounding
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
  const due: Record<Step, boolean> = {
    bounding: wanted.bounding !== before.bounding,
    setgroups: wanted.groups.join() !== before.groups.join(),
    setresgid: !isOnly(before.group, wanted.group.real),
    keepcaps,
    setresuid: !isOnly(before.user, uid),
    capset: true,
    'keepcaps back': keepcaps,
    ambient: before.ambient !== 0n,
    no_new_privs: wanted.noNewPrivileges && !before.noNewPrivileges,
  }
  return (Object.keys(due) as Step[]).filter((step) => due[step])
}
