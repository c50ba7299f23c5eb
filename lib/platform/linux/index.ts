/** Linux: the native addon's answers as states of threads. */
import type { Avoid, Committed, Observation, Plan, Platform, Question, Rehearsal } from '../../contract'
import { type Failure, isFailure, type LinuxAddon, type LinuxPlan, native } from '../../native'
import type { State } from '../../state'
import { capabilityNames, kernelMask, maskOf, readTexts, textOf } from './capabilities'
import { hazards, rootChildren } from './hazards'
import { decide } from './plan'
import { parseStatus } from './proc'
import { callOf, explain, noProc, remedyForAnswer } from './refusal'
import { readThreads } from './threads'

const addon = () => native<LinuxAddon>()

export const linux: Platform = {
  name: 'linux',
  addon,
  observe,
  decide,
  readTexts,
  textOf,
  hazards,
  rehearse,
  commit,
  explain,
  callOf,
  remedyForAnswer,
  rootChildren,
  allNames: () => capabilityNames(kernelMask()),
  libraries: () => addon().libraries(),
  readThreads,
}

/** NGROUPS_MAX: a constant since Linux 2.6.4 (getgroups(2)). */
const GROUPS_MAX = 65536

function observe(): Observation | Failure {
  const observed = addon().observe()
  if (isFailure(observed)) return observed
  const { status, securebits } = observed
  return { state: stateOf(status, securebits, false), text: status, groupsMax: GROUPS_MAX }
}

/** @throws HardenError ERR_HARDEN_PROC */
function stateOf(status: string, securebits: number, jailed: boolean): State {
  try {
    return { ...parseStatus(status), securebits, jailed }
  } catch (error) {
    throw noProc((error as Error).message)
  }
}

/** The plan for both the rehearsal and the commit. */
function nativePlan(plan: Plan, questions: readonly Question[], avoid: Avoid): LinuxPlan {
  const { wanted, steps, before, root } = plan
  const { sets } = before.state
  const held = (names: readonly string[] | undefined) => maskOf(names ?? [])
  return {
    steps,
    uid: wanted.user.real,
    gid: wanted.group.real,
    groups: Uint32Array.from(wanted.groups),
    accountGroups: Uint32Array.from(plan.accountGroups),
    permitted: maskOf(wanted.sets.permitted),
    effective: maskOf(wanted.sets.effective),
    inheritable: maskOf(wanted.sets.inheritable),
    ambient: held(wanted.sets.ambient),
    boundingDrop: held(sets.bounding) & ~held(wanted.sets.bounding),
    heldPermitted: maskOf(sets.permitted),
    heldEffective: maskOf(sets.effective),
    heldInheritable: maskOf(sets.inheritable),
    heldGroups: before.state.groups.length,
    securebits: before.state.securebits ?? 0,
    root: root?.descriptor ?? -1,
    keepSigusr1: false,
    questions,
    before: before.text,
    expected: '',
    inside: new ArrayBuffer(0),
    withoutKcmp: avoid.kcmp,
    withoutRegain: avoid.regain,
  }
}

function rehearse(plan: Plan, questions: readonly Question[], avoid: Avoid): Omit<Rehearsal, 'avoid'> | Failure {
  const left = addon().rehearse(nativePlan(plan, questions, avoid))
  if (isFailure(left)) return left
  const { status, securebits, jailed, answers, dumpable, inside } = left
  return { state: stateOf(status, securebits, jailed), text: status, answers, dumpable, inside }
}

function commit(plan: Plan, rehearsal: Rehearsal, keepSigusr1: boolean): Committed | Failure {
  const { text: expected, inside, avoid } = rehearsal
  const done = addon().commit({ ...nativePlan(plan, [], avoid), expected, inside, keepSigusr1 })
  if (isFailure(done)) return done
  const { threads, rootChildren, parkTries } = done
  return {
    threads,
    rootChildren,
    parkTries,
    timings: [
      { name: 'park', us: done.parkMicroseconds },
      { name: 'apply', us: done.applyMicroseconds },
      { name: 'read back', us: done.readMicroseconds },
    ],
  }
}
