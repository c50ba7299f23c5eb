/** Promise: the plan is exactly what was asked for, with every step that is needed and no other. */
import fs, { readdirSync } from 'node:fs'
import { inspect } from 'node:util'
import t from 'tap'
import type { Plan } from '../lib/contract'
import { makePlan as makeOpenPlan } from '../lib/engine'
import type { HardenError } from '../lib/errors'
import * as addon from '../lib/native'
import type { HardenOptions } from '../lib/options'
import { linux } from '../lib/platform/linux'
import { kernelMask, maskOf } from '../lib/platform/linux/capabilities'
import { Reasons } from '../lib/reasons'
import { closeRoot } from '../lib/root'
import type { Ids } from '../lib/state'
import {
  allFour,
  root as anyRoot,
  BIND,
  type Masked,
  nothing,
  observed,
  RAW,
  SETGID,
  SETPCAP,
  SETUID,
  SYS_CHROOT,
  stateOf,
} from './states'

const FULL = kernelMask()
const KILL = 1n << 5n
const NO_SETUID_FIXUP = 1 << 2
const KEEP_CAPS = 1 << 4
const KEEP_CAPS_LOCKED = 1 << 5

/** On a system that says this of the calling thread. */
const open = (options: HardenOptions, before: Masked): Plan =>
  makeOpenPlan({ ...linux, observe: () => observed(before) }, options, new Reasons(false))

/** A plan as it is made, but with its root closed again. */
function makePlan(options: HardenOptions, before: Masked): Plan {
  const plan = open(options, before)
  closeRoot(plan.root)
  return plan
}
const openDescriptors = () => readdirSync('/proc/self/fd').length

const lacking = (...capabilities: bigint[]) => {
  const rest = capabilities.reduce((set, capability) => set & ~capability, FULL)
  return { permitted: rest, effective: rest }
}

const root: Masked = { ...anyRoot, groups: [], permitted: FULL, effective: FULL, bounding: FULL }
const plain: Masked = { ...root, user: allFour(1000), group: allFour(1000), permitted: 0n, effective: 0n }
const withAmbient: Masked = { ...plain, permitted: BIND, effective: BIND, inheritable: BIND, ambient: BIND }

const bindOnly = { permitted: BIND, effective: BIND, bounding: BIND }
const rootStill = { ...nothing, user: allFour(0), group: allFour(0), permitted: FULL, effective: FULL, bounding: FULL }

const become = { user: 1000, group: 1000 }
const bind = { ...become, capabilities: 'cap_net_bind_service+ep' }

const DROP = 'bounding, setresgid, setresuid, capset, no_new_privs'
const DROP_AND_KEEP = 'bounding, setresgid, keepcaps, setresuid, capset, keepcaps back, no_new_privs'

interface Case {
  title: string
  options: HardenOptions
  before: Masked
  /** What differs from `nothing`. */
  wanted?: Partial<Masked>
  steps: string
  findings?: string
}

