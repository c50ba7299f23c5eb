/** Promise: the plan is exactly what was asked for, with every step that it takes and none that it does not. */
import t from 'tap'
import type { Credentials, Ids, ThreadState } from '../lib/audit'
import { CAP_SETGID, CAP_SETPCAP, CAP_SETUID, kernelMask } from '../lib/capabilities'
import type { HardenError } from '../lib/errors'
import type { HardenOptions } from '../lib/options'
import { makePlan } from '../lib/plan'

const FULL = kernelMask()
const BIND = 1n << 10n
const RAW = 1n << 13n
const NO_SETUID_FIXUP = 1 << 2
const KEEP_CAPS = 1 << 4
const KEEP_CAPS_LOCKED = 1 << 5

const only = (id: number): Ids => ({ real: id, effective: id, saved: id, fs: id })
const lacking = (...capabilities: bigint[]) => {
  const rest = capabilities.reduce((set, capability) => set & ~capability, FULL)
  return { permitted: rest, effective: rest }
}

const root: ThreadState = {
  tid: 4711,
  name: 'node',
  user: only(0),
  group: only(0),
  groups: [],
  permitted: FULL,
  effective: FULL,
  inheritable: 0n,
  bounding: FULL,
  ambient: 0n,
  securebits: 0,
  noNewPrivileges: false,
}
const plain: ThreadState = { ...root, user: only(1000), group: only(1000), permitted: 0n, effective: 0n }
const withAmbient: ThreadState = { ...plain, permitted: BIND, effective: BIND, inheritable: BIND, ambient: BIND }

/** An ordinary user who retains nothing. */
const nothing: Credentials = {
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
}
const bindOnly = { permitted: BIND, effective: BIND, bounding: BIND }
const rootStill = { ...nothing, user: only(0), group: only(0), permitted: FULL, effective: FULL, bounding: FULL }

const become = { user: 1000, group: 1000 }
const bind = { ...become, capabilities: 'cap_net_bind_service+ep' }

const DROP = 'bounding setresgid setresuid capset no_new_privs'
const DROP_AND_KEEP = 'bounding setresgid keepcaps setresuid capset|keepcaps back|no_new_privs'

