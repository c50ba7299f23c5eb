/** The types by which the engine and each system talk to each other. */
import type { Accounts } from './databases'
import type { HardenError, Run } from './errors'
import type { Addon, Answer, Failure, OpenDescriptor, QuestionKind, Step } from './native'
import type { HardenOptions } from './options'
import type { Root } from './root'
import type { Names, State, Thread, Words } from './state'

/** Every finding that harden() and plan() have. A code never changes its meaning; docs/errors.md describes each. */
export type FindingCode =
  | 'HARDEN_USER_ROOT'
  | 'HARDEN_CAPABILITY_IS_ROOT'
  | 'HARDEN_GROUP_IS_ROOT'
  | 'HARDEN_NEXT_START'
  | 'HARDEN_CHILDREN_ROOT'
  | 'HARDEN_TIOCSTI'
  | 'HARDEN_SIGNAL_REPORT'
  | 'HARDEN_PRIVILEGE_ESCALATES'
  | 'HARDEN_NOT_LISTENING'
  | 'HARDEN_OUT_OF_REACH'
  | 'HARDEN_GROUPS_LOST'
  | 'HARDEN_FILE_CAPABILITIES'
  | 'HARDEN_SESSION_ROOT'
  | 'HARDEN_REUSEPORT'
  | 'HARDEN_UNIX_SOCKET'
  | 'HARDEN_BASIC_GONE'
  | 'HARDEN_CHILDREN'
  | 'HARDEN_BOUNDING_KEPT'
  | 'HARDEN_GROUPS_KEPT'
  | 'HARDEN_UNKNOWN_CAPABILITY'
  | 'HARDEN_NOT_EFFECTIVE'
  | 'HARDEN_PRIMARY_ROOT'
  | 'HARDEN_DESCRIPTORS'
  | 'HARDEN_SOCKETS'
  | 'HARDEN_NPROC'
  | 'HARDEN_PROC_IN_CHROOT'
  | 'HARDEN_WRITABLE_ANCESTOR'
  | 'HARDEN_ENVIRONMENT'
  | 'HARDEN_GROUP_ZERO'
  | 'HARDEN_PROCESS_FLAGS'
  | 'HARDEN_NOT_EXAMINED'

/** Something true and worth knowing, and no reason to refuse. */
export interface Finding<Code extends string = FindingCode> {
  /** The finding, for programs: 'HARDEN_USER_ROOT', ... One meaning each; docs/errors.md has them all. */
  readonly code: Code
  /** danger: another process of the new user, or an attacker in this one, gains more than was retained. note: the rest. */
  readonly level: 'danger' | 'note'
  /** One sentence without its full stop; the remedy is not in it. */
  readonly message: string
  /** Another such sentence: what to do. */
  readonly remedy: string
}

/** The calling thread, as the kernel describes it. */
export interface Observation {
  readonly state: State
  /** The text that the state was read from; the commit compares with it. */
  readonly text: string
  /** The most supplementary groups that this system takes. */
  readonly groupsMax: number
}

/** The identity to assume, with names resolved. */
export interface Request {
  readonly options: HardenOptions
  readonly uid: number
  readonly gid: number
  /** Ascending; undefined: the option was not given. */
  readonly groups: readonly number[] | undefined
}

/** What a system decides: the expected state, and the way to it. */
export interface Decision {
  /** The expected state of every thread. */
  readonly wanted: State
  /** In the order in which they are taken, without those whose state holds already. */
  readonly steps: readonly Step[]
}

/** A question to the rehearsing child, as the new identity. */
export interface Question {
  readonly kind: QuestionKind
  /** '' for a port or a descriptor. */
  readonly path: string
  /** A TCP port, a descriptor; for 'exchange' 1 if the last component counts as well. */
  readonly number: number
  /** The option that it comes from: a bad answer is a refusal. undefined: a bad answer becomes a finding. */
  readonly option: string | undefined
  /** For a finding: what the path is to the process. */
  readonly role: string
}

/** Everything that is decided. Frozen. */
export interface Plan extends Decision {
  readonly before: Observation
  /** Those of the options `rehearse` and `chroot`. */
  readonly questions: readonly Question[]
  /** The groups of any process of the new user: the plan's and the account's. */
  readonly accountGroups: readonly number[]
  /** supplementalGroups was given. */
  readonly explicitGroups: boolean
  /** Open; whoever made the plan closes it. */
  readonly root: Root | undefined
  readonly findings: readonly Finding[]
  /** Names of the ids in `wanted`, for people to read: looked up when they are shown, and before a chroot that hides them. */
  readonly accounts: () => Accounts
}

