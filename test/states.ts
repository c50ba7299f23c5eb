/** A process that is root, and the plan by which it becomes a mail server's user: for the tests of what is said about them. */
import type { Ids, ThreadState } from '../lib/audit'
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
