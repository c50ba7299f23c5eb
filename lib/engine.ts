/**
 * The engine, once for every system: options to a plan, everything that can speak against it, the rehearsal, the commit. What
 * a system has in its own way it answers through the Platform that is given. Nothing changes before commit().
 */
import { constants } from 'node:os'
import { resolve } from './accounts'
import type {
  Avoid,
  Committed,
  Finding,
  Observation,
  Plan,
  Platform,
  Question,
  Rehearsal,
  Request,
  Timing,
} from './contract'
import { accountsOf } from './databases'
import { debugAnswer, debugRetry } from './debug'
import { HardenError, type Run } from './errors'
import { type Answered, findingsAhead, questionsAhead } from './foresight'
import { type Answer, type Failure, isFailure } from './native'
import type { HardenOptions } from './options'
import type { Reasons } from './reasons'
import { exchanged, noAccess, notAsked } from './refusal'
import { closeRoot, openRoot, type Root } from './root'
import { compare, inWords, isAny } from './state'

/** How often a refusal that may pass, such as that of a directory open for a moment, is tried again. */
const TRIES = 3
const PAUSE_MS = 10

export interface Examined {
  readonly findings: readonly Finding[]
  /** undefined: it was refused. */
  readonly rehearsal: Rehearsal | undefined
}

/** After wrong options: add what is wrong with the others to the reasons. */
export function lookUp(platform: Platform, options: HardenOptions, { run }: Reasons): void {
  run(() => resolve(independent(options), platform.addon(), run))
  run(() => platform.readTexts(options, run))
  run(() => closeRoot(openRootOf(platform, options)))
}

/** The options without those that depend on a missing one, which may be missing because it was wrong. */
function independent({ supplementalGroups: groups, ...options }: HardenOptions): HardenOptions {
  return { group: 0, ...options, supplementalGroups: groups === 'initgroups' ? undefined : groups }
}

const openRootOf = (platform: Platform, { chroot }: HardenOptions): Root | undefined =>
  chroot === undefined ? undefined : openRoot(chroot, platform.addon())

/**
 * Options and the present state to a frozen Plan, after which nothing is left to decide.
 *
 * @param reasons what is wrong with names, ids and texts is added
 * @throws HardenError if there is any reason
 */
export function makePlan(platform: Platform, options: HardenOptions, reasons: Reasons): Plan {
  const { run } = reasons
  const before = answer(platform.observe(), platform)
  const findings: Finding[] = []
  const request = requestOf(platform, options, before, reasons)
  const isRead = platform.readTexts(options, run)
  const decision = isRead ? run(() => platform.decide(request, before, findings)) : undefined
  const groups = decision && accountGroups(platform, request, decision.wanted.groups)
  // last, because nothing may throw while it is open
  const root = run(() => openRootOf(platform, options))
  if (!decision || !groups || reasons.found) {
    closeRoot(root)
    throw reasons.error()
  }
  const accounts = () => accountsOf([decision.wanted], options)
  const known = root && accounts()
  return Object.freeze({
    ...decision,
    before,
    questions: Object.freeze(listQuestions(options, request.uid)),
    accountGroups: groups,
    explicitGroups: options.supplementalGroups !== undefined,
    findings: Object.freeze(findings),
    accounts: known ? () => known : accounts,
    root,
  })
}

/** A part that cannot be resolved keeps its present value, so that other reasons are found as well. */
function requestOf(platform: Platform, options: HardenOptions, { state }: Observation, { run }: Reasons): Request {
  const isNamed = options.user !== undefined || run(() => refusePresentUser(state.user, options)) !== undefined
  const identity = resolve(isNamed ? options : independent(options), platform.addon(), run)
  return {
    options,
    uid: identity.uid ?? state.user.effective,
    gid: identity.gid ?? state.group.effective,
    groups: identity.groups,
  }
}

/** @returns the user that stays */
function refusePresentUser(user: Observation['state']['user'], options: HardenOptions): number {
  if (!isAny(user, 0)) return user.effective
  const given = Object.hasOwn(options, 'user')
  throw new HardenError({
    code: 'ERR_HARDEN_USER_REQUIRED',
    option: 'user',
    wanted: 'a name or an id',
    found: given ? 'undefined' : undefined,
    message: given
      ? 'the process has root among its user ids, and the option user is undefined'
      : 'the process has root among its user ids, and no user is named to take its place',
    remedy: given
      ? 'is an environment variable not set? Set it to the name of an account'
      : `give the option 'user': an account of the server's own`,
  })
}

/** If the name service fails, the plan's own groups are used alone. */
function accountGroups(platform: Platform, { uid, gid }: Request, groups: readonly number[]): number[] {
  const account = platform.addon().accountGroups(uid, gid)
  return typeof account === 'number' ? [...groups] : [...new Set([...groups, ...account])]
}

function listQuestions({ rehearse, chroot }: HardenOptions, uid: number): Question[] {
  const { read = [], write = [], bind = [] }: NonNullable<typeof rehearse> = rehearse ?? Object.create(null)
  const path = (kind: 'read' | 'write') => (path: string, index: number) =>
    ({ kind, path, number: 0, option: `rehearse.${kind}[${index}]`, role: '' }) as const
  return [
    // root can exchange everything
    ...(chroot === undefined || uid === 0
      ? []
      : [{ kind: 'exchange', path: chroot, number: 0, option: 'chroot', role: '' } as const]),
    ...read.map(path('read')),
    ...write.map(path('write')),
    ...bind.map(
      (port, index) => ({ kind: 'bind', path: '', number: port, option: `rehearse.bind[${index}]`, role: '' }) as const,
    ),
  ]
}