interface Case {
  title: string
  options: HardenOptions
  before: ThreadState
  /** What differs from `nothing`. */
  wanted?: Partial<Credentials>
  /** Names separated by spaces, or by | around one that has a space. */
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
    steps: 'bounding setresgid setresuid capset ambient no_new_privs',
  },

  // ids and groups
  {
    title: 'a group that holds already',
    options: { user: 1000, group: 0 },
    before: root,
    wanted: { group: only(0) },
    steps: 'bounding setresuid capset no_new_privs',
  },
  {
    title: 'the largest ids',
    options: { user: 4294967294, group: 4294967293 },
    before: root,
    wanted: { user: only(4294967294), group: only(4294967293) },
    steps: DROP,
  },
  {
    title: 'groups that nobody asked for go',
    options: become,
    before: { ...root, groups: [0, 4, 27] },
    steps: `bounding setgroups setresgid setresuid capset no_new_privs`,
  },
  {
    title: 'so do they if none are asked for',
    options: { ...become, supplementalGroups: [] },
    before: { ...root, groups: [0] },
    steps: `bounding setgroups setresgid setresuid capset no_new_privs`,
  },
  {
    title: 'groups asked for come',
    options: { ...become, supplementalGroups: [12, 8, 12] },
    before: root,
    wanted: { groups: [8, 12] },
    steps: `bounding setgroups setresgid setresuid capset no_new_privs`,
  },
  {
    title: 'groups that hold already',
    options: { ...become, supplementalGroups: [12, 8] },
    before: { ...root, groups: [8, 12] },
    wanted: { groups: [8, 12] },
    steps: DROP,
  },
  {
    title: 'not the same groups, although the digits are',
    options: { ...become, supplementalGroups: [1, 2] },
    before: { ...root, groups: [12] },
    wanted: { groups: [1, 2] },
    steps: `bounding setgroups setresgid setresuid capset no_new_privs`,
  },
  ...(['real', 'effective', 'saved', 'fs'] as const).flatMap((which): Case[] => [
    {
      title: `only the ${which} group id differs`,
      options: become,
      before: { ...root, group: { ...only(1000), [which]: 0 } },
      steps: DROP,
    },
    {
      title: `only the ${which} user id is 0`,
      options: bind,
      before: { ...root, user: { ...only(1000), [which]: 0 } },
      wanted: bindOnly,
      steps: DROP_AND_KEEP,
    },
    {
      title: `only the ${which} user id differs, and none is 0`,
      options: { ...bind, user: 1000 },
      before: { ...root, user: { ...only(1000), [which]: 1001 } },
      wanted: bindOnly,
      steps: 'bounding setresgid setresuid capset no_new_privs',
    },
  ]),

  // what root may lack
  {
    title: 'root without CAP_SETPCAP keeps the bounding set',
    options: become,
    before: { ...root, ...lacking(CAP_SETPCAP) },
    wanted: { bounding: FULL },
    steps: 'setresgid setresuid capset no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'which is a danger if programs can gain from it',
    options: { ...become, noNewPrivileges: false },
    before: { ...root, ...lacking(CAP_SETPCAP) },
    wanted: { bounding: FULL, noNewPrivileges: false },
    steps: 'setresgid setresuid capset',
    findings: 'HARDEN_BOUNDING_KEPT danger',
  },
  {
    title: 'and nothing at all where it is as it should be',
    options: bind,
    before: { ...root, ...lacking(CAP_SETPCAP), bounding: BIND },
    wanted: bindOnly,
    steps: 'setresgid keepcaps setresuid capset|keepcaps back|no_new_privs',
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
    before: { ...root, ...lacking(CAP_SETGID), groups: [0, 4] },
    wanted: { groups: [0, 4] },
    steps: DROP,
    findings: 'HARDEN_GROUPS_KEPT note',
  },
  {
    title: 'unless they are asked to go: that is for the rehearsal to refuse',
    options: { ...become, supplementalGroups: [] },
    before: { ...root, ...lacking(CAP_SETGID), groups: [0, 4] },
    steps: 'bounding setgroups setresgid setresuid capset no_new_privs',
  },
  {
    title: 'or are what is asked for',
    options: { ...become, supplementalGroups: [4, 0] },
    before: { ...root, ...lacking(CAP_SETGID), groups: [0, 4] },
    wanted: { groups: [0, 4] },
    steps: DROP,
  },
  {
    title: 'or there are none',
    options: become,
    before: { ...root, ...lacking(CAP_SETGID) },
    steps: DROP,
  },
  {
    title: 'root without CAP_SETUID: for the rehearsal to refuse',
    options: become,
    before: { ...root, ...lacking(CAP_SETUID) },
    steps: DROP,
  },
  {
    title: 'root with no capability at all',
    options: become,
    before: { ...root, permitted: 0n, effective: 0n, groups: [7] },
    wanted: { groups: [7], bounding: FULL },
    steps: 'setresgid setresuid capset no_new_privs',
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
    steps: 'bounding setresgid setresuid capset',
  },
  {
    title: 'no_new_privs is set, and cannot be unset',
    options: { ...become, noNewPrivileges: false },
    before: { ...root, noNewPrivileges: true },
    steps: 'bounding setresgid setresuid capset',
  },
  {
    title: 'no_new_privs is not wanted',
    options: { ...become, noNewPrivileges: false },
    before: root,
    wanted: { noNewPrivileges: false },
    steps: 'bounding setresgid setresuid capset',
  },
  { title: 'no_new_privs by name', options: { ...become, noNewPrivileges: true }, before: root, steps: DROP },

  // user root
  {
    title: 'root stays root, with all it has',
    options: { user: 0, group: 0 },
    before: root,
    wanted: rootStill,
    steps: 'capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'by whatever spelling',
    options: { user: '0', group: '00' },
    before: root,
    wanted: rootStill,
    steps: 'capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: '-0 is 0',
    options: { user: -0, group: -0 },
    before: root,
    wanted: rootStill,
    steps: 'capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root by name, with its primary group',
    options: { user: 'root' },
    before: root,
    wanted: rootStill,
    steps: 'capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root stays, and has less already',
    options: { user: 0, group: 0 },
    before: { ...root, permitted: BIND | RAW, effective: RAW, inheritable: RAW, bounding: BIND, ambient: RAW },
    wanted: { ...rootStill, permitted: BIND | RAW, effective: RAW, inheritable: RAW, bounding: BIND },
    steps: 'capset ambient no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root comes back from another effective user, and with it what is permitted',
    options: { user: 0, group: 0 },
    before: { ...root, user: { real: 0, effective: 1000, saved: 0, fs: 1000 }, effective: 0n },
    wanted: rootStill,
    steps: 'setresuid capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root stays, with a text: exactly that',
    options: { user: 0, group: 0, capabilities: 'cap_net_bind_service+ep' },
    before: root,
    wanted: { ...rootStill, ...bindOnly },
    steps: 'bounding capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: "root stays, with '': nothing",
    options: { user: 0, group: 0, capabilities: '' },
    before: root,
    wanted: { user: only(0), group: only(0) },
    steps: 'bounding capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },
  {
    title: 'root stays, and lacks CAP_SETPCAP, which it takes only with a text',
    options: { user: 0, group: 0 },
    before: { ...root, ...lacking(CAP_SETPCAP) },
    wanted: { ...rootStill, ...lacking(CAP_SETPCAP) },
    steps: 'capset no_new_privs',
    findings: 'HARDEN_USER_ROOT danger',
  },

  // not root to begin with
  {
    title: 'a plain user',
    options: {},
    before: plain,
    wanted: { bounding: FULL },
    steps: 'capset no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user who names himself',
    options: become,
    before: plain,
    wanted: { bounding: FULL },
    steps: 'capset no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user with groups',
    options: {},
    before: { ...plain, groups: [27, 1000] },
    wanted: { groups: [27, 1000], bounding: FULL },
    steps: 'capset no_new_privs',
    findings: 'HARDEN_GROUPS_KEPT note, HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user hardened from outside: only capset is left',
    options: {},
    before: { ...plain, bounding: 0n, noNewPrivileges: true },
    steps: 'capset',
  },
  {
    title: 'a plain user with an ambient capability retains it, but not as ambient',
    options: { capabilities: 'cap_net_bind_service+ep' },
    before: withAmbient,
    wanted: { ...bindOnly, bounding: FULL },
    steps: 'capset ambient no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'or does not',
    options: {},
    before: { ...withAmbient, bounding: BIND },
    wanted: { bounding: BIND },
    steps: 'capset ambient no_new_privs',
    findings: 'HARDEN_BOUNDING_KEPT note',
  },
  {
    title: 'a plain user with CAP_SETPCAP and CAP_SETGID can do more',
    options: {},
    before: { ...plain, permitted: CAP_SETPCAP | CAP_SETGID, effective: CAP_SETPCAP | CAP_SETGID, groups: [27] },
    steps: 'bounding setgroups capset no_new_privs',
  },
  {
    title: 'a plain user who asks for somebody else: for the rehearsal to refuse',
    options: { user: 1001, group: 1001 },
    before: plain,
    wanted: { user: only(1001), group: only(1001), bounding: FULL },
    steps: 'setresgid setresuid capset no_new_privs',
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
    wanted: { user: only(1001), group: only(101) },
    steps: 'setresgid setresuid capset no_new_privs',
  },
  {
    title: 'the group alone',
    options: { group: 8 },
    before: { ...plain, bounding: 0n },
    wanted: { group: only(8) },
    steps: 'setresgid capset no_new_privs',
  },
]

