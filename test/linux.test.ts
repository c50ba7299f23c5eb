/** Promise: what the native code answers is read as states, and compared; whatever else it says is an error, never a success. */
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import t, { type Test } from 'tap'
import { inWords, parseTask, type Seen, type ThreadState } from '../lib/audit'
import {
  type Failure,
  type Native,
  type NativePlan,
  native,
  type OpenDescriptor,
  type Reading,
  type SelfReport,
  type TaskText,
} from '../lib/native'
import type { Observation } from '../lib/platform/index'
import type { Plan } from '../lib/platform/linux/plan'
import * as threadsInProc from '../lib/threads'
import { refusal } from './refused'
import { BIND, FULL, only, opened, plan as plain, RAW, root, statusOf } from './states'

const { EPERM, EACCES, EAGAIN, EMFILE, ENOENT, ETIMEDOUT } = constants.errno
const plan: Plan = {
  ...plain,
  attempts: [{ step: 'read', path: '/etc/mail/key.pem', port: 0, option: 'rehearse.read[0]' }],
}
const seen = (before: Partial<ThreadState> = {}): Observation => ({
  state: { ...root, ...before },
  token: new ArrayBuffer(8),
})

const hardened = statusOf({ name: 'node', ...plan.wanted })

function readingOf(...statuses: string[]): Reading {
  const tasks = statuses.map((status, index) => ({ tid: 4711 + index, status, securebits: 0, jailed: false }))
  return { tasks, foreign: [], dumpable: 0, parkMicroseconds: 1, applyMicroseconds: 2, readMicroseconds: 3 }
}

/** lib/platform/linux.ts on a kernel that answers this; `threads`: what lib/threads.ts makes of /proc. */
function linuxOn(t: Test, answers: Partial<Native>, threads: Partial<typeof threadsInProc> = {}) {
  const fake = { capabilityNames: () => native().capabilityNames(), ...answers }
  const { linux } = t.mockRequire<typeof import('../lib/platform/linux')>('../lib/platform/linux', {
    '../lib/native': { native: () => fake },
    '../lib/threads': { ...threadsInProc, ...threads },
  })
  return linux
}

const failure = (step: string, syscall: string, fields: Partial<Failure> = {}): Failure => ({
  step,
  syscall,
  errno: 0,
  signal: 0,
  tid: 0,
  item: 0,
  ...fields,
})
const nothing = () => t.fail('nothing is concluded') as never

t.test('observe', async (t) => {
  const status = statusOf(root)
  const credentials = new ArrayBuffer(8)
  const on = (text: string) => linuxOn(t, { observe: () => ({ status: text, securebits: 5, credentials }) })

  const { state, token } = on(status).observe()
  t.strictSame(state, { ...root, securebits: 5 })
  t.equal(token, credentials)
  t.strictSame(on(status.replace(/^NStgid.*\n/m, '')).observe().state.user, only(0), 'a kernel before 4.1')

  for (const pids of [`${process.pid}\t7`, `7\t${process.pid}`, `${process.pid}0`, '1', ''])
    t.match(
      refusal(() => on(status.replace(/^NStgid:.*$/m, `NStgid:\t${pids}`)).observe()),
      {
        code: 'ERR_HARDEN_PROC',
        step: 'proc',
        message: `it shows this process as ${pids}, not as ${process.pid}`,
        remedy: /mount/,
      },
      `a /proc that shows the process as ${JSON.stringify(pids)}`,
    )
})

t.test('observe: no /proc', async (t) => {
  for (const [errno, remedy] of [
    [ENOENT, /mount/],
    [EPERM, /seccomp/],
  ] as const) {
    const error = refusal(() => linuxOn(t, { observe: () => failure('proc', 'open', { errno }) }).observe())
    t.match(error, { code: 'ERR_HARDEN_PROC', step: 'proc', syscall: 'open', errno: -errno, remedy })
    t.match(error.message, `open: ${getSystemErrorName(-errno)}`)
  }
})

