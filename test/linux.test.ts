/** Promise: the native code's answers are read as states; any other answer is a failure, never a success. */
import { constants } from 'node:os'
import t, { type Test } from 'tap'
import type { Plan, Question, Rehearsal } from '../lib/contract'
import * as addon from '../lib/native'
import { type Failure, isFailure, type LinuxAddon, type LinuxPlan, type NativeCommitted, native } from '../lib/native'
import { refusal } from './refused'
import { allFour, plan as anyPlan, BIND, FULL, mail, observed, opened, root, stateOf, statusOf } from './states'

const question: Question = { kind: 'read', path: '/etc/mail/key.pem', number: 0, option: 'rehearse.read[0]', role: '' }
const plan: Plan = { ...anyPlan, accountGroups: [8, 12, 100] }
const hardened = statusOf(mail)
const plain = { kcmp: false, regain: false }
const failure: Failure = { step: 'capset', syscall: 'capset', errno: constants.errno.EPERM, signal: 0, tid: 0, item: 0 }

/** lib/platform/linux on a kernel that answers this. */
function linuxOn(t: Test, answers: Partial<LinuxAddon>) {
  const fake = { capabilityNames: () => native<LinuxAddon>().capabilityNames(), ...answers }
  const { linux } = t.mockRequire<typeof import('../lib/platform/linux')>('../lib/platform/linux', {
    '../lib/native': { ...addon, native: () => fake },
  })
  return linux
}

t.test('observe', async (t) => {
  const status = statusOf(root)
  const linux = linuxOn(t, { observe: () => ({ status, securebits: 5 }) })
  t.strictSame(linux.observe(), { state: stateOf({ ...root, securebits: 5 }), text: status, groupsMax: 65536 })
  t.equal(linuxOn(t, { observe: () => failure }).observe(), failure)
  t.equal(linux.name, 'linux')
  t.ok(linux.addon())
})

t.test('a text that cannot be read is no success', async (t) => {
  for (const field of ['Uid', 'CapBnd', 'NoNewPrivs']) {
    const status = hardened.replace(new RegExp(`^${field}.*\n`, 'm'), '')
    const left = { answers: [], status, securebits: 0, jailed: false, dumpable: 0, inside: new ArrayBuffer(0) }
    const linux = linuxOn(t, { observe: () => ({ status, securebits: 0 }), rehearse: () => left })
    for (const ask of [() => linux.observe(), () => linux.rehearse(plan, [], plain)])
      t.match(refusal(ask), { code: 'ERR_HARDEN_PROC', step: 'proc', message: `has no line ${field}` })
  }
})

const left = {
  ...{ answers: [{ errno: 0, by: 'none' as const, found: undefined }], status: hardened, securebits: 0 },
  ...{ jailed: false, dumpable: 1, inside: new ArrayBuffer(3) },
}

t.test('rehearse: what the native code is given', async (t) => {
  const given: LinuxPlan[] = []
  const linux = linuxOn(t, {
    rehearse: (nativePlan) => {
      given.push(nativePlan)
      return left
    },
  })
  linux.rehearse(plan, [question], plain)
  const { groups, accountGroups, inside, ...rest } = given[0] as LinuxPlan
  for (const [list, ids] of [
    [groups, [8, 12]],
    [accountGroups, [8, 12, 100]],
  ] as const) {
    t.ok(list instanceof Uint32Array)
    t.strictSame([...list], ids)
  }
  t.equal(inside.byteLength, 0)
  t.strictSame(rest, {
    steps: plan.steps,
    uid: 990,
    gid: 991,
    permitted: BIND,
    effective: BIND,
    inheritable: 0n,
    ambient: 0n,
    boundingDrop: FULL & ~BIND,
    heldPermitted: FULL,
    heldEffective: FULL,
    heldInheritable: 0n,
    heldGroups: 2,
    securebits: 0,
    root: -1,
    keepSigusr1: false,
    questions: [question],
    before: plan.before.text,
    expected: '',
    withoutKcmp: false,
    withoutRegain: false,
  })

  // each set in its own place
  const sets = { permitted: 1n, effective: 2n, inheritable: 4n, ambient: 16n }
  const wanted = stateOf({ ...mail, ...sets, bounding: 8n })
  const held = { permitted: 32n, effective: 64n, inheritable: 128n, bounding: 256n | 8n, securebits: 5, groups: [7] }
  linux.rehearse({ ...plan, wanted, root: opened, before: observed(held) }, [], { kcmp: true, regain: false })
  t.match(given[1], {
    ...sets,
    boundingDrop: 256n,
    heldPermitted: 32n,
    heldEffective: 64n,
    heldInheritable: 128n,
    heldGroups: 1,
    securebits: 5,
    root: opened.descriptor,
    questions: [],
    withoutKcmp: true,
    withoutRegain: false,
  })
  linux.rehearse({ ...plan, before: observed({ securebits: undefined }) }, [], { kcmp: false, regain: true })
  t.match(given[2], { securebits: 0, withoutKcmp: false, withoutRegain: true })
  t.notOk(given.some((one) => 'bounding' in one))
})

