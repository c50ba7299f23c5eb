/** A process that is root, and the plan by which it becomes a mail server's user: for the tests of what is said about them. */
import type { Credentials, Ids, ThreadState } from '../lib/audit'
import type { Plan } from '../lib/platform/linux/plan'

export const BIND = 1n << 10n
export const RAW = 1n << 13n
export const FULL = (1n << 41n) - 1n

export const only = (id: number): Ids => ({ real: id, effective: id, saved: id, fs: id })
export const root: ThreadState = {
  tid: process.pid,
  name: 'node',
  user: only(0),
  group: only(0),
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
export const nothing: Credentials = {
  user: only(1000),
  group: only(1000),
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
export const plan: Plan = {
  wanted: {
    user: only(990),
    group: only(991),
    groups: [8, 12],
    permitted: BIND,
    effective: BIND,
    inheritable: 0n,
    bounding: BIND,
    ambient: 0n,
    securebits: 0,
    noNewPrivileges: true,
    jailed: false,
  },
  steps: ['bounding', 'setgroups', 'setresgid', 'keepcaps', 'setresuid', 'capset', 'keepcaps back', 'no_new_privs'],
  boundingDrop: FULL & ~BIND,
  attempts: [],
  findings: [],
}
export const opened = { path: '/srv/mail', descriptor: 17, place: '8:2', stat: 18 }

/** The kernel's text about a thread in this state. */
export function statusOf({
  name,
  user,
  group,
  groups,
  ...state
}: Omit<ThreadState, 'tid' | 'securebits' | 'jailed'>): string {
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