for (const { title, options, before, wanted, steps, findings } of cases)
  t.test(title, async (t) => {
    const plan = makePlan(options, before)
    t.strictSame(plan.wanted, { ...nothing, ...wanted })
    t.strictSame(plan.steps, steps.includes('|') ? steps.split('|').flatMap(separate) : steps.split(' '))
    t.equal(plan.boundingDrop, before.bounding & ~plan.wanted.bounding)
    t.equal(plan.findings.map(({ code, level }) => `${code} ${level}`).join(', '), findings ?? '')
    t.ok(plan.findings.every(({ message, remedy }) => message && remedy))
  })

function separate(words: string): string[] {
  return words === 'keepcaps back' ? [words] : words.split(' ')
}

t.test('what the bounding set loses is what it has', async (t) => {
  t.equal(makePlan(bind, root).boundingDrop, FULL & ~BIND)
  t.equal(makePlan(bind, { ...root, bounding: BIND | RAW }).boundingDrop, RAW)
  t.equal(makePlan(bind, { ...root, bounding: 0n }).boundingDrop, 0n)
  t.equal(makePlan(become, { ...root, ...lacking(CAP_SETPCAP) }).boundingDrop, 0n)
})

t.test('a plan is frozen', async (t) => {
  const plan = makePlan({ ...bind, user: 0 }, root)
  for (const part of [plan, plan.wanted, plan.steps, plan.findings]) t.ok(Object.isFrozen(part))
})

