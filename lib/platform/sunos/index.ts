/**
 * Solaris and illumos: the native addon's answers as states. Credentials belong to the process there, which stands for
 * all its threads.
 */
import { statSync } from 'node:fs'
import type { Committed, Observation, Plan, Platform, Question, Rehearsal, Threads } from '../../contract'
import { type Failure, isFailure, native, type SunosAddon, type SunosPlan, type SunosState } from '../../native'
import { placeOf } from '../../root'
import type { State } from '../../state'
import { hazards } from './hazards'
import { decide, type SunosDecision } from './plan'
import { allPrivileges, readTexts, textOf } from './privileges'
import { callOf, explain, remedyForAnswer } from './refusal'

const addon = () => native<SunosAddon>()

export const sunos: Platform = {
  name: 'sunos',
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
  rootChildren: () => undefined, // the system does not list them: HARDEN_CHILDREN says that there are some
  allNames: allPrivileges,
  libraries: () => [],
  readThreads,
}

function stateOf({ user, group, groups, privileges, flags }: SunosState, jailed: boolean): State {
  const ids = ([real, effective, saved]: SunosState['user']) => ({ real, effective, saved, fs: effective })
  const { permitted, limit, effective, inheritable } = privileges
  return {
    user: ids(user),
    group: ids(group),
    // a set: not every kernel keeps the order
    groups: [...new Set(groups)].sort((a, b) => a - b),
    sets: { permitted, effective, inheritable, bounding: undefined, ambient: undefined, limit },
    noNewPrivileges: false,
    securebits: undefined,
    flags,
    jailed,
  }
}

function observe(): Observation | Failure {
  const observed = addon().observe()
  if (isFailure(observed)) return observed
  return { state: stateOf(observed, false), text: observed.text, groupsMax: observed.groupsMax }
}

/** The engine hands back what decide() gave it. */
type OurPlan = Plan & SunosDecision

function nativePlan(plan: Plan, questions: readonly Question[]): SunosPlan {
  const { wanted, steps, privileges, before, root, accountGroups } = plan as OurPlan
  return {
    steps,
    uid: wanted.user.real,
    gid: wanted.group.real,
    groups: Uint32Array.from(wanted.groups),
    accountGroups: Uint32Array.from(accountGroups),
    permitted: privileges,
    limit: privileges,
    effective: privileges,
    root: root?.descriptor ?? -1,
    keepSigusr1: false,
    questions,
    before: before.text,
    expected: '',
    inside: new ArrayBuffer(0),
  }
}

function rehearse(plan: Plan, questions: readonly Question[]): Omit<Rehearsal, 'avoid'> | Failure {
  const left = addon().rehearse(nativePlan(plan, questions))
  if (isFailure(left)) return left
  const { state, jailed, answers, inside } = left
  return { state: stateOf(state, jailed), text: state.text, answers, dumpable: undefined, inside }
}

function commit(plan: Plan, { text: expected, inside }: Rehearsal, keepSigusr1: boolean): Committed | Failure {
  const done = addon().commit({ ...nativePlan(plan, []), expected, inside, keepSigusr1 })
  if (isFailure(done)) return done
  return {
    threads: [{ tid: process.pid, name: 'all threads' }],
    rootChildren: [],
    timings: [
      { name: 'apply', us: done.applyMicroseconds },
      { name: 'read back', us: done.readMicroseconds },
    ],
  }
}

function readThreads(root: string | undefined): Threads {
  const observed = addon().observe()
  if (isFailure(observed)) throw explain(observed, undefined, [])
  const jailed = root !== undefined && placeOf(statSync('/', { bigint: true })) === root
  return {
    source: 'process',
    kinds: [{ state: stateOf(observed, jailed), threads: [{ tid: process.pid, name: 'all threads' }] }],
    sigusr1: observed.sigusr1,
  }
}