/** What the rehearsing child left behind. */
export interface Rehearsal {
  readonly state: State
  /** The kernel's text about the child, which every thread's must equal after the commit. */
  readonly text: string
  /** One for each question that was asked. */
  readonly answers: readonly Answer[]
  /** prctl(2), PR_GET_DUMPABLE; undefined on Solaris. */
  readonly dumpable: number | undefined
  /** The open directories inside the new root: opaque. */
  readonly inside: ArrayBuffer
  readonly avoid: Avoid
}

/** Calls for which a filter kills the process: the rehearsal leaves them out. */
export interface Avoid {
  readonly kcmp: boolean
  readonly regain: boolean
}

/** The result of a commit. Every thread is proved. */
export interface Committed {
  readonly threads: readonly Thread[]
  /** Child processes that are root. */
  readonly rootChildren: readonly number[]
  readonly timings: readonly Timing[]
  /** Attempts at parking every thread; undefined on Solaris. */
  readonly parkTries?: number
}

/** How long a part took, in microseconds. */
export interface Timing {
  readonly name: string
  readonly us: number
}

/** What the hazards examine. */
export interface Scene {
  readonly platform: Platform
  readonly plan: Plan
  /** Those that matter to a plan; undefined: they could not be listed. */
  readonly descriptors: readonly OpenDescriptor[] | undefined
  /** What exists and could not be read; tryReading() adds to it. */
  readonly unread: Set<string>
}

/** @throws HardenError if the plan must not even be rehearsed */
export type Hazard = (scene: Scene) => Finding | undefined

export interface Kind {
  readonly state: State
  readonly threads: readonly Thread[]
}

/** The state of every thread at one time. */
export interface Threads {
  readonly source: 'proc' | 'process'
  /** Threads grouped by their state, the main thread's group first. */
  readonly kinds: readonly Kind[]
  /** What SIGUSR1 does. Caught by Node itself it opens the inspector; by default it ends the process. */
  readonly sigusr1: 'ignored' | 'caught' | 'default'
}

/** What each system implements. Whatever throws, throws HardenError. */
export interface Platform {
  readonly name: 'linux' | 'sunos'
  /** What both systems' addons have. */
  addon(): Addon
  observe(): Observation | Failure
  /** @returns whether the texts of the options can be parsed; each mistake is given to `run` */
  readTexts(options: HardenOptions, run: Run): boolean
  /** @throws HardenError if the options ask for what this system cannot do */
  decide(request: Request, before: Observation, findings: Finding[]): Decision
  /** The text that an option takes, from words that were given as a list; undefined: there is none. */
  textOf(option: string, words: readonly string[]): string | undefined
  /** In the order of the report: dangers first. */
  readonly hazards: readonly Hazard[]
  /** The plan's steps in a child that is thrown away. Changes nothing. */
  rehearse(plan: Plan, questions: readonly Question[], avoid: Avoid): Omit<Rehearsal, 'avoid'> | Failure
  /** The plan's steps in every thread. A Failure means that nothing has changed. */
  commit(plan: Plan, rehearsal: Rehearsal, keepSigusr1: boolean): Committed | Failure
  /** A failed step as an error with its remedy. */
  explain(failure: Failure, plan: Plan | undefined, questions: readonly Question[]): HardenError
  /** The system call behind each kind of question. */
  callOf(kind: QuestionKind): string
  /** The remedy for a bad answer. */
  remedyForAnswer(question: Question, errno: number, plan: Plan): string
  /** The finding about child processes that are root. */
  rootChildren(pids: readonly number[]): Finding | undefined
  /** The names of all capabilities or privileges of this system. */
  allNames(): Names
  /** Files besides Node's modules on which the next start depends. */
  libraries(): readonly string[]
  /** Every thread's state, at any time. `root`: placeOf() the new root, if there is one. */
  readThreads(root: string | undefined): Threads
}

/** What harden() has promised: a word for each field, and placeOf() the new root. */
export interface Promised {
  readonly words: Words
  readonly root: string | undefined
  readonly allowInspector: boolean
}
