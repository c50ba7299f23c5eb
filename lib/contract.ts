/** What the engine and a system say to one another: types alone. */
import type { Accounts } from './databases'
import type { HardenError, Run } from './errors'
import type { Addon, Answer, Failure, OpenDescriptor, QuestionKind, Step } from './native'
import type { HardenOptions } from './options'
import type { Root } from './root'
import type { Names, State, Thread, Words } from './state'

/** Every finding that harden() and plan() have. None changes its meaning; docs/errors.md says what each is. */
export type FindingCode =
  | 'HARDEN_USER_ROOT'
  | 'HARDEN_CAPABILITY_IS_ROOT'
  | 'HARDEN_GROUP_IS_ROOT'
  | 'HARDEN_NEXT_START'
  | 'HARDEN_CHILDREN_ROOT'
  | 'HARDEN_TIOCSTI'
  | 'HARDEN_SUID_DUMPABLE'
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

/** True, worth knowing, and no reason to stop. */
export interface Finding<Code extends string = FindingCode> {
  /** Which finding it is, for programs: 'HARDEN_USER_ROOT', ... One meaning each; docs/errors.md has them all. */
  readonly code: Code
  /** danger: another process of the new user, or an attacker in this one, gains more than was retained. note: the rest. */
  readonly level: 'danger' | 'note'
  /** One sentence without its full stop, and without the remedy. */
  readonly message: string
  /** Another such sentence: what to do. */
  readonly remedy: string
}

/** The calling thread, as the kernel describes it. */
export interface Observation {
  readonly state: State
  /** The text that it was read from, with which the commit compares. */
  readonly text: string
  /** The most supplementary groups that this system takes. */
  readonly groupsMax: number
}

/** Who the process has to be: names are resolved. */
export interface Request {
  readonly options: HardenOptions
  readonly uid: number
  readonly gid: number
  /** Ascending; undefined: none was asked for. */
  readonly groups: readonly number[] | undefined
}

/** What a system decides. */
export interface Decision {
  /** What every thread has to be. */
  readonly wanted: State
  /** The steps to it, in the kernel's order, without those whose state holds already. */
  readonly steps: readonly Step[]
}

/** What the rehearsing child is asked, as the new identity. */
export interface Question {
  readonly kind: QuestionKind
  /** '' for a port or a descriptor. */
  readonly path: string
  /** A TCP port, a descriptor; for 'exchange' 1 if the last component counts as well. */
  readonly number: number
  /** The option that asks it: a bad answer is a refusal. undefined: it becomes a finding. */
  readonly option: string | undefined
  /** Of a finding: what the path is to the process. */
  readonly role: string
}

/** Everything that is decided. Frozen. */
export interface Plan extends Decision {
  readonly before: Observation
  /** Of `rehearse` and `chroot`. */
  readonly questions: readonly Question[]
  /** What any process of the new user has: the plan's groups and the account's. */
  readonly accountGroups: readonly number[]
  /** supplementalGroups was given. */
  readonly explicitGroups: boolean
  /** Open: to be closed by the caller that made the plan. */
  readonly root: Root | undefined
  readonly findings: readonly Finding[]
  /** Names of the ids in `wanted`, for people to read: looked up when they are shown, and before a chroot that hides them. */
  readonly accounts: () => Accounts
}

/** What the rehearsing child has left. */
export interface Rehearsal {
  readonly state: State
  /** The kernel's text about it: what every thread must equal after the commit. */
  readonly text: string
  /** One for each question that was asked. */
  readonly answers: readonly Answer[]
  /** prctl(2), PR_GET_DUMPABLE; undefined on Solaris. */
  readonly dumpable: number | undefined
  /** The open directories inside of the new root: opaque. */
  readonly inside: ArrayBuffer
  readonly avoid: Avoid
}

/** What a filter kills the process for: the rehearsal goes without. */
export interface Avoid {
  readonly kcmp: boolean
  readonly regain: boolean
}

/** What a commit has led to. Every thread is proved. */
export interface Committed {
  readonly threads: readonly Thread[]
  /** Child processes that are root. */
  readonly rootChildren: readonly number[]
  readonly timings: readonly Timing[]
  /** Attempts at stopping every thread, where that is needed. */
  readonly parkTries?: number
}

/** How long a part took, in microseconds. */
export interface Timing {
  readonly name: string
  readonly us: number
}

/** Where hazards look. */
export interface Scene {
  readonly platform: Platform
  readonly plan: Plan
  /** Those that mean something; undefined: they could not be listed. */
  readonly descriptors: readonly OpenDescriptor[] | undefined
  /** What could not be read, though it is there: to be added to by look(). */
  readonly unread: Set<string>
}

export type Hazard = (scene: Scene) => Finding | undefined

export interface Kind {
  readonly state: State
  readonly threads: readonly Thread[]
}

/** What is known of every thread at some time. */
export interface Look {
  readonly source: 'proc' | 'process'
  /** Threads that are alike together: first those that are as the main thread is. */
  readonly kinds: readonly Kind[]
  /** What SIGUSR1 does: by default it opens Node's inspector, or ends the process. */
  readonly sigusr1: 'ignored' | 'caught' | 'default'
}

/** What a system has to answer. Whatever throws, throws HardenError. */
export interface Platform {
  readonly name: 'linux' | 'sunos'
  /** What both systems' addons have. */
  addon(): Addon
  observe(): Observation | Failure
  /** @returns whether the texts of the options are understood; what is wrong with each is given to `run` */
  readTexts(options: HardenOptions, run: Run): boolean
  /** @throws HardenError what the options ask and this system cannot do */
  decide(request: Request, before: Observation, findings: Finding[]): Decision
  /** The text that an option takes for words which were given as a list; undefined: it takes none. */
  textOf(option: string, words: readonly string[]): string | undefined
  /** In the order of the report: dangers first. */
  readonly hazards: readonly Hazard[]
  /** The plan's steps in a child that is thrown away. Changes nothing. */
  rehearse(plan: Plan, questions: readonly Question[], avoid: Avoid): Omit<Rehearsal, 'avoid'> | Failure
  /** The plan's steps in every thread. A Failure means that nothing has changed. */
  commit(plan: Plan, rehearsal: Rehearsal, keepSigusr1: boolean): Committed | Failure
  /** What a step that failed means, and what to do about it. */
  explain(failure: Failure, plan: Plan | undefined, questions: readonly Question[]): HardenError
  /** The system call behind each kind of question. */
  callOf(kind: QuestionKind): string
  /** Why a question was answered so, and what to do about it. */
  remedyForAnswer(question: Question, errno: number, plan: Plan): string
  /** What is worth knowing of child processes that are root. */
  rootChildren(pids: readonly number[]): Finding | undefined
  /** Every capability or privilege of this system, by its name. */
  allNames(): Names
  /** Files beside Node's modules on which the next start rests. */
  libraries(): readonly string[]
  /** Every thread, read at any time. `root`: where the new root is, if there is one. */
  look(root: string | undefined): Look
}

/** What harden() has promised: words, and where the new root is. */
export interface Promised {
  readonly words: Words
  readonly root: string | undefined
  readonly allowInspector: boolean
}