t.test('a set that the other system has alone is empty', async (t) => {
  const sets = {
    permitted: [],
    effective: [],
    inheritable: [],
    bounding: undefined,
    ambient: undefined,
    limit: undefined,
  }
  let given: LinuxPlan | undefined
  const linux = linuxOn(t, {
    rehearse: (nativePlan) => {
      given = nativePlan
      return failure
    },
  })
  linux.rehearse({ ...plan, wanted: { ...plan.wanted, sets } }, [], plain)
  t.match(given, { ambient: 0n, boundingDrop: FULL })
})

t.test('rehearse: what the child has left', async (t) => {
  const { answers, dumpable, inside } = left
  const linux = linuxOn(t, { rehearse: () => left })
  const state = stateOf(mail)
  t.strictSame(linux.rehearse(plan, [question], plain), { state, text: hardened, answers, dumpable, inside })
  const odd = { ...left, securebits: 16, jailed: true, status: statusOf({ ...mail, groups: [0], user: allFour(0) }) }
  t.match(linuxOn(t, { rehearse: () => odd }).rehearse(plan, [], plain), {
    state: stateOf({ ...mail, groups: [0], user: allFour(0), securebits: 16, jailed: true }),
  })
  t.equal(linuxOn(t, { rehearse: () => failure }).rehearse(plan, [], plain), failure)
})

const rehearsal: Rehearsal = {
  ...{ state: plan.wanted, text: hardened, answers: [], dumpable: 0, inside: new ArrayBuffer(7) },
  avoid: { kcmp: true, regain: true },
}

t.test('commit', async (t) => {
  const given: LinuxPlan[] = []
  const times = { parkTries: 1, parkMicroseconds: 1, applyMicroseconds: 2, readMicroseconds: 3 }
  const done: NativeCommitted = { threads: [{ tid: 4711, name: 'node' }], rootChildren: [12], ...times }
  const linux = linuxOn(t, {
    commit: (nativePlan) => {
      given.push(nativePlan)
      return done
    },
  })
  t.strictSame(linux.commit(plan, rehearsal, true), {
    threads: done.threads,
    rootChildren: [12],
    parkTries: 1,
    timings: [
      { name: 'park', us: 1 },
      { name: 'apply', us: 2 },
      { name: 'read back', us: 3 },
    ],
  })
  t.match(given, [
    {
      expected: hardened,
      before: plan.before.text,
      keepSigusr1: true,
      questions: [],
      withoutKcmp: true,
      withoutRegain: true,
    },
  ])
  t.equal(given[0]?.inside, rehearsal.inside)
  linux.commit(plan, rehearsal, false)
  t.equal(given[1]?.keepSigusr1, false)
  t.equal(linuxOn(t, { commit: () => failure }).commit(plan, rehearsal, true), failure)
})

t.test('what a failure is', async (t) => {
  t.ok(isFailure(failure))
  for (const answer of [{}, [], left, Object.create(failure)]) t.notOk(isFailure(answer))
})