function refusal(options: HardenOptions, before: ThreadState): HardenError {
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

function oneOfThemRoot(which: keyof Ids): ThreadState {
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
  ] as const) {
    const error = refusal(options, root)
    t.equal(error.code, code, JSON.stringify(options))
    t.equal(error.option, option)
    t.ok(error.remedy)
  }
})

t.test('whatever the state and the options, a plan hangs together', async (t) => {
  const order = 'bounding,setgroups,setresgid,keepcaps,setresuid,capset,keepcaps back,ambient,no_new_privs'.split(',')
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T
  const ids = (): Ids => pick([only(0), only(1000), { real: 1000, effective: 0, saved: 1000, fs: 0 }, only(1001)])
  const set = () => pick([0n, BIND, RAW, BIND | RAW, FULL, FULL & ~CAP_SETPCAP, FULL & ~CAP_SETGID])
  const text = [undefined, '', 'cap_net_bind_service+ep', 'cap_net_raw+p cap_net_bind_service+i', 'all=ep', '63+p']
  for (let round = 0; round < 5000; round++) {
    const permitted = set()
    const before: ThreadState = {
      ...root,
      user: ids(),
      group: ids(),
      groups: pick([[], [0], [8, 12]]),
      permitted,
      effective: permitted & set(),
      inheritable: set(),
      bounding: set(),
      ambient: pick([0n, 0n, permitted & RAW]),
      securebits: pick([0, 0, NO_SETUID_FIXUP, KEEP_CAPS]),
      noNewPrivileges: pick([true, false]),
    }
    const options: HardenOptions = {
      user: pick([0, 1000, 1001]),
      group: pick([undefined, 0, 1000]) ?? 8,
      supplementalGroups: pick([undefined, [], [12, 8], [0]]),
      capabilities: pick(text),
      noNewPrivileges: pick([undefined, true, false]),
    }
    const { wanted, steps, boundingDrop } = makePlan(options, before)
    const due = (step: string) => (steps as readonly string[]).includes(step)
    const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
    const promises: Record<string, boolean> = {
      'the asked user': same(wanted.user, only(options.user as number)),
      'the asked group': same(wanted.group, only(options.group as number)),
      'in order, each once': same(steps, order.filter(due)),
      'effective within permitted': (wanted.effective & ~wanted.permitted) === 0n,
      'bounding never grows': (wanted.bounding & ~before.bounding) === 0n,
      'what the bounding set loses': boundingDrop === (before.bounding & ~wanted.bounding),
      'no ambient capabilities': wanted.ambient === 0n,
      'no_new_privs never goes':
        wanted.noNewPrivileges || (!before.noNewPrivileges && options.noNewPrivileges === false),
      'capset always': due('capset'),
      bounding: due('bounding') === (boundingDrop !== 0n),
      setgroups: due('setgroups') === !same(wanted.groups, before.groups),
      setresgid: due('setresgid') === !same(wanted.group, before.group),
      setresuid: due('setresuid') === !same(wanted.user, before.user),
      ambient: due('ambient') === (before.ambient !== 0n),
      no_new_privs: due('no_new_privs') === (wanted.noNewPrivileges !== before.noNewPrivileges),
      'keepcaps there and back': due('keepcaps') === due('keepcaps back'),
      'keepcaps only with setresuid': !due('keepcaps') || due('setresuid'),
    }
    for (const [promise, kept] of Object.entries(promises))
      if (!kept) return t.fail(promise, { before: String(Object.entries(before)), options })
  }
  t.pass()
})