const cases: Case[] = [
  // root, with everything
  { title: 'root retains nothing', options: become, before: root, steps: DROP },
  { title: "'' retains nothing", options: { ...become, capabilities: '' }, before: root, steps: DROP },
  { title: 'root retains one', options: bind, before: root, wanted: bindOnly, steps: DROP_AND_KEEP },
  {
    title: 'permitted, but not effective',
    options: { ...become, capabilities: 'cap_net_bind_service+p' },
    before: root,
    wanted: { ...bindOnly, effective: 0n },
    steps: DROP_AND_KEEP,
    findings: 'HARDEN_NOT_EFFECTIVE note',
  },
  {
    title: 'inheritable alone: it counts for the bounding set and for keepcaps',
    options: { ...become, capabilities: 'cap_net_bind_service+i' },
    before: root,
    wanted: { inheritable: BIND, bounding: BIND },
    steps: DROP_AND_KEEP,
  },
  {
    title: 'some permitted, others inheritable',
    options: { ...become, capabilities: 'cap_net_bind_service+ep cap_net_raw+i' },
    before: root,
    wanted: { ...bindOnly, inheritable: RAW, bounding: BIND | RAW },
    steps: DROP_AND_KEEP,
  },
  { title: 'privileges are for Solaris', options: { ...become, privileges: 'all' }, before: root, steps: DROP },
  {
    title: 'a capability that no kernel has',
    options: { ...become, capabilities: '63+eip cap_net_bind_service+ep' },
    before: root,
    wanted: bindOnly,
    steps: DROP_AND_KEEP,
    findings: 'HARDEN_UNKNOWN_CAPABILITY note',
  },
  {
    title: 'that one alone leaves nothing to keep',
    options: { ...become, capabilities: '63+eip' },
    before: root,
    steps: DROP,
    findings: 'HARDEN_UNKNOWN_CAPABILITY note',
  },
  {
    title: 'inheritable and ambient ones of root go',
    options: become,
    before: { ...root, inheritable: RAW, ambient: RAW },
    steps: 'bounding, setresgid, setresuid, capset, ambient, no_new_privs',
  },

  // ids and groups
  {
    title: 'a group that holds already',
    options: { user: 1000, group: 0 },
    before: root,
    wanted: { group: allFour(0) },
    steps: 'bounding, setresuid, capset, no_new_privs',
  },
  {
    title: 'the largest ids',
    options: { user: 4294967294, group: 4294967293 },
    before: root,
    wanted: { user: allFour(4294967294), group: allFour(4294967293) },
    steps: DROP,
  },
  {
    title: 'groups that nobody asked for go',
    options: become,
    before: { ...root, groups: [0, 4, 27] },
    steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
  },
  {
    title: 'so do they if none are asked for',
    options: { ...become, supplementalGroups: [] },
    before: { ...root, groups: [0] },
    steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
  },
  {
    title: 'groups asked for come',
    options: { ...become, supplementalGroups: [12, 8, 12] },
    before: root,
    wanted: { groups: [8, 12] },
    steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
  },
  {
    title: 'groups that hold already',
    options: { ...become, supplementalGroups: [12, 8] },
    before: { ...root, groups: [8, 12] },
    wanted: { groups: [8, 12] },
    steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
  },
  ...[[12], [1, 3], [0, 1, 2]].map(
    (groups): Case => ({
      title: `other groups than ${groups}`,
      options: { ...become, supplementalGroups: [1, 2] },
      before: { ...root, groups },
      wanted: { groups: [1, 2] },
      steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
    }),
  ),
  ...(['real', 'effective', 'saved', 'fs'] as const).flatMap((which): Case[] => [
    {
      title: `only the ${which} group id differs`,
      options: become,
      before: { ...root, group: { ...allFour(1000), [which]: 0 } },
      steps: DROP,
    },
    {
      title: `only the ${which} user id is 0`,
      options: bind,
      before: { ...root, user: { ...allFour(1000), [which]: 0 } },
      wanted: bindOnly,
      steps: DROP_AND_KEEP,
    },
    {
      title: `only the ${which} user id differs, and none is 0`,
      options: { ...bind, user: 1000 },
      before: { ...root, user: { ...allFour(1000), [which]: 1001 } },
      wanted: bindOnly,
      steps: DROP,
    },
  ]),
  {
    title: 'groups that hold already are set all the same: what looks equal may be an id that is not mapped',
    options: { ...become, supplementalGroups: [65534] },
    before: { ...root, groups: [65534] },
    wanted: { groups: [65534] },
    steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
  },
  {
    title: 'no groups before and none afterwards need no step',
    options: { ...become, supplementalGroups: [] },
    before: root,
    steps: DROP,
  },

  // a new root directory
  {
    title: 'a chroot comes first',
    options: { ...become, chroot: '/' },
    before: { ...root, groups: [4], ambient: RAW },
    wanted: { jailed: true },
    steps: 'chroot, bounding, setgroups, setresgid, setresuid, capset, ambient, no_new_privs',
  },
  {
    title: 'a chroot for a server on port 25',
    options: { ...bind, chroot: '/proc' },
    before: root,
    wanted: { ...bindOnly, jailed: true },
    steps: `chroot, ${DROP_AND_KEEP}`,
  },
  {
    title: 'a chroot by a plain user: for the rehearsal to refuse',
    options: { chroot: '/' },
    before: { ...plain, bounding: 0n },
    wanted: { jailed: true },
    steps: 'chroot, capset, no_new_privs',
  },

  // ambient capabilities
  {
    title: 'an ambient one is inheritable, and bounding, too',
    options: { ...bind, ambientCapabilities: 'cap_net_bind_service' },
    before: root,
    wanted: { ...bindOnly, inheritable: BIND, ambient: BIND },
    steps: 'bounding, setresgid, keepcaps, setresuid, capset, keepcaps back, ambient, no_new_privs',
  },
  {
    title: 'one is ambient, another inheritable, a third neither',
    options: {
      ...become,
      capabilities: 'cap_net_bind_service,cap_kill+p cap_net_raw+i',
      ambientCapabilities: 'cap_kill',
    },
    before: root,
    wanted: {
      permitted: BIND | KILL,
      inheritable: RAW | KILL,
      bounding: BIND | KILL | RAW,
      ambient: KILL,
    },
    steps: 'bounding, setresgid, keepcaps, setresuid, capset, keepcaps back, ambient, no_new_privs',
    findings: 'HARDEN_NOT_EFFECTIVE note',
  },
  {
    title: "'' is none",
    options: { ...bind, ambientCapabilities: '' },
    before: root,
    wanted: bindOnly,
    steps: DROP_AND_KEEP,
  },
  {
    title: 'a plain user with an ambient capability keeps it',
    options: { capabilities: 'cap_net_bind_service+ep', ambientCapabilities: 'cap_net_bind_service' },
    before: { ...withAmbient, bounding: BIND },
    wanted: { ...bindOnly, inheritable: BIND, ambient: BIND },
    steps: 'capset, ambient, no_new_privs',
  },
  {
    title: 'of what root goes on having one is ambient',
    options: { user: 0, group: 0, ambientCapabilities: 'cap_net_raw' },
    before: { ...root, inheritable: BIND },
    wanted: { ...rootStill, inheritable: BIND | RAW, ambient: RAW },
    steps: 'capset, ambient, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },

  // what root may lack
  {
    title: 'root without CAP_SETPCAP keeps the bounding set',
    options: become,
    before: { ...root, ...lacking(SETPCAP) },
    wanted: { bounding: FULL },
    steps: 'setresgid, setresuid, capset, no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'which is a danger if programs can gain from it',
    options: { ...become, noNewPrivileges: false },
    before: { ...root, ...lacking(SETPCAP) },
    wanted: { bounding: FULL, noNewPrivileges: false },
    steps: 'setresgid, setresuid, capset',
    findings: 'HARDEN_BOUNDING_KEPT danger',
  },
  {
    title: 'and nothing at all where it is as it should be',
    options: bind,
    before: { ...root, ...lacking(SETPCAP), bounding: BIND },
    wanted: bindOnly,
    steps: 'setresgid, keepcaps, setresuid, capset, keepcaps back, no_new_privs',
  },
  {
    title: 'a bounding set that has less already',
    options: bind,
    before: { ...root, bounding: RAW },
    wanted: { ...bindOnly, bounding: 0n },
    steps: DROP_AND_KEEP,
  },
  {
    title: 'root without CAP_SETGID keeps its groups',
    options: become,
    before: { ...root, ...lacking(SETGID), groups: [0, 4] },
    wanted: { groups: [0, 4] },
    steps: DROP,
    findings: 'HARDEN_GROUPS_KEPT note',
  },
  {
    title: 'unless they are asked to go: that is for the rehearsal to refuse',
    options: { ...become, supplementalGroups: [] },
    before: { ...root, ...lacking(SETGID), groups: [0, 4] },
    steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
  },
  {
    title: 'or are what is asked for',
    options: { ...become, supplementalGroups: [4, 0] },
    before: { ...root, ...lacking(SETGID), groups: [0, 4] },
    wanted: { groups: [0, 4] },
    steps: DROP,
  },
  {
    title: 'or there are none',
    options: become,
    before: { ...root, ...lacking(SETGID) },
    steps: DROP,
  },
  {
    title: 'root without CAP_SETUID: for the rehearsal to refuse',
    options: become,
    before: { ...root, ...lacking(SETUID) },
    steps: DROP,
  },
  ...(['setgroups', 'bounding'] as const).map(
    (step): Case => ({
      title: `what is permitted and not effective counts for ${step}: for the rehearsal to refuse`,
      options: become,
      before: { ...root, effective: 0n, groups: [7] },
      steps: 'bounding, setgroups, setresgid, setresuid, capset, no_new_privs',
    }),
  ),
  {
    title: 'root with no capability at all',
    options: become,
    before: { ...root, permitted: 0n, effective: 0n, groups: [7] },
    wanted: { groups: [7], bounding: FULL },
    steps: 'setresgid, setresuid, capset, no_new_privs',
    findings: 'HARDEN_GROUPS_KEPT note, HARDEN_BOUNDING_KEPT note',
  },

  // securebits and no_new_privs
  {
    title: 'SECBIT_NO_SETUID_FIXUP: nothing is lost that would have to be kept',
    options: bind,
    before: { ...root, securebits: NO_SETUID_FIXUP },
    wanted: { ...bindOnly, securebits: NO_SETUID_FIXUP },
    steps: DROP,
  },
  {
    title: 'SECBIT_KEEP_CAPS is set, and stays',
    options: bind,
    before: { ...root, securebits: KEEP_CAPS },
    wanted: { ...bindOnly, securebits: KEEP_CAPS },
    steps: DROP,
  },
  {
    title: 'other securebits are neither',
    options: bind,
    before: { ...root, securebits: KEEP_CAPS_LOCKED | 3 },
    wanted: { ...bindOnly, securebits: KEEP_CAPS_LOCKED | 3 },
    steps: DROP_AND_KEEP,
  },
  {
    title: 'no_new_privs is set',
    options: become,
    before: { ...root, noNewPrivileges: true },
    steps: 'bounding, setresgid, setresuid, capset',
  },
  {
    title: 'no_new_privs is set, and cannot be unset',
    options: { ...become, noNewPrivileges: false },
    before: { ...root, noNewPrivileges: true },
    steps: 'bounding, setresgid, setresuid, capset',
  },
  {
    title: 'no_new_privs is not wanted',
    options: { ...become, noNewPrivileges: false },
    before: root,
    wanted: { noNewPrivileges: false },
    steps: 'bounding, setresgid, setresuid, capset',
  },
  { title: 'no_new_privs by name', options: { ...become, noNewPrivileges: true }, before: root, steps: DROP },

  // user root
  {
    title: 'root stays root, with all it has',
    options: { user: 0, group: 0 },
    before: root,
    wanted: rootStill,
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'by whatever spelling',
    options: { user: '0', group: '00' },
    before: root,
    wanted: rootStill,
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: '-0 is 0',
    options: { user: -0, group: -0 },
    before: root,
    wanted: rootStill,
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root by name, with its primary group',
    options: { user: 'root' },
    before: root,
    wanted: rootStill,
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root stays, and has less already',
    options: { user: 0, group: 0 },
    before: { ...root, permitted: BIND | RAW, effective: RAW, inheritable: RAW, bounding: BIND, ambient: RAW },
    wanted: { ...rootStill, permitted: BIND | RAW, effective: RAW, inheritable: RAW, bounding: BIND },
    steps: 'capset, ambient, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root comes back from another effective user, and with it what is permitted',
    options: { user: 0, group: 0 },
    before: { ...root, user: { real: 0, effective: 1000, saved: 0, fs: 1000 }, effective: 0n },
    wanted: rootStill,
    steps: 'setresuid, capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root stays, with a text: exactly that',
    options: { user: 0, group: 0, capabilities: 'cap_net_bind_service+ep' },
    before: root,
    wanted: { ...rootStill, ...bindOnly },
    steps: 'bounding, capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: "root stays, with '': nothing",
    options: { user: 0, group: 0, capabilities: '' },
    before: root,
    wanted: { user: allFour(0), group: allFour(0) },
    steps: 'bounding, capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root stays, and lacks CAP_SETPCAP, which it takes only with a text',
    options: { user: 0, group: 0 },
    before: { ...root, ...lacking(SETPCAP) },
    wanted: { ...rootStill, ...lacking(SETPCAP) },
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },

  // not root to begin with
  {
    title: 'a plain user',
    options: {},
    before: plain,
    wanted: { bounding: FULL },
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user that names itself',
    options: become,
    before: plain,
    wanted: { bounding: FULL },
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user with groups',
    options: {},
    before: { ...plain, groups: [27, 1000] },
    wanted: { groups: [27, 1000], bounding: FULL },
    steps: 'capset, no_new_privs',
    findings: 'HARDEN_GROUPS_KEPT note, HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user hardened from outside: there is nothing to set',
    options: {},
    before: { ...plain, bounding: 0n, noNewPrivileges: true },
    steps: 'capset',
  },
  {
    title: 'a plain user with an ambient capability retains it, but not as ambient',
    options: { capabilities: 'cap_net_bind_service+ep' },
    before: withAmbient,
    wanted: { ...bindOnly, bounding: FULL },
    steps: 'capset, ambient, no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'or does not',
    options: {},
    before: { ...withAmbient, bounding: BIND },
    wanted: { bounding: BIND },
    steps: 'capset, ambient, no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user with CAP_SETPCAP and CAP_SETGID can do more',
    options: {},
    before: { ...plain, permitted: SETPCAP | SETGID, effective: SETPCAP | SETGID, groups: [27] },
    steps: 'bounding, setgroups, capset, no_new_privs',
  },
  {
    title: 'a plain user who asks for somebody else: for the rehearsal to refuse',
    options: { user: 1001, group: 1001 },
    before: plain,
    wanted: { user: allFour(1001), group: allFour(1001), bounding: FULL },
    steps: 'setresgid, setresuid, capset, no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'ids that differ from each other, none asked for: the effective ones',
    options: {},
    before: {
      ...plain,
      user: { real: 1000, effective: 1001, saved: 1002, fs: 1003 },
      group: { real: 100, effective: 101, saved: 102, fs: 103 },
      bounding: 0n,
    },
    wanted: { user: allFour(1001), group: allFour(101) },
    steps: 'setresgid, setresuid, capset, no_new_privs',
  },
  {
    title: 'the group alone',
    options: { group: 8 },
    before: { ...plain, bounding: 0n },
    wanted: { group: allFour(8) },
    steps: 'setresgid, capset, no_new_privs',
  },
]

for (const { title, options, before, wanted, steps, findings } of cases)
  t.test(title, async (t) => {
    const plan = makePlan(options, before)
    t.strictSame(plan.wanted, stateOf({ ...nothing, ...wanted }))
    t.equal(plan.steps.join(', '), steps)
    t.strictSame(plan.before, observed(before))
    t.equal(plan.findings.map(({ code, level }) => `${code} ${level}`).join(', '), findings ?? '')
    t.ok(plan.findings.every(({ message, remedy }) => message && remedy))
    t.equal(plan.root?.path, options.chroot)
    t.equal(plan.root !== undefined, options.chroot !== undefined)
  })

t.test('every set with every other: ambient is inheritable, inheritable is bounding', async (t) => {
  const flags = ['', 'p', 'i', 'pe', 'pi', 'pei'] as const
  for (const flag of flags)
    for (const ambientCapabilities of ['', 'cap_net_raw'])
      for (const has of [FULL, RAW, BIND, 0n])
        for (const maySet of [true, false]) {
          const title = JSON.stringify([flag, ambientCapabilities, has.toString(16), maySet])
          const before = { ...root, bounding: has, ...(maySet ? {} : lacking(SETPCAP)) }
          const options = { ...become, capabilities: flag && `cap_net_raw+${flag}`, ambientCapabilities }
          if (ambientCapabilities && !flag.includes('p')) {
            t.match(refusal(options, before), { code: 'ERR_HARDEN_CAPABILITIES', option: 'ambientCapabilities' }, title)
            continue
          }
          const { wanted, findings } = makePlan(options, before)
          const raw = (yes: boolean) => (yes ? RAW : 0n)
          const trimmed = has & raw(flag !== '')
          t.strictSame(
            wanted.sets,
            stateOf({
              ...nothing,
              permitted: raw(flag.includes('p')),
              effective: raw(flag.includes('e')),
              inheritable: raw(flag.includes('i') || ambientCapabilities !== ''),
              ambient: raw(ambientCapabilities !== ''),
              bounding: maySet ? trimmed : has,
            }).sets,
            title,
          )
          t.equal(
            findings.some(({ code }) => code === 'HARDEN_BOUNDING_KEPT'),
            !maySet && trimmed !== has,
            title,
          )
        }
})

t.test('whoever may call chroot(2) gets out of a chroot', async (t) => {
  const inheriting = { ...root, ...lacking(SYS_CHROOT), inheritable: SYS_CHROOT }
  const asRoot = { user: 0, group: 0 }
  const descriptors = openDescriptors()
  const refused: [string, HardenOptions, Masked][] = [
    ...['+ep', '+p', '+i', '+eip', '+ip'].map((flags): [string, HardenOptions, Masked] => [
      flags,
      { ...become, capabilities: `cap_sys_chroot${flags}` },
      root,
    ]),
    ['one of several', { ...become, capabilities: 'cap_kill,cap_sys_chroot+p cap_net_raw+ep' }, root],
    ['all', { ...become, capabilities: 'all=ep' }, root],
    ['all inheritable', { ...become, capabilities: 'all=i' }, root],
    ['ambient', { ...become, capabilities: 'cap_sys_chroot+p', ambientCapabilities: 'cap_sys_chroot' }, root],
    ['root with all it has', asRoot, root],
    ['root with what it inherits', asRoot, inheriting],
    ['a plain user', { capabilities: 'cap_sys_chroot+ep' }, plain],
  ]
  for (const [title, options, before] of refused) {
    const error = refusal({ ...options, chroot: '/' }, before)
    t.match(error, { code: 'ERR_HARDEN_CHROOT_ESCAPE', option: 'chroot' }, title)
    t.match(error.message, /^cap_sys_chroot would be retained/)
    t.match(error.remedy, /leave cap_sys_chroot out of 'capabilities', or 'chroot' out/)
    t.equal(makePlan(options, before).wanted.jailed, false, `${title}, without chroot`)
  }
  const accepted: [string, HardenOptions, Masked][] = [
    ['others', { ...become, capabilities: 'all=ep cap_sys_chroot-ep' }, root],
    ['root with nothing', { ...asRoot, capabilities: '' }, root],
    ['root without that', asRoot, { ...root, ...lacking(SYS_CHROOT) }],
    ['a user who inherits it no more', become, inheriting],
  ]
  for (const [title, options, before] of accepted)
    t.equal(makePlan({ ...options, chroot: '/' }, before).wanted.jailed, true, title)
  t.equal(openDescriptors(), descriptors, 'none is left open')
})

t.test('the root of a plan is open', async (t) => {
  const before = openDescriptors()
  const { root: opened } = open({ ...become, chroot: '/proc' }, root)
  t.equal(openDescriptors(), before + 1)
  t.equal(opened?.path, '/proc')
  closeRoot(opened)
  t.equal(openDescriptors(), before)
  t.equal(open(become, root).root, undefined)
})

t.test('what the rehearsing child is asked', async (t) => {
  const read = (path: string, index: number) => ({
    ...{ kind: 'read', path, number: 0, option: `rehearse.read[${index}]`, role: '' },
  })
  const write = (path: string, index: number) => ({
    kind: 'write',
    path,
    number: 0,
    option: `rehearse.write[${index}]`,
    role: '',
  })
  const listen = (port: number, index: number) => ({
    kind: 'bind',
    path: '',
    number: port,
    option: `rehearse.bind[${index}]`,
    role: '',
  })
  const table: [string, HardenOptions['rehearse'], object[]][] = [
    ['nothing asked for', undefined, []],
    ['nothing', {}, []],
    ['nothing of each kind', { read: [], write: [], bind: [] }, []],
    ['undefined of each kind', { read: undefined, write: undefined, bind: undefined }, []],
    ['files to read', { read: ['/etc/a', '/etc/b'] }, [read('/etc/a', 0), read('/etc/b', 1)]],
    ['files to write', { write: ['/var/a', '/var/b'] }, [write('/var/a', 0), write('/var/b', 1)]],
    ['ports', { bind: [25, 65535] }, [listen(25, 0), listen(65535, 1)]],
    [
      'everything, in the order read, write, bind, and each as often as it is named',
      { bind: [587, 25, 25], write: ['/spool', '/spool'], read: ['/b', '/a', '/b'] },
      [
        ...[read('/b', 0), read('/a', 1), read('/b', 2)],
        ...[write('/spool', 0), write('/spool', 1)],
        ...[listen(587, 0), listen(25, 1), listen(25, 2)],
      ],
    ],
  ]
  for (const [title, rehearse, questions] of table) {
    const plan = makePlan({ ...bind, rehearse }, root)
    t.strictSame(plan.questions, questions, title)
    t.ok(Object.isFrozen(plan.questions))
    const { accounts } = plan
    t.strictSame(plan, { ...makePlan(bind, root), questions, accounts }, 'it makes no other difference')
  }
})

t.test('what it is asked about a chroot', async (t) => {
  const exchange = { kind: 'exchange', path: '/proc', number: 0, option: 'chroot', role: '' }
  const read = { kind: 'read', path: '/etc/a', number: 0, option: 'rehearse.read[0]', role: '' }
  const asked = (options: HardenOptions, before = root) => makePlan({ ...options, chroot: '/proc' }, before).questions
  t.strictSame(asked(become), [exchange])
  t.strictSame(asked({ ...become, rehearse: { read: ['/etc/a'] } }), [exchange, read], 'first')
  t.strictSame(asked({}, plain), [exchange], 'a plain user')
  t.strictSame(asked({ user: 0, group: 0, capabilities: '' }), [], 'root could exchange everything')
})

t.test('a plan is frozen', async (t) => {
  const plan = makePlan({ ...bind, user: 0, rehearse: { bind: [25] } }, root)
  for (const part of [plan, plan.questions, plan.findings]) t.ok(Object.isFrozen(part))
})

t.test('in a user namespace 65534 may be an id that is not mapped: there the kernel is asked', async (t) => {
  const overflow = 65534
  const steps = (map: string | Error, id: number) => {
    const asked: string[] = []
    const { decide } = t.mockRequire<typeof import('../lib/platform/linux/plan')>('../lib/platform/linux/plan', {
      '../lib/native': addon,
      'node:fs': {
        ...fs,
        openSync: (path: string) => path,
        readFileSync: (path: string) => {
          asked.push(path)
          if (map instanceof Error) throw map
          return map
        },
        closeSync: () => {},
      },
    })
    const state = { ...plain, user: allFour(id), group: allFour(id), bounding: 0n, noNewPrivileges: true }
    const request = { options: {}, uid: id, gid: id, groups: undefined }
    return { steps: decide(request, observed(state), []).steps.join(', '), asked }
  }
  const maps = ['/proc/self/gid_map', '/proc/self/uid_map']
  const some = [
    '         0     100000      65534\n',
    '0 1000 1\n 65534 165534 1\n',
    '1 100001 65534\n',
    '0 100000 65536\n',
  ]
  for (const map of [...some, '', '0 0 65536\n', '         1          1 4294967295\n', new Error('ENOENT')])
    t.strictSame(steps(map, overflow), { steps: 'setresgid, setresuid, capset', asked: maps }, `${map}`)
  const all = '         0          0 4294967295\n'
  t.strictSame(steps(all, overflow), { steps: 'capset', asked: maps }, all)
  t.strictSame(steps('', 1000), { steps: 'capset', asked: [] }, 'any other id is what it looks like')
})

function refusal(options: HardenOptions, before: Masked): HardenError {
  try {
    makePlan(options, before)
  } catch (error) {
    if ((error as Error).name === 'HardenError') return error as HardenError
    throw error
  }
  throw new Error('it was not refused')
}

t.test('with 0 among its user ids a process has to name a user', async (t) => {
  const befores = [root, ...(['real', 'effective', 'saved', 'fs'] as const).map(oneOfThemRoot)]
  for (const before of befores)
    for (const options of [{}, { group: 1000 }, { capabilities: 'cap_net_bind_service+ep' }]) {
      const error = refusal(options, before)
      t.equal(error.code, 'ERR_HARDEN_USER_REQUIRED', JSON.stringify([options, before.user]))
      t.equal(error.option, 'user')
      t.ok(error.remedy)
    }
})

function oneOfThemRoot(which: keyof Ids): Masked {
  return { ...plain, user: { ...plain.user, [which]: 0 } }
}

t.test('what is wrong with names and text comes out of the plan', async (t) => {
  for (const [options, code, option] of [
    [{ user: 'no-such-account' }, 'ERR_UNKNOWN_CREDENTIAL', 'user'],
    [{ ...become, group: '0day' }, 'ERR_UNKNOWN_CREDENTIAL', 'group'],
    [{ ...become, supplementalGroups: ['4294967295'] }, 'ERR_INVALID_ARG_VALUE', 'supplementalGroups[0]'],
    [{ ...become, capabilities: 'cap_net_raw+EP' }, 'ERR_HARDEN_CAPABILITIES', 'capabilities'],
    [{ ...become, capabilities: 'cap_net_raw+e' }, 'ERR_HARDEN_CAPABILITIES', 'capabilities'],
    [{ user: 0, group: 0, capabilities: 'nonsense' }, 'ERR_HARDEN_CAPABILITIES', 'capabilities'],
    [{ ...become, ambientCapabilities: 'cap_net_raw' }, 'ERR_HARDEN_CAPABILITIES', 'ambientCapabilities'],
    [{ ...bind, ambientCapabilities: 'cap_net_raw' }, 'ERR_HARDEN_CAPABILITIES', 'ambientCapabilities'],
    [{ ...bind, ambientCapabilities: 'nonsense' }, 'ERR_HARDEN_CAPABILITIES', 'ambientCapabilities'],
    [
      { ...become, capabilities: 'cap_net_raw+i', ambientCapabilities: 'cap_net_raw' },
      'ERR_HARDEN_CAPABILITIES',
      'ambientCapabilities',
    ],
    [{ ...become, chroot: '/no/such/directory' }, 'ERR_HARDEN_NOT_PERMITTED', 'chroot'],
    // the directory is opened last
    [{ user: 'no-such-account', chroot: '/no/such/directory' }, 'ERR_UNKNOWN_CREDENTIAL', 'user'],
    [{ ...become, capabilities: 'nonsense', chroot: '/no/such/directory' }, 'ERR_HARDEN_CAPABILITIES', 'capabilities'],
    [{ ...become, capabilities: 'all=ep', chroot: '/no/such/directory' }, 'ERR_HARDEN_CHROOT_ESCAPE', 'chroot'],
  ] as const) {
    const error = refusal(options, root)
    t.equal(error.code, code, JSON.stringify(options))
    t.equal(error.option, option)
    t.ok(error.remedy)
  }
})

t.test('whatever the state and the options, a plan hangs together', async (t) => {
  const order =
    'chroot,bounding,setgroups,setresgid,keepcaps,setresuid,capset,keepcaps back,ambient,no_new_privs'.split(',')
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T
  const ids = (): Ids =>
    pick([allFour(0), allFour(1000), { real: 1000, effective: 0, saved: 1000, fs: 0 }, allFour(1001)])
  const set = () => pick([0n, BIND, RAW, BIND | RAW, FULL, FULL & ~SETPCAP, FULL & ~SETGID])
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
  /** A text, and what it permits and lets inherit; undefined: whatever holds already. */
  const texts: [string | undefined, bigint?, bigint?][] = [
    [undefined],
    ['', 0n, 0n],
    ['cap_net_bind_service+ep', BIND, 0n],
    ['cap_net_raw+p cap_net_bind_service+i', RAW, BIND],
    ['all=ep', FULL, 0n],
    ['63+p', 0n, 0n],
  ]
  const ambients: [string | undefined, bigint][] = [
    [undefined, 0n],
    ['', 0n],
    ['cap_net_raw', RAW],
    ['cap_net_bind_service,cap_net_raw', BIND | RAW],
  ]
  const descriptors = openDescriptors()
  const outcomes: Record<string, number> = {}
  for (let round = 0; round < 5000; round++) {
    const has = set()
    const before: Masked = {
      ...root,
      user: ids(),
      group: ids(),
      groups: pick([[], [0], [8, 12]]),
      permitted: has,
      effective: has & set(),
      inheritable: set(),
      bounding: set(),
      ambient: pick([0n, 0n, has & RAW]),
      securebits: pick([0, 0, NO_SETUID_FIXUP, KEEP_CAPS]),
      noNewPrivileges: pick([true, false]),
    }
    const user = pick([0, 1000, 1001])
    const group = pick([0, 1000, 8])
    const [capabilities, permitted = user ? 0n : before.permitted, ownInheritable = user ? 0n : before.inheritable] =
      pick(texts)
    const [ambientCapabilities, ambient] = pick(ambients)
    const inheritable = ownInheritable | ambient
    const options: HardenOptions = {
      user,
      group,
      supplementalGroups: pick([undefined, [], [12, 8], [0]]),
      capabilities,
      ambientCapabilities,
      chroot: pick([undefined, undefined, '/']),
      noNewPrivileges: pick([undefined, true, false]),
    }
    const escapes = options.chroot && (permitted | inheritable) & SYS_CHROOT
    const code = ambient & ~permitted ? 'ERR_HARDEN_CAPABILITIES' : escapes ? 'ERR_HARDEN_CHROOT_ESCAPE' : 'none'
    outcomes[code] = (outcomes[code] ?? 0) + 1
    if (code !== 'none') {
      if (refusal(options, before).code === code) continue
      return t.fail(code, { found: inspect({ before, options }) })
    }
    const { wanted, steps, root: opened } = makePlan(options, before)
    const mask = (names: readonly string[] | undefined) => maskOf(names ?? [])
    const sets = {
      permitted: mask(wanted.sets.permitted),
      effective: mask(wanted.sets.effective),
      inheritable: mask(wanted.sets.inheritable),
      bounding: mask(wanted.sets.bounding),
      ambient: mask(wanted.sets.ambient),
    }
    const due = (step: string) => (steps as readonly string[]).includes(step)
    const losesRoot = user !== 0 && Object.values(before.user).includes(0)
    const promises: Record<string, boolean> = {
      'the asked user': same(wanted.user, allFour(user)),
      'the asked group': same(wanted.group, allFour(group)),
      'in order, each once': same(steps, order.filter(due)),
      'permitted as asked': sets.permitted === permitted,
      'inheritable as asked, with the ambient ones': sets.inheritable === inheritable,
      'ambient as asked': sets.ambient === ambient,
      'effective within permitted': (sets.effective & ~sets.permitted) === 0n,
      'bounding never grows': (sets.bounding & ~before.bounding) === 0n,
      'bounding has what it had of the others': (before.bounding & (permitted | inheritable) & ~sets.bounding) === 0n,
      'no_new_privs never goes':
        wanted.noNewPrivileges || (!before.noNewPrivileges && options.noNewPrivileges === false),
      'inside, if asked for': wanted.jailed === (options.chroot !== undefined),
      'its root': opened?.path === options.chroot,
      always: due('capset'),
      setresgid: due('setresgid') === !same(wanted.group, before.group),
      setresuid: due('setresuid') === !same(wanted.user, before.user),
      chroot: due('chroot') === wanted.jailed,
      bounding: due('bounding') === (sets.bounding !== before.bounding),
      setgroups:
        due('setgroups') ===
        (!same(wanted.groups, before.groups) || (before.groups.length > 0 && (before.permitted & SETGID) !== 0n)),
      ambient: due('ambient') === ((ambient | before.ambient) !== 0n),
      no_new_privs: due('no_new_privs') === (wanted.noNewPrivileges !== before.noNewPrivileges),
      keepcaps: due('keepcaps') === (losesRoot && (permitted | inheritable) !== 0n && before.securebits === 0),
      'keepcaps there and back': due('keepcaps') === due('keepcaps back'),
    }
    for (const [promise, kept] of Object.entries(promises))
      if (!kept) return t.fail(promise, { found: inspect({ before, options, wanted, steps }) })
  }
  t.ok(Object.keys(outcomes).length === 3 && Object.values(outcomes).every((count) => count > 50), inspect(outcomes))
  t.equal(openDescriptors(), descriptors)
})

t.test('permitted, but not effective: what it comes to', async (t) => {
  const noted = (capabilities: string) =>
    makePlan({ ...become, capabilities }, root).findings.filter(({ code }) => code === 'HARDEN_NOT_EFFECTIVE')
  t.strictSame(noted('cap_net_bind_service+p cap_kill+ep'), [
    {
      code: 'HARDEN_NOT_EFFECTIVE',
      level: 'note',
      message:
        'cap_net_bind_service: permitted, but not effective, so bind(2) to a port below 1024 fails, and nothing in Node can raise it later',
      remedy: "'cap_net_bind_service+ep' in 'capabilities' makes it usable",
    },
  ])
  t.match(noted('cap_kill,cap_chown+p'), [{ message: /^cap_chown, cap_kill: .* so calls that need it are refused, / }])
  t.strictSame(noted('cap_kill+ep cap_net_raw+i'), [])
})
