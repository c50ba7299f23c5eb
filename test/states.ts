/** A process that is root, and the plan by which it becomes a mail server's user: for the tests of what is said about them. */
import type { Observation, Plan } from '../lib/contract'
import { type LinuxAddon, native, type OpenDescriptor } from '../lib/native'
import type { Ids, State } from '../lib/state'

export const BIND = 1n << 10n
export const RAW = 1n << 13n
export const FULL = (1n << 41n) - 1n
export const SETGID = 1n << 6n
export const SETUID = 1n << 7n
export const SETPCAP = 1n << 8n
export const SYS_CHROOT = 1n << 18n

const names = native<LinuxAddon>().capabilityNames()

export const namesOf = (mask: bigint): string[] =>
  Array.from({ length: 64 }, (_, capability) => names[capability] ?? `${capability}`).filter(
    (_, capability) => mask & (1n << BigInt(capability)),
  )

/** A state of Linux, with its sets as masks: shorter to write than names. */
export interface Masked extends Pick<State, 'user' | 'group' | 'groups' | 'noNewPrivileges' | 'jailed'> {
  readonly permitted: bigint
  readonly effective: bigint
  readonly inheritable: bigint
  readonly bounding: bigint
  readonly ambient: bigint
  readonly securebits: number | undefined
}

export function stateOf({ permitted, effective, inheritable, bounding, ambient, ...rest }: Masked): State {
  const sets = {
    permitted: namesOf(permitted),
    effective: namesOf(effective),
    inheritable: namesOf(inheritable),
    bounding: namesOf(bounding),
    ambient: namesOf(ambient),
    limit: undefined,
  }
  return { ...rest, sets, flags: undefined }
}

export const allFour = (id: number): Ids => ({ real: id, effective: id, saved: id, fs: id })
export const root: Masked = {
  user: allFour(0),
  group: allFour(0),
  groups: [0, 4],
  permitted: FULL,
  effective: FULL,
  inheritable: 0n,
  bounding: FULL,
  ambient: 0n,
  securebits: 0,
  noNewPrivileges: false,
  jailed: false,
}
/** Of an ordinary user who retains nothing. */
export const nothing: Masked = {
  user: allFour(1000),
  group: allFour(1000),
  groups: [],
  permitted: 0n,
  effective: 0n,
  inheritable: 0n,
  bounding: 0n,
  ambient: 0n,
  securebits: 0,
  noNewPrivileges: true,
  jailed: false,
}
export const mail: Masked = {
  ...nothing,
  user: allFour(990),
  group: allFour(991),
  groups: [8, 12],
  permitted: BIND,
  effective: BIND,
  bounding: BIND,
}

export const observed = (before: Partial<Masked> = {}): Observation => {
  const state = { ...root, ...before }
  return { state: stateOf(state), text: statusOf(state), groupsMax: 65536 }
}
export const plan: Plan = {
  wanted: stateOf(mail),
  steps: ['bounding', 'setgroups', 'setresgid', 'keepcaps', 'setresuid', 'capset', 'keepcaps back', 'no_new_privs'],
  before: observed(),
  questions: [],
  accountGroups: [8, 12],
  explicitGroups: false,
  root: undefined,
  findings: [],
  accounts: () => ({ user: new Map(), group: new Map() }),
}
/** A descriptor as it is mostly. */
export const descriptorOf = (
  descriptor: number,
  kind: OpenDescriptor['kind'],
  fields: Partial<OpenDescriptor> = {},
): OpenDescriptor => ({ descriptor, kind, writable: false, sharesPort: false, name: '', ...fields })
export const opened = { path: '/srv/mail', descriptor: 17, place: '8:2' }

/** The kernel's text about a thread in this state. */
export function statusOf({ user, group, groups, ...state }: Masked, name = 'node'): string {
  const ids = ({ real, effective, saved, fs }: Ids) => [real, effective, saved, fs].join('\t')
  const mask = (set: bigint) => set.toString(16).padStart(16, '0')
  return `Name:\t${name}
Pid:\t4711
Uid:\t${ids(user)}
Gid:\t${ids(group)}
Groups:\t${groups.join(' ')} \nNStgid:\t${process.pid}
SigIgn:\t0000000001001200
CapInh:\t${mask(state.inheritable)}
CapPrm:\t${mask(state.permitted)}
CapEff:\t${mask(state.effective)}
CapBnd:\t${mask(state.bounding)}
CapAmb:\t${mask(state.ambient)}
NoNewPrivs:\t${state.noNewPrivileges ? 1 : 0}
Seccomp:\t0
`
}
