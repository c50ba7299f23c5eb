/**
 * Options and the present state to a frozen Plan: from here on nothing is decided any more.
 */
import { type Identity, resolve } from './accounts'
import type { Credentials, ThreadState } from './audit'
import {
  CAP_SETGID,
  CAP_SETPCAP,
  CAP_SYS_CHROOT,
  capabilityNames,
  kernelMask,
  parseAmbient,
  parseCapabilities,
} from './capabilities'
import { openRoot, type Root } from './chroot'
import { HardenError } from './errors'
import type { Attempt, Masks, Step } from './native'
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
  /** What the new identity must be able to use, and which option says so. */
  readonly attempts: readonly (Attempt & { readonly option: string })[]
  /** Open: to be closed by whoever made the plan. */
  readonly root?: Root
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
    securebits: before.securebits,
    noNewPrivileges: before.noNewPrivileges || (options.noNewPrivileges ?? true),
    jailed: options.chroot !== undefined,
  }
  refuseEscape(wanted)
  return Object.freeze({
    wanted: Object.freeze(wanted),
    steps: Object.freeze(dueSteps(wanted, before)),
    boundingDrop: before.bounding & ~bounding,
    attempts: Object.freeze(listAttempts(options)),
    findings: Object.freeze(findings),
    // last, because nothing may throw while it is open
    root: options.chroot === undefined ? undefined : openRoot(options.chroot),
  })
}

const isAny = (ids: ThreadState['user'], id: number): boolean => Object.values(ids).includes(id)

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

function listAttempts({ rehearse }: HardenOptions): Plan['attempts'] {
  if (!rehearse) return []
  const { read = [], write = [], bind = [] } = rehearse
  return [
    ...read.map((path, index) => ({ step: 'read', path, port: 0, option: `rehearse.read[${index}]` }) as const),
    ...write.map((path, index) => ({ step: 'write', path, port: 0, option: `rehearse.write[${index}]` }) as const),
    ...bind.map((port, index) => ({ step: 'bind', path: '', port, option: `rehearse.bind[${index}]` }) as const),
  ]
}
