/** Promise: every refusal of the kernel becomes an error that says which step, call, errno and thread, and what to do. */
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import t, { type Test } from 'tap'
import { type Ids, parseTask, type ThreadState } from '../lib/audit'
import { CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_CHROOT } from '../lib/capabilities'
import type { HardenError } from '../lib/errors'
import {
  type Failure,
  type Native,
  type NativePlan,
  native,
  type Reading,
  type Step,
  type TaskText,
} from '../lib/native'
import type { Plan } from '../lib/plan'
import type { Observation } from '../lib/platform/index'

const { EPERM, EACCES, EAGAIN, EMFILE, ENOMEM, EINVAL, ENOENT, ESRCH, ETIMEDOUT } = constants.errno
const BIND = 1n << 10n
const RAW = 1n << 13n
const FULL = (1n << 41n) - 1n

const only = (id: number): Ids => ({ real: id, effective: id, saved: id, fs: id })
const root: ThreadState = {
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
const plan: Plan = {
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
  findings: [],
}
const opened = { path: '/srv/mail', descriptor: 17 }
const seen = (before: Partial<ThreadState> = {}): Observation => ({
  state: { ...root, ...before },
  token: new ArrayBuffer(8),
})

/** The kernel's text about a thread in this state. */
function statusOf({ name, user, group, groups, ...state }: Omit<ThreadState, 'tid' | 'securebits' | 'jailed'>): string {
  const ids = ({ real, effective, saved, fs }: Ids) => [real, effective, saved, fs].join('\t')
  const mask = (set: bigint) => set.toString(16).padStart(16, '0')
  return `Name:\t${name}
Pid:\t4711
Uid:\t${ids(user)}
Gid:\t${ids(group)}
Groups:\t${groups.join(' ')} \nNSpid:\t${process.pid}
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
const hardened = statusOf({ name: 'node', ...plan.wanted })

function readingOf(...statuses: string[]): Reading {
  const tasks = statuses.map((status, index) => ({ tid: 4711 + index, status, securebits: 0, jailed: false }))
  return { tasks, dumpable: 0, parkMicroseconds: 1, applyMicroseconds: 2, readMicroseconds: 3 }
}

/** lib/platform/linux.ts on a kernel that answers this; `status` is the text of any thread, undefined if it has ended. */
function linuxOn(t: Test, answers: Partial<Native>, status?: string) {
  const fake = { capabilityNames: () => native().capabilityNames(), ...answers }
  const { linux } = t.mockRequire<typeof import('../lib/platform/linux')>('../lib/platform/linux', {
    '../lib/native': { native: () => fake },
    'node:fs': {
      readFileSync: () => {
        if (status === undefined) throw new Error('ENOENT')
        return status
      },
    },
  })
  return linux
}

function refusal(call: () => unknown): HardenError {
  try {
    call()
  } catch (error) {
    // a mocked module throws a class of its own
    if ((error as Error).name === 'HardenError') return error as HardenError
    throw error
  }
  throw new Error('it was not refused')
}

const syscalls: Record<Step, string> = {
  chroot: 'chroot',
  bounding: 'prctl',
  setgroups: 'setgroups',
  setresgid: 'setresgid',
  keepcaps: 'prctl',
  setresuid: 'setresuid',
  capset: 'capset',
  'keepcaps back': 'prctl',
  ambient: 'prctl',
  no_new_privs: 'prctl',
}
const failure = (step: string, fields: Partial<Failure>): Failure => ({
  step,
  syscall: syscalls[step as Step] ?? { 'rehearsal child': 'clone', memory: 'mmap', proc: 'open' }[step] ?? 'other',
  errno: 0,
  signal: 0,
  tid: 0,
  ...fields,
})

t.test('observe', async (t) => {
  const status = statusOf(root)
  const credentials = new ArrayBuffer(8)
  const on = (text: string) => linuxOn(t, { observe: () => ({ status: text, securebits: 5, credentials }) })

  const { state, token } = on(status).observe()
  t.strictSame(state, { ...root, securebits: 5 })
  t.equal(token, credentials)
  t.strictSame(on(status.replace(/^NSpid.*\n/m, '')).observe().state.user, only(0), 'a kernel without pid namespaces')

  for (const pids of [`${process.pid}\t7`, `7\t${process.pid}`, `${process.pid}0`, '1', ''])
    t.match(
      refusal(() => on(status.replace(/^NSpid:.*$/m, `NSpid:\t${pids}`)).observe()),
      { code: 'ERR_HARDEN_PROC', step: 'proc', remedy: /mount/ },
      `a /proc that shows the process as ${JSON.stringify(pids)}`,
    )
})

t.test('observe: no /proc', async (t) => {
  for (const errno of [ENOENT, EPERM]) {
    const error = refusal(() => linuxOn(t, { observe: () => failure('proc', { errno }) }).observe())
    t.match(error, { code: 'ERR_HARDEN_PROC', step: 'proc', message: /open: E/, remedy: /mount/ })
    t.equal(error.errno, -errno)
    t.equal(error.syscall, 'open')
  }
})

t.test('rehearse: what the native code is given', async (t) => {
  const given: NativePlan[] = []
  const rehearse = (nativePlan: NativePlan) => {
    given.push(nativePlan)
    return readingOf(hardened)
  }
  const linux = linuxOn(t, { rehearse })
  const observation = seen()
  t.equal(linux.rehearse(plan, observation), undefined)
  const { before, groups, ...rest } = given[0] as NativePlan
  t.equal(before, observation.token)
  t.ok(groups instanceof Uint32Array)
  t.strictSame([...groups], [8, 12])
  t.strictSame(rest, {
    steps: plan.steps,
    uid: 990,
    gid: 991,
    permitted: BIND,
    effective: BIND,
    inheritable: 0n,
    ambient: 0n,
    boundingDrop: FULL & ~BIND,
    root: -1,
    keepSigusr1: process.listenerCount('SIGUSR1') > 0,
  })

  // each set in its own place
  const sets = { permitted: 1n, effective: 2n, inheritable: 4n, ambient: 16n }
  const wanted = { ...plan.wanted, ...sets, bounding: 8n }
  t.throws(() => linux.rehearse({ ...plan, wanted, boundingDrop: 32n, root: opened }, observation))
  t.match(given[1], { ...sets, boundingDrop: 32n, root: opened.descriptor })
  t.notOk(given.some((one) => 'bounding' in one))

  const listener = () => {}
  process.on('SIGUSR1', listener)
  t.teardown(() => process.removeListener('SIGUSR1', listener))
  linux.rehearse(plan, observation)
  t.equal(given[2]?.keepSigusr1, true, 'the application listens for SIGUSR1')
  process.removeListener('SIGUSR1', listener)
  linux.rehearse(plan, observation)
  t.equal(given[3]?.keepSigusr1, false)
})

t.test('rehearse: which step is refused, and what to do about it', async (t) => {
  const without = (...capabilities: bigint[]): Partial<ThreadState> => {
    const rest = capabilities.reduce((set, capability) => set & ~capability, FULL)
    return { permitted: rest, effective: rest }
  }
  /** After process.seteuid(): permitted, but not effective. */
  const aside: Partial<ThreadState> = { effective: 0n, user: { real: 0, effective: 990, saved: 0, fs: 990 } }
  const wants = (sets: Partial<Plan['wanted']>): Plan => ({ ...plan, wanted: { ...plan.wanted, ...sets } })

  const none = { permitted: 0n, effective: 0n }
  const asRoot = (name: string) => new RegExp(`^start the process with ${name} \\(in a container: add it\\)$`)
  const asUser = (name: string) => new RegExp(`^start the process as root, with ${name}; .*process.getuid\\(\\) is 0$`)
  const lacks = (names: string) =>
    new RegExp(`^start the process with ${names} \\(in a container: add it\\), or leave it out of 'capabilities'$`)
  const needs: Partial<Record<Step, string>> = {
    chroot: 'cap_sys_chroot',
    bounding: 'cap_setpcap',
    setgroups: 'cap_setgid',
    setresgid: 'cap_setgid',
    setresuid: 'cap_setuid',
  }

  type Row = [string, Failure, Partial<ThreadState>, RegExp, Plan?]
  const table: Row[] = [
    // a capability is lacking
    ['no CAP_SETPCAP', failure('bounding', { errno: EPERM }), without(CAP_SETPCAP), asRoot('cap_setpcap')],
    ['no CAP_SETGID', failure('setgroups', { errno: EPERM }), without(CAP_SETGID), asRoot('cap_setgid')],
    ['no CAP_SETGID', failure('setresgid', { errno: EPERM }), without(CAP_SETGID), asRoot('cap_setgid')],
    ['no CAP_SETUID', failure('setresuid', { errno: EPERM }), without(CAP_SETUID), asRoot('cap_setuid')],
    ['no CAP_SYS_CHROOT', failure('chroot', { errno: EPERM }), without(CAP_SYS_CHROOT), asRoot('cap_sys_chroot')],
    [
      'nothing but others',
      failure('setgroups', { errno: EPERM }),
      { permitted: CAP_SETUID, effective: CAP_SETUID },
      asRoot('cap_setgid'),
    ],
    [
      'it lacks, and securebits are set',
      failure('setgroups', { errno: EPERM }),
      { ...none, securebits: 1 },
      asRoot('cap_setgid'),
    ],

    // nor is it lacking because the process is no root
    ...([1000, 1001] as const).flatMap((id): Row[] => [
      ['a plain user', failure('setresuid', { errno: EPERM }), { ...none, user: only(id) }, asUser('cap_setuid')],
      ['a plain user', failure('bounding', { errno: EPERM }), { ...none, user: only(id) }, asUser('cap_setpcap')],
    ]),
    [
      'another effective user, and nothing permitted',
      failure('setgroups', { errno: EPERM }),
      { ...none, user: aside.user },
      asUser('cap_setgid'),
    ],

    // it is only set aside
    ...Object.entries(needs).flatMap(([step, name]): Row[] => {
      const refused = failure(step, { errno: EPERM })
      const back = new RegExp(`^the process has set root aside: call process.seteuid\\(0\\).* ${name} back$`)
      const raise = new RegExp(`^raise ${name} into the effective set of the process, or start it without$`)
      const user = { real: 990, effective: 990, saved: 990, fs: 990 }
      return [
        ["seteuid'd", refused, aside, back],
        ["seteuid'd, securebits set", refused, { ...aside, securebits: 1 }, back],
        ["seteuid'd, the real user is root", refused, { ...aside, user: { ...user, real: 0 } }, back],
        ["seteuid'd, the saved user is root", refused, { ...aside, user: { ...user, saved: 0 } }, back],
        ['no root at all', refused, { ...aside, user }, raise],
        ['the effective user is root', refused, { ...aside, user: { ...user, effective: 0, fs: 0 } }, raise],
      ]
    }),
    [
      'another one is permitted, and not effective',
      failure('setresuid', { errno: EPERM }),
      { ...aside, permitted: FULL & ~CAP_SETUID },
      asUser('cap_setuid'),
    ],

    // it is there, and yet
    ['with CAP_SETGID', failure('setgroups', { errno: EPERM }), {}, /\/proc\/self\/setgroups/],
    ['with CAP_SETPCAP', failure('bounding', { errno: EPERM }), {}, /find what refuses bounding/],
    ['with CAP_SETGID', failure('setresgid', { errno: EPERM }), {}, /find what refuses setresgid/],
    ['with CAP_SETUID', failure('setresuid', { errno: EPERM }), {}, /find what refuses setresuid/],
    ['with CAP_SYS_CHROOT', failure('chroot', { errno: EPERM }), {}, /find what refuses chroot/],
    ...(['keepcaps', 'keepcaps back', 'ambient', 'no_new_privs', 'chroot', 'setresuid'] as const).flatMap(
      (step): Row[] => [
        [
          'securebits locked',
          failure(step, { errno: EPERM }),
          { securebits: 47 },
          /^start .*without securebits \(now 0x2f;/,
        ],
        ['for whatever reason', failure(step, { errno: EPERM }), {}, new RegExp(`^find what refuses ${step}: `)],
      ],
    ),
    ['for whatever reason', failure('no_new_privs', { errno: EINVAL }), {}, /find what refuses no_new_privs/],
    ['securebits are not why', failure('setgroups', { errno: EPERM }), { securebits: 47 }, /\/proc\/self\/setgroups/],
    [
      'nor does a step of no capability need one',
      failure('ambient', { errno: EPERM }),
      none,
      /find what refuses ambient/,
    ],

    // the directory of a chroot
    [
      'not to be entered',
      failure('chroot', { syscall: 'chdir', errno: EACCES }),
      {},
      /^let the new user enter .*chmod o\+x/,
    ],
    ['not to be entered, nor allowed', failure('chroot', { syscall: 'chdir', errno: EACCES }), none, /chmod o\+x/],
    [
      'not to be entered, why ever',
      failure('chroot', { syscall: 'chdir', errno: EPERM }),
      {},
      /find what refuses chroot/,
    ],
    ['chroot, not chdir', failure('chroot', { errno: EACCES }), {}, /find what refuses chroot/],
    ['EINVAL of a step that sets no id', failure('chroot', { errno: EINVAL }), {}, /find what refuses chroot/],

    // capset
    ['nothing lacks', failure('capset', { errno: EPERM }), {}, /find what refuses capset/],
    ['nothing lacks, securebits set', failure('capset', { errno: EPERM }), { securebits: 1 }, /securebits \(now 0x1;/],
    ['set aside', failure('capset', { errno: EPERM }), aside, /find what refuses capset/],
    ['only capset is about what is retained', failure('ambient', { errno: EPERM }), without(BIND), /refuses ambient/],
    ['one lacks', failure('capset', { errno: EPERM }), without(BIND), lacks('cap_net_bind_service')],
    [
      'one lacks that is not even to be effective',
      failure('capset', { errno: EPERM }),
      without(RAW),
      lacks('cap_net_raw'),
      wants({ permitted: RAW, effective: 0n }),
    ],
    [
      'several lack',
      failure('capset', { errno: EPERM }),
      without(BIND, RAW),
      lacks('cap_net_bind_service, cap_net_raw'),
      wants({ inheritable: RAW }),
    ],
    [
      'an inheritable one lacks',
      failure('capset', { errno: EPERM }),
      without(RAW),
      lacks('cap_net_raw'),
      wants({ inheritable: RAW }),
    ],

    // ids without a mapping
    ['an unmapped uid', failure('setresuid', { errno: EINVAL }), {}, /uid_map/],
    ['an unmapped gid', failure('setresgid', { errno: EINVAL }), {}, /gid_map/],
    ['an unmapped group', failure('setgroups', { errno: EINVAL }), {}, /\bmap\b/],
    ['EPERM is not about a map', failure('setresgid', { errno: EPERM }), {}, /^(?!.*\bmap\b)/],
    ['an unmapped uid, and no right', failure('setresuid', { errno: EINVAL }), without(CAP_SETUID), /uid_map/],

    // limits
    ['RLIMIT_NPROC', failure('rehearsal child', { errno: EAGAIN }), {}, /limit.*RLIMIT_NPROC/],
    ['memory', failure('rehearsal child', { errno: ENOMEM }), {}, /limit.*memory/],
    ['RLIMIT_NPROC of the user', failure('setresuid', { errno: EAGAIN }), {}, /limit.*RLIMIT_NPROC/],
    ['memory for groups', failure('setgroups', { errno: ENOMEM }), {}, /limit.*memory/],

    // the child was ended
    ['SIGSYS', failure('setresuid', { signal: 31 }), {}, /seccomp/],
    ['SIGSYS, and no right', failure('capset', { signal: 31 }), without(BIND), /allow capset.*seccomp/],
    ['SIGKILL', failure('rehearsal child', { signal: 9 }), {}, /killed/],
    ['SIGKILL', failure('setgroups', { signal: 9 }), without(CAP_SETGID), /killed/],
  ]
  for (const [title, answer, before, remedy, ofPlan] of table) {
    const error = refusal(() => linuxOn(t, { rehearse: () => answer }).rehearse(ofPlan ?? plan, seen(before)))
    t.equal(error.code, 'ERR_HARDEN_NOT_PERMITTED', `${answer.step}: ${title}`)
    t.equal(error.step, answer.step)
    t.equal(error.syscall, answer.syscall)
    t.equal(error.errno, answer.errno ? -answer.errno : undefined)
    t.match(error.remedy, remedy)
    t.equal(error.tid, undefined)
    t.match(error.message, `'${answer.step}': ${answer.syscall}: `)
    t.match(error.message, answer.signal ? `signal ${answer.signal}` : getSystemErrorName(-answer.errno))
    t.notOk('tid' in error)
    t.equal('errno' in error, answer.errno !== 0)
  }
})

t.test('rehearse: no call failed, and no signal came', async (t) => {
  const error = refusal(() => linuxOn(t, { rehearse: () => failure('read back', {}) }).rehearse(plan, seen()))
  t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'read back', message: /no answer/, remedy: /./ })
  t.notOk('errno' in error)
})

t.test('rehearse: an outcome other than asked for', async (t) => {
  const table: [Partial<Plan['wanted']>, string, string][] = [
    [{ user: { ...only(990), saved: 0 } }, '990 990 990 990', '990 990 0 990'],
    [{ group: only(0) }, '991 991 991 991', '0 0 0 0'],
    [{ groups: [0, 8, 12] }, '8 12', '0 8 12'],
    [{ groups: [] }, '8 12', ''],
    [{ effective: BIND | RAW }, '0x0000000000000400', '0x0000000000002400'],
    [{ permitted: 0n }, '0x0000000000000400', '0x0000000000000000'],
    [{ noNewPrivileges: false }, 'true', 'false'],
  ]
  for (const [changed, wanted, found] of table) {
    const reading = readingOf(statusOf({ name: 'node', ...plan.wanted, ...changed }))
    const error = refusal(() => linuxOn(t, { rehearse: () => reading }).rehearse(plan, seen()))
    t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'verify', syscall: 'read', remedy: /./ })
    t.equal(error.wanted, wanted)
    t.equal(error.found, found)
  }
  const odd = { ...readingOf(hardened), tasks: [{ tid: 4711, status: hardened, securebits: 16, jailed: false }] }
  t.match(
    refusal(() => linuxOn(t, { rehearse: () => odd }).rehearse(plan, seen())),
    { step: 'verify', wanted: '0', found: '16' },
    'securebits',
  )
  const free = linuxOn(t, { rehearse: () => readingOf(hardened) })
  const jail = { ...plan, wanted: { ...plan.wanted, jailed: true } }
  t.match(
    refusal(() => free.rehearse(jail, seen())),
    { step: 'verify', message: /jailed/, wanted: 'true', found: 'false' },
    'not inside',
  )
  const [task] = readingOf(hardened).tasks
  const inside = { ...readingOf(hardened), tasks: [{ ...(task as TaskText), jailed: true }] }
  t.equal(linuxOn(t, { rehearse: () => inside }).rehearse(jail, seen()), undefined, 'inside')
  for (const [changed, message] of [
    [{ groups: [] }, /groups: wanted 8 12, found none/],
    [{ noNewPrivileges: false }, /noNewPrivileges: wanted true, found false/],
  ] as const) {
    const reading = readingOf(statusOf({ name: 'node', ...plan.wanted, ...changed }))
    t.match(
      refusal(() => linuxOn(t, { rehearse: () => reading }).rehearse(plan, seen())),
      { message },
    )
  }
  const asked = { ...plan, wanted: { ...plan.wanted, groups: [] } }
  t.match(
    refusal(() => free.rehearse(asked, seen())),
    { message: /groups: wanted none, found 8 12/ },
  )
})

t.test('rehearse: a child that could be dumped', async (t) => {
  for (const dumpable of [1, 2]) {
    const linux = linuxOn(t, { rehearse: () => ({ ...readingOf(hardened), dumpable }) })
    t.match(
      refusal(() => linux.rehearse(plan, seen())),
      { step: 'verify', message: /dumpable/, wanted: '0', found: String(dumpable) },
    )
  }
})

t.test('rehearse: a text that cannot be read is no success', async (t) => {
  const linux = linuxOn(t, { rehearse: () => readingOf(hardened.replace(/^CapBnd.*\n/m, '')) })
  t.throws(() => linux.rehearse(plan, seen()), { code: 'ERR_HARDEN_PROC', message: /CapBnd/ })
})

/** A native commit() that gets as far as to have this text to show. */
const committing =
  (reading: Reading) =>
  <T extends object>(_: NativePlan, verify: (found: Reading) => T): T =>
    verify(reading)

t.test('commit: done', async (t) => {
  const report = {}
  const linux = linuxOn(t, { commit: committing(readingOf(hardened, hardened.replace('node', 'libuv-worker'))) })
  const result = linux.commit(plan, seen(), (threads, steps) => {
    t.strictSame(threads, [
      { ...plan.wanted, tid: 4711, name: 'node' },
      { ...plan.wanted, tid: 4712, name: 'libuv-worker' },
    ])
    t.strictSame(steps, [
      { name: 'park', us: 1 },
      { name: 'apply', us: 2 },
      { name: 'read back', us: 3 },
    ])
    return report
  })
  t.equal(result, report)
})

t.test('commit: whatever is not as it must be comes out of verify, which ends the process', async (t) => {
  const odd = statusOf({ name: 'odd one', ...plan.wanted, groups: [0, 8, 12] })
  const unread = hardened.replace(/^Uid.*\n/m, '')
  const table: [string, Reading, RegExp][] = [
    ['the first thread', readingOf(odd, hardened), /4711.*odd one.*groups.*8 12.*0 8 12/],
    ['the last thread', readingOf(hardened, hardened, odd), /4713.*odd one.*groups/],
    ['a text that cannot be read', readingOf(hardened, unread), /Uid/],
    ['dumpable', { ...readingOf(hardened), dumpable: 1 }, /the process.*dumpable.*0.*1/],
    ['SIGUSR1', readingOf(hardened.replace('1001200', '1001000')), /SIGUSR1: wanted ignored/],
    ['signals that cannot be read', readingOf(hardened.replace(/^SigIgn.*\n/m, '')), /SIGUSR1/],
    ['dumpable for root', { ...readingOf(hardened), dumpable: 2 }, /the process.*dumpable.*0.*2/],
  ]
  for (const [title, reading, message] of table) {
    const conclude = () => t.fail('nothing is concluded from it') as never
    t.throws(() => linuxOn(t, { commit: committing(reading) }).commit(plan, seen(), conclude), { message }, title)
  }
  const mine = new RangeError('mine')
  t.throws(
    () =>
      linuxOn(t, { commit: committing(readingOf(hardened)) }).commit(plan, seen(), () => {
        throw mine
      }),
    { message: /^step 'verify' in thread \d+: mine$/ },
    'and so does what the conclusion throws',
  )
  t.throws(
    () =>
      linuxOn(t, { commit: committing(readingOf(hardened)) }).commit(plan, seen(), () => {
        throw undefined
      }),
    { message: /^step 'verify' in thread \d+: something was thrown/ },
  )
})

t.test('commit: nothing has changed, and why', async (t) => {
  const named = (name: string): string => statusOf({ ...root, name })
  const differing = statusOf({ ...root, name: 'odd one', user: { ...only(0), effective: 65534 } })

  interface Row {
    title: string
    answer: Failure
    /** Of the thread; undefined: it has ended. */
    status?: string
    code: string
    message?: RegExp
    remedy: RegExp
    wanted?: string
    found?: string
  }
  const park = { syscall: 'rt_tgsigqueueinfo', tid: 4719 }
  const differs = { code: 'ERR_HARDEN_THREAD_DIFFERS', remedy: /native module.*unshare/ }
  const noMemory = { code: 'ERR_HARDEN_NOT_PERMITTED', remedy: /^raise the limit on memory/ }
  const unreachable = { code: 'ERR_HARDEN_THREAD_UNREACHABLE', remedy: /signal 33/ }
  const table: Row[] = [
    {
      title: 'not stopped in time',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: named('blocker'),
      ...unreachable,
      message: /4719.*blocker.*ETIMEDOUT/,
    },
    {
      title: 'not stopped in time, and ended meanwhile',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      ...unreachable,
      message: /^a thread that has ended since could not be stopped: rt_tgsigqueueinfo: ETIMEDOUT/,
    },
    {
      title: 'not to be signalled',
      answer: failure('park', { ...park, errno: ESRCH }),
      status: named('node'),
      ...unreachable,
    },
    {
      title: 'too many signals pending',
      answer: failure('park', { ...park, errno: EAGAIN }),
      status: named('node'),
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      remedy: /RLIMIT_SIGPENDING/,
    },
    {
      title: 'a poller of io_uring',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: named('iou-sqp-4711'),
      code: 'ERR_HARDEN_IO_URING',
      message: /4719.*iou-sqp-4711/,
      remedy: /UV_USE_IO_URING/,
    },
    {
      title: 'a worker of io_uring',
      answer: failure('park', { ...park, errno: EPERM }),
      status: named('iou-wrk-4711'),
      code: 'ERR_HARDEN_IO_URING',
      remedy: /UV_USE_IO_URING/,
    },
    {
      title: 'a name that only contains iou-',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: named('my-iou-thread'),
      ...unreachable,
    },
    {
      title: 'another effective user',
      answer: failure('compare', { syscall: 'getresuid', tid: 4719 }),
      status: differing,
      ...differs,
      message: /4719.*odd one/,
      wanted: '0 0 0 0',
      found: '0 65534 0 0',
    },
    {
      title: 'more capabilities',
      answer: failure('compare', { syscall: 'getresuid', tid: 4719 }),
      status: statusOf({ ...root, inheritable: RAW }),
      ...differs,
      wanted: '0x0000000000000000',
      found: '0x0000000000002000',
    },
    {
      title: 'what the text does not have: securebits, seccomp mode',
      answer: failure('compare', { syscall: 'getresuid', tid: 4719 }),
      status: statusOf(root),
      ...differs,
      message: /thread 4719 \(node\) has .*securebits.*seccomp/,
    },
    {
      title: 'nor this: a root directory, a file table',
      answer: failure('compare', { syscall: 'kcmp', tid: 4719 }),
      status: statusOf(root),
      ...differs,
      message: /thread 4719 \(node\) has a root directory or a file table of its own/,
    },
    {
      title: 'a root directory of its own, and ended meanwhile',
      answer: failure('compare', { syscall: 'kcmp', tid: 4719 }),
      ...differs,
      message: /^a thread that has ended since has a root directory/,
    },
    {
      title: 'a root directory of its own, and another user',
      answer: failure('compare', { syscall: 'kcmp', tid: 4719 }),
      status: differing,
      ...differs,
      message: /odd one.*user/,
      wanted: '0 0 0 0',
      found: '0 65534 0 0',
    },
    {
      title: 'different, and ended meanwhile',
      answer: failure('compare', { syscall: 'getresuid', tid: 4719 }),
      ...differs,
      message: /^a thread that has ended since has securebits/,
    },
    {
      title: 'a call of its own failed',
      answer: failure('compare', { syscall: 'getresuid', errno: EPERM, tid: 4719 }),
      status: statusOf(root),
      ...differs,
    },
    {
      title: 'no memory',
      answer: failure('memory', { errno: ENOMEM }),
      ...noMemory,
      message: /'memory': mmap: ENOMEM/,
    },
    {
      title: 'no memory, and it was about one thread',
      answer: failure('memory', { errno: ENOMEM, tid: 4719 }),
      ...noMemory,
    },
    {
      title: 'a name of io_uring, but it was stopped',
      answer: failure('memory', { errno: ENOMEM, tid: 4719 }),
      status: named('iou-sqp-4711'),
      ...noMemory,
    },
    {
      title: 'too many open files',
      answer: failure('read back', { syscall: 'open', errno: EMFILE }),
      code: 'ERR_HARDEN_NOT_PERMITTED',
      message: /'read back': open: EMFILE/,
      remedy: /^raise the limit on open files \(RLIMIT_NOFILE, ulimit -n\)$/,
    },
  ]
  for (const { title, answer, status, code, message, remedy, wanted, found } of table) {
    const conclude = () => t.fail('nothing is concluded') as never
    const error = refusal(() => linuxOn(t, { commit: () => answer }, status).commit(plan, seen(), conclude))
    t.equal(error.code, code, `${answer.step}: ${title}`)
    t.equal(error.step, answer.step)
    t.equal(error.syscall, answer.syscall)
    t.equal(error.errno, answer.errno ? -answer.errno : undefined)
    t.equal(error.tid, answer.tid || undefined)
    t.equal('tid' in error, answer.tid !== 0)
    t.equal('errno' in error, answer.errno !== 0)
    t.equal(error.wanted, wanted)
    t.equal(error.found, found)
    t.match(error.remedy, remedy)
    if (message) t.match(error.message, message)
  }
})

t.test('commit: no thread in particular could not be stopped', async (t) => {
  const answer = failure('park', { syscall: 'rt_tgsigqueueinfo', errno: ETIMEDOUT })
  const error = refusal(() => linuxOn(t, { commit: () => answer }).commit(plan, seen(), () => ({})))
  t.equal(error.code, 'ERR_HARDEN_THREAD_UNREACHABLE')
  t.equal(error.errno, -ETIMEDOUT)
  t.notOk('tid' in error)
  t.notMatch(error.message, /thread 0/)
})

t.test('commit: no /proc', async (t) => {
  const answer = failure('proc', { errno: ENOENT })
  const error = refusal(() => linuxOn(t, { commit: () => answer }).commit(plan, seen(), () => ({})))
  t.match(error, { code: 'ERR_HARDEN_PROC', step: 'proc', message: /open.*ENOENT/, remedy: /mount/ })
  t.match(error, { syscall: 'open', errno: -ENOENT })
})

t.test('the texts of these tests are texts', async (t) => {
  t.strictSame(parseTask({ tid: 4711, status: hardened, securebits: 0, jailed: false }), {
    ...plan.wanted,
    tid: 4711,
    name: 'node',
  })
})

t.test('an application that listens for SIGUSR1 itself is not expected to ignore it', async (t) => {
  const listener = () => {}
  process.on('SIGUSR1', listener)
  t.teardown(() => process.off('SIGUSR1', listener))
  const reading = readingOf(hardened.replace('1001200', '1001000'))
  const report = {}
  t.equal(
    linuxOn(t, { commit: committing(reading) }).commit(plan, seen(), () => report),
    report,
  )
})

t.test('rehearse: the child could take root back', async (t) => {
  const error = refusal(() => linuxOn(t, { rehearse: () => failure('regain', {}) }).rehearse(plan, seen()))
  t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'regain', remedy: /./ })
})

t.test('commit: a call that is refused for another reason than a limit', async (t) => {
  const answer = failure('signal 33', { syscall: 'rt_sigaction', errno: EPERM })
  const error = refusal(() => linuxOn(t, { commit: () => answer }).commit(plan, seen(), () => ({})))
  t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'signal 33', errno: -EPERM, remedy: /rt_sigaction/ })
})