/** Everything that can speak against a plan, in the order of the checks. It changes nothing. */
export function examine(platform: Platform, plan: Plan, timings: Timing[], run: Run): Examined {
  const descriptors = timed(timings, 'descriptors', () =>
    run(() => answer(platform.addon().descriptors(), platform, plan)),
  )
  const scene = { platform, plan, descriptors, unread: new Set<string>() }
  const hazards = timed(timings, 'hazards', () => run(() => platform.hazards.flatMap((hazard) => hazard(scene) ?? [])))
  // no rehearsal: its child changes its ids, too, and has a copy of this process's memory
  if (!hazards) return { findings: inOrder(plan.findings), rehearsal: undefined }
  const questions = [...plan.questions, ...questionsAhead(scene)]
  const rehearsal = timed(timings, 'rehearse', () => run(() => rehearse(platform, plan, questions)))
  if (!rehearsal) return { findings: inOrder([...plan.findings, ...hazards]), rehearsal }
  const troubles: Answered[] = []
  for (const [index, question] of questions.entries()) {
    const answer = rehearsal.answers[index] as Answer
    debugAnswer(question, answer)
    if (question.option !== undefined) run(() => refuseAnswer(platform, plan, question, answer))
    if (!isPlainYes(answer)) troubles.push({ question, answer })
  }
  return { findings: inOrder([...plan.findings, ...hazards, ...findingsAhead(scene, troubles)]), rehearsal }
}

/** Most answers are: each loaded module is asked about. */
const isPlainYes = ({ errno, by }: Answer): boolean => errno === 0 && by === 'none'

/** Dangers first. */
function inOrder(findings: readonly Finding[]): Finding[] {
  return [...findings.filter(({ level }) => level === 'danger'), ...findings.filter(({ level }) => level === 'note')]
}

export function timed<T>(timings: Timing[], name: string, part: () => T): T {
  const start = process.hrtime.bigint()
  const result = part()
  timings.push({ name, us: Number((process.hrtime.bigint() - start) / 1000n) })
  return result
}

function answer<T extends object>(given: T | Failure, platform: Platform, plan?: Plan): T {
  if (isFailure(given)) throw platform.explain(given, plan, [])
  return given
}

/**
 * @param question of an option
 * @throws HardenError if the answer refuses what the option asks for
 */
function refuseAnswer(platform: Platform, plan: Plan, question: Question, given: Answer): void {
  if (question.kind === 'exchange') {
    if (given.by === 'user' || given.by === 'writer') throw exchanged(platform, question, given.found, plan)
    if (given.errno) throw notAsked(platform, question, given.errno)
  } else if (given.errno) throw noAccess(platform, question, given.errno, plan)
}

/** Rehearses; again without what a filter kills, and again if the refusal may pass. */
function rehearse(platform: Platform, plan: Plan, questions: readonly Question[]): Rehearsal {
  let avoid: Avoid = { kcmp: false, regain: false }
  for (let tries = 1; ; tries++) {
    const left = platform.rehearse(plan, questions, avoid)
    if (!isFailure(left)) return { ...checked(plan, left), avoid }
    if (isKilled(left, 'compare') && !avoid.kcmp) avoid = { ...avoid, kcmp: true }
    else if (isKilled(left, 'regain') && !avoid.regain) avoid = { ...avoid, regain: true }
    else if (isPassing(left) && tries < TRIES) pause()
    else throw platform.explain(left, plan, questions)
    debugRetry('rehearsal', left)
  }
}

/** Whether a seccomp filter has killed the child: one whose action is to kill, not to return an errno. */
const isKilled = ({ step, signal }: Failure, by: Failure['step']): boolean =>
  step === by && signal === constants.signals.SIGSYS

/** A directory that is open for a moment, or ids that the C library is changing. Not a wait that ran out: trying again
 * would take as long. */
const isPassing = ({ step, syscall, errno, signal, tid }: Failure): boolean =>
  errno === 0 &&
  signal === 0 &&
  ((step === 'descriptors' && syscall === 'open') || (step === 'compare' && syscall === 'read' && tid === 0))

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
}

/** @throws HardenError if the child's state is not the expected one */
function checked<T extends Omit<Rehearsal, 'avoid'>>(plan: Plan, rehearsal: T): T {
  const [difference] = compare(inWords(plan.wanted), rehearsal.state)
  const undumpable = rehearsal.dumpable ?? 0
  if (!difference && undumpable === 0) return rehearsal
  const { field, wanted, found } = difference ?? { field: 'dumpable', wanted: '0', found: `${undumpable}` }
  throw new HardenError({
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'verify',
    syscall: 'read',
    wanted,
    found,
    message: `the rehearsal did not lead to the expected state: ${field}: wanted ${wanted || 'none'}, found ${found || 'none'}`,
    remedy: 'look for a security module or a sandbox that alters credentials',
  })
}

/**
 * @param last what JavaScript has to see as late as possible: nothing of it runs between this and the proof
 * @throws HardenError nothing has changed
 */
export function commit(
  platform: Platform,
  plan: Plan,
  first: Rehearsal,
  keepSigusr1: boolean,
  last: () => void,
): Committed {
  let rehearsal = first
  for (let tries = 1; ; tries++) {
    last()
    const done = platform.commit(plan, rehearsal, keepSigusr1)
    if (!isFailure(done)) return done
    if (!isPassing(done) || tries === TRIES) throw platform.explain(done, plan, [])
    debugRetry('commit', done)
    pause()
    rehearsal = rehearse(platform, plan, plan.questions)
    for (const [index, question] of plan.questions.entries())
      refuseAnswer(platform, plan, question, rehearsal.answers[index] as Answer)
  }
}