t.test('observe: a text that cannot be read is no success', async (t) => {
  for (const field of ['Uid', 'CapBnd', 'NoNewPrivs']) {
    const status = statusOf(root).replace(new RegExp(`^${field}.*\n`, 'm'), '')
    const linux = linuxOn(t, { observe: () => ({ status, securebits: 0, credentials: new ArrayBuffer(8) }) })
    const error = refusal(() => linux.observe())
    t.match(error, { code: 'ERR_HARDEN_PROC', step: 'proc', message: `has no line ${field}` })
  }
})

t.test('descriptors', async (t) => {
  const found: OpenDescriptor[] = [
    { descriptor: 21, kind: 'listens' },
    { descriptor: 22, kind: 'raw' },
  ]
  const asked: number[] = []
  const linux = linuxOn(t, {
    descriptors: (descriptor) => {
      asked.push(descriptor)
      return found
    },
  })
  t.equal(linux.descriptors(plan, seen()), found)
  t.equal(linux.descriptors({ ...plan, root: opened }, seen()), found)
  t.strictSame(asked, [-1, 17], 'the root that they must not lead out of')
  t.strictSame([...linuxOn(t, { descriptors: () => [] }).descriptors(plan, seen())], [])

  const table: [Failure, string][] = [
    [failure('descriptors', 'io_uring_setup', { item: 21 }), 'ERR_HARDEN_IO_URING'],
    [failure('descriptors', 'open', { item: 1_000_000 }), 'ERR_HARDEN_OPEN_DIRECTORY'],
    [failure('descriptors', 'readlink', { errno: EMFILE }), 'ERR_HARDEN_PROC'],
    [failure('proc', 'open', { errno: ENOENT }), 'ERR_HARDEN_PROC'],
  ]
  for (const [answer, code] of table) {
    const error = refusal(() => linuxOn(t, { descriptors: () => answer }).descriptors(plan, seen()))
    t.match(error, { code, step: answer.step, syscall: answer.syscall })
    t.equal(error.errno, answer.errno ? -answer.errno : undefined)
  }
})

t.test('what is refused is refused of this plan, and of the state before', async (t) => {
  // refusal.test.ts has all of them
  const capset = failure('capset', 'capset', { errno: EPERM })
  const read = failure('read', 'open', { errno: EACCES })
  const before = { permitted: FULL & ~BIND, effective: FULL & ~BIND }
  for (const ask of [
    (answer: Failure) => linuxOn(t, { rehearse: () => answer }).rehearse(plan, seen(before)),
    (answer: Failure) => linuxOn(t, { commit: () => answer }).commit(plan, seen(before), nothing),
    (answer: Failure) => linuxOn(t, { descriptors: () => answer }).descriptors(plan, seen(before)),
  ]) {
    t.match(
      refusal(() => ask(capset)),
      {
        code: 'ERR_HARDEN_NOT_PERMITTED',
        step: 'capset',
        syscall: 'capset',
        errno: -EPERM,
        remedy: /^start the process with cap_net_bind_service /,
      },
    )
    t.match(
      refusal(() => ask(read)),
      {
        code: 'ERR_HARDEN_ACCESS',
        step: 'read',
        syscall: 'open',
        errno: -EACCES,
        option: 'rehearse.read[0]',
        found: '/etc/mail/key.pem',
      },
    )
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
  t.strictSame([...linux.rehearse(plan, observation)], [])
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
    attempts: plan.attempts,
  })

  // each set in its own place
  const sets = { permitted: 1n, effective: 2n, inheritable: 4n, ambient: 16n }
  const wanted = { ...plan.wanted, ...sets, bounding: 8n }
  const another: Plan = { ...plan, wanted, boundingDrop: 32n, root: opened }
  t.throws(() => linux.rehearse(another, observation))
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
    t.match(error, {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step: 'verify',
      syscall: 'read',
      remedy: /^look for a security module or a sandbox/,
    })
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
  t.strictSame([...linuxOn(t, { rehearse: () => inside }).rehearse(jail, seen())], [], 'inside')
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

t.test('rehearse: the open files that the child could not open itself', async (t) => {
  const reading = { ...readingOf(hardened), foreign: [3, 19] }
  t.strictSame([...linuxOn(t, { rehearse: () => reading }).rehearse(plan, seen())], [3, 19])
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
    ['nobody', readingOf(), /SIGUSR1/],
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

t.test('commit: nothing has changed, and nothing is concluded', async (t) => {
  const park = failure('park', 'rt_tgsigqueueinfo', { errno: ETIMEDOUT })
  t.match(
    refusal(() => linuxOn(t, { commit: () => park }).commit(plan, seen(), nothing)),
    { code: 'ERR_HARDEN_THREAD_UNREACHABLE', step: 'park', syscall: 'rt_tgsigqueueinfo', errno: -ETIMEDOUT },
  )
  const proc = failure('proc', 'open', { errno: ENOENT })
  t.match(
    refusal(() => linuxOn(t, { commit: () => proc }).commit(plan, seen(), nothing)),
    { code: 'ERR_HARDEN_PROC', step: 'proc', syscall: 'open', errno: -ENOENT, message: /open: ENOENT/ },
  )
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

/** The native memory of a process. */
function memory() {
  let kept: string | undefined
  const texts: string[] = []
  return {
    texts,
    remember: (text: string) => {
      texts.push(text)
      kept = text
    },
    recall: () => kept,
  }
}
const words = inWords(plan.wanted)
const inProc = (): Seen<ThreadState>[] => {
  const { securebits: _, ...state } = plan.wanted
  return [{ ...state, tid: 4711, name: 'node' }]
}

t.test('remember: what was wanted, and where the new root is', async (t) => {
  const { texts, ...answers } = memory()
  const linux = linuxOn(t, answers)
  linux.remember(words, undefined)
  linux.remember(words, opened)
  t.strictSame(
    texts.map((text) => JSON.parse(text)),
    [{ wanted: words }, { wanted: words, root: '8:2', stat: 18 }],
  )
})

t.test('look: where there is a /proc', async (t) => {
  const asked: unknown[] = []
  const { texts: _, ...answers } = memory()
  const threads = {
    isProcOurs: () => true,
    readThreads: (place: string | undefined) => {
      asked.push(place)
      return inProc()
    },
  }
  const linux = linuxOn(t, { ...answers, askEveryThread: () => t.fail('nobody is stopped') as never }, threads)
  t.strictSame(linux.look(), { source: 'proc', threads: inProc(), wanted: undefined }, 'before harden()')
  linux.remember(words, undefined)
  t.strictSame(linux.look(), { source: 'proc', threads: inProc(), wanted: words })
  linux.remember(words, opened)
  t.strictSame(linux.look(), { source: 'proc', threads: inProc(), wanted: words })
  t.strictSame(asked, [undefined, undefined, '8:2'], 'the root in which they should be')
})

t.test('look: a text that cannot be read is no report', async (t) => {
  const readThreads = () => {
    throw new Error('the status of thread 4711 has no line Uid')
  }
  const linux = linuxOn(t, { recall: () => undefined }, { isProcOurs: () => true, readThreads })
  const error = refusal(() => linux.look())
  t.match(error, { code: 'ERR_HARDEN_PROC', step: 'proc', message: /thread 4711 has no line Uid/, remedy: /mount/ })
  t.notOk('syscall' in error || 'errno' in error)
})

t.test('look: no /proc, and no chroot', async (t) => {
  for (const recall of [() => undefined, () => JSON.stringify({ wanted: words })]) {
    const askEveryThread = () => t.fail('there is no telling how many they are') as never
    const linux = linuxOn(t, { recall, askEveryThread }, { isProcOurs: () => false })
    t.match(
      refusal(() => linux.look()),
      { code: 'ERR_HARDEN_PROC', step: 'proc', message: /there is none of the pid namespace/, remedy: /mount/ },
    )
  }
})

t.test('look: no /proc in the chroot, each thread is asked', async (t) => {
  const self: SelfReport = {
    tid: 4711,
    name: 'node',
    user: [990, 991, 992, 993],
    group: [890, 891, 892, 893],
    groups: [1000, 5, 27],
    permitted: 1n,
    effective: 2n,
    inheritable: 4n,
    bounding: 8n,
    ambient: 16n,
    securebits: 5,
    noNewPrivileges: true,
    rootDevice: 8n,
    rootInode: 2n,
    inside: true,
  }
  const state: ThreadState = {
    tid: 4711,
    name: 'node',
    user: { real: 990, effective: 991, saved: 992, fs: 993 },
    group: { real: 890, effective: 891, saved: 892, fs: 893 },
    groups: [5, 27, 1000],
    permitted: 1n,
    effective: 2n,
    inheritable: 4n,
    bounding: 8n,
    ambient: 16n,
    securebits: 5,
    noNewPrivileges: true,
    jailed: true,
  }
  const table: [string, Partial<SelfReport>, Partial<ThreadState>][] = [
    ['as it is', {}, {}],
    [
      'another',
      { tid: 4712, name: 'odd one', noNewPrivileges: false },
      { tid: 4712, name: 'odd one', noNewPrivileges: false },
    ],
    ['another root, on the same device', { rootInode: 3n }, { jailed: false }],
    ['another root, on another device', { rootDevice: 9n }, { jailed: false }],
    ['a working directory outside', { inside: false }, { jailed: false }],
    ['no groups', { groups: [] }, { groups: [] }],
  ]
  const { texts: _, ...answers } = memory()
  const asked: number[] = []
  const askEveryThread = (stat: number) => {
    asked.push(stat)
    return table.map(([, changed]) => ({ ...self, ...changed }))
  }
  const linux = linuxOn(t, { ...answers, askEveryThread }, { isProcOurs: () => false })
  linux.remember(words, opened)
  const { source, threads, wanted } = linux.look()
  t.strictSame([source, wanted], ['threads', words])
  for (const [index, [title, , changed]] of table.entries())
    t.strictSame(threads[index], { ...state, ...changed }, title)
  t.equal(threads.length, table.length)
  t.strictSame(asked, [18], '/proc/self/stat, as it was opened before')

  const whole = linuxOn(
    t,
    { ...answers, askEveryThread: () => [{ ...self, rootInode: 2n ** 63n + 1n }] },
    { isProcOurs: () => false },
  )
  whole.remember(words, { ...opened, place: `8:${2n ** 63n}` })
  t.equal(whole.look().threads[0]?.jailed, false, 'numbers beyond those of JavaScript')
  whole.remember(words, { ...opened, place: `8:${2n ** 63n + 1n}` })
  t.equal(whole.look().threads[0]?.jailed, true)
})

t.test('look: a thread that does not answer', async (t) => {
  const recall = () => JSON.stringify({ wanted: words, root: '8:2', stat: 18 })
  for (const errno of [ETIMEDOUT, EAGAIN]) {
    const answer = failure('park', 'rt_tgsigqueueinfo', { errno, tid: 1_000_000 })
    const linux = linuxOn(t, { recall, askEveryThread: () => answer }, { isProcOurs: () => false })
    const error = refusal(() => linux.look())
    t.match(error, { code: 'ERR_HARDEN_THREAD_UNREACHABLE', step: 'park', syscall: 'rt_tgsigqueueinfo', errno: -errno })
    t.equal(error.tid, 1_000_000)
    t.match(error.remedy, errno === EAGAIN ? /RLIMIT_SIGPENDING/ : /signal 33/)
  }
})
