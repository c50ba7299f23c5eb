/**
 * The only typed view of the native addon. Whatever is not here does not exist in it.
 *
 * Everything is synchronous. Sets are 64-bit masks: capability N is bit N (capabilities(7)); on Solaris they are names
 * (privileges(7)). `errno` is the kernel's positive number, of that system.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadAddon } from './addon'
import { HardenError } from './errors'

/** Each step that the kernel is asked for, as src-native/plan.h names them (EACH_STEP). */
export type Step =
  | 'proc'
  | 'observe'
  | 'chroot'
  | 'descriptors'
  | 'rehearsal child'
  | 'memory'
  | 'signal mask'
  | 'signal 33'
  | 'park'
  | 'compare'
  | 'shared memory'
  | 'SIGUSR1'
  | 'protect'
  | 'bounding'
  | 'setgroups'
  | 'setresgid'
  | 'setgid'
  | 'keepcaps'
  | 'setresuid'
  | 'setpflags'
  | 'setuid'
  | 'xpolicy'
  | 'pfexec'
  | 'permitted'
  | 'limit'
  | 'effective'
  | 'capset'
  | 'keepcaps back'
  | 'ambient'
  | 'no_new_privs'
  | 'dumpable'
  | 'regain'
  | QuestionKind
  | 'read back'

export type QuestionKind = 'read' | 'write' | 'enter' | 'bind' | 'reopen' | 'exchange'

/** See struct question in src-native/plan.h. */
export interface NativeQuestion {
  readonly kind: QuestionKind
  readonly path: string
  readonly number: number
}

export interface Answer {
  /** 0: yes; for 'exchange': the path was walked to its end. */
  readonly errno: number
  /** Of 'exchange': processes that can put something else in the place of a component, */
  readonly by: 'none' | 'user' | 'writer' | 'others'
  /** and the first such component; its links are resolved. */
  readonly found: string | undefined
}

/** What both systems' native plans have. */
export interface NativePlan {
  readonly steps: readonly Step[]
  readonly uid: number
  readonly gid: number
  /** Ascending. */
  readonly groups: Uint32Array
  readonly accountGroups: Uint32Array
  /** An open directory, for the step 'chroot'; else -1. */
  readonly root: number
  /** The application's handler of SIGUSR1 is installed. */
  readonly keepSigusr1: boolean
  readonly questions: readonly NativeQuestion[]
  /** What observe() said, for which this plan is right. */
  readonly before: string
  /** For the commit: what the rehearsing child left. */
  readonly expected: string
  readonly inside: ArrayBuffer
}

/** A descriptor that means something to a plan; see enum descriptor_kind in src-native/linux/linux.h. */
export interface OpenDescriptor {
  readonly descriptor: number
  readonly kind: 'file' | 'listens' | 'datagram' | 'peer' | 'raw' | 'packet' | 'netlink'
  /** A file: it was opened for writing. */
  readonly writable: boolean
  /** A listener: SO_REUSEPORT (socket(7)). */
  readonly sharesPort: boolean
  /** The path of a Unix listener or peer; else ''. */
  readonly name: string
}

/** Nothing has changed. */
export interface Failure {
  readonly step: Step
  readonly syscall: string
  /** 0: no call failed. */
  readonly errno: number
  /** The signal that ended the rehearsing child, or 0. */
  readonly signal: number
  /** The thread or process that it is about, or 0. */
  readonly tid: number
  /** The descriptor that it is about, or the place in `questions`. */
  readonly item: number
  /** Of openRoot(): the component at which it failed. */
  readonly found?: string
}

export const isFailure = (answer: object): answer is Failure => Object.hasOwn(answer, 'syscall')

export interface NativeCommitted {
  readonly threads: readonly { readonly tid: number; readonly name: string }[]
  readonly rootChildren: readonly number[]
  /** Attempts at stopping every thread. */
  readonly parkTries: number
  readonly parkMicroseconds: number
  readonly applyMicroseconds: number
  readonly readMicroseconds: number
}

/** What both systems' addons have. */
export interface Addon {
  /** Those that mean something. A Failure about one by which a plan would be undone. */
  descriptors(): OpenDescriptor[] | Failure
  /** A descriptor of this directory, opened component by component, and its path without links. */
  openRoot(path: string): { descriptor: number; path: string } | Failure
  /** Ignore SIGUSR1: 0. -1: the application's own handler is installed, and stays. Else an errno. */
  holdSigusr1(listened: boolean): number
  giveSigusr1Back(): number
  /** What recall() answers from the commit on, in every thread of the process. */
  promise(text: string): void
  recall(): string | undefined
  /** One byte of native memory: 1 from the commit on. */
  kept(): ArrayBuffer
  /** One line on file descriptor 2, then SIGABRT. */
  endProcess(reason: string): never
  /** undefined: there is no such account. A number: the errno of a name service that failed. */
  userByName(name: string): { uid: number; gid: number } | number | undefined
  userById(uid: number): { gid: number } | number | undefined
  groupByName(name: string): { gid: number } | number | undefined
  groupById(gid: number): string | number | undefined
  /** Of the account with this id, its primary group among them: getgrouplist(3). A number: an errno. */
  accountGroups(uid: number, primary: number): number[] | number
}

/** Capability N is bit N. */
export interface Masks {
  readonly permitted: bigint
  readonly effective: bigint
  readonly inheritable: bigint
}

/** See struct plan in src-native/linux/linux.h. */
export interface LinuxPlan extends NativePlan, Masks {
  readonly ambient: bigint
  readonly boundingDrop: bigint
  readonly heldPermitted: bigint
  readonly heldEffective: bigint
  readonly heldInheritable: bigint
  readonly heldGroups: number
  readonly securebits: number
  readonly withoutKcmp: boolean
  readonly withoutRegain: boolean
}

/** Linux. */
export interface LinuxAddon extends Addon {
  /** The calling thread: its status text (proc_pid_status(5)), and its securebits, of which no text tells. */
  observe(): { status: string; securebits: number } | Failure
  /** The plan in a child that is thrown away. Changes nothing. */
  rehearse(plan: LinuxPlan):
    | {
        answers: Answer[]
        status: string
        securebits: number
        jailed: boolean
        dumpable: number
        inside: ArrayBuffer
      }
    | Failure
  /** The plan in every thread. A Failure means that nothing has changed. */
  commit(plan: LinuxPlan): NativeCommitted | Failure
  /** The paths of the libraries and addons that are loaded. */
  libraries(): string[]
  /** What a file must be given by exec(2), else that fails: a mask (security.capability, capabilities(7)). */
  fileCapabilities(path: string): bigint
  /** Root's processes of this session or process group that are neither ancestors nor children; at most 1,024. A number: errno. */
  sessionRoot(): number[] | number
  /** cap_from_text(3), or its errno. */
  capabilitiesFromText(text: string): Masks | number
  /** cap_to_name(3) of each capability that this kernel has. */
  capabilityNames(): string[]
}

/** Those that a plan sets. */
export type PrivilegeSet = 'permitted' | 'limit' | 'effective'

/**
 * Sets are texts for priv_str_to_set(3C); '' is the empty set. null: as the process has it now; with the step 'effective', all that
 * is permitted. Never the names of what was found: a set has bits without a name, and all of them are one of its words.
 */
export interface SunosPlan extends NativePlan {
  readonly permitted: string | null
  readonly limit: string | null
  readonly effective: string | null
}

/** What the kernel says of the process. Ids: real, effective, saved. Names as in priv_set_to_str(3C), without 'priv_'. */
export interface SunosState {
  readonly user: readonly [number, number, number]
  readonly group: readonly [number, number, number]
  readonly groups: readonly number[]
  readonly privileges: {
    readonly permitted: readonly string[]
    readonly limit: readonly string[]
    readonly effective: readonly string[]
    readonly inheritable: readonly string[]
  }
  /** getpflags(2): which of PRIV_AWARE, PRIV_XPOLICY, PRIV_PFEXEC are set */
  readonly flags: readonly string[]
  readonly sigusr1: 'ignored' | 'caught' | 'default'
  /** sysconf(3C), _SC_NGROUPS_MAX */
  readonly groupsMax: number
  /** The same as the commit compares it. */
  readonly text: string
}

/** Solaris and illumos. */
export interface SunosAddon extends Addon {
  observe(): SunosState | Failure
  /** Of any thread of this process. */
  hasChildren(): boolean
  /** The plan in a child that is thrown away. Changes nothing. */
  rehearse(plan: SunosPlan): { answers: Answer[]; state: SunosState; jailed: boolean; inside: ArrayBuffer } | Failure
  /** The plan. A Failure means that nothing has changed. */
  commit(plan: SunosPlan): Pick<NativeCommitted, 'applyMicroseconds' | 'readMicroseconds'> | Failure
  /** priv_str_to_set(3C). A number: the byte at which what it does not know begins, or, negative, an errno. */
  privilegesFromText(text: string): string[] | number
  /** Which sets of the process are exactly what the text says, bits without a name among them. A number: negative, an errno. */
  setsHeld(text: string): PrivilegeSet[] | number
}

let loaded: Addon | undefined

/**
 * Which of the two it is follows from the platform, which index.ts of platform/ has chosen. Where there is no addon,
 * importing the package still works: the first call says so.
 */
export function native<Ours extends Addon = Addon>(): Ours {
  try {
    loaded ??= loadAddon() as Addon
    return loaded as Ours
  } catch (cause) {
    throw unloadable(cause as Error & { code?: string })
  }
}

function unloadable(cause: Error & { code?: string }): HardenError {
  // one sentence, of what may be several lines
  const reason = cause.message.replace(/\.?(?:\n.*)?$/s, '')
  // a bundle that is an ES module has no __dirname
  const bundled = typeof __dirname === 'undefined' || !existsSync(join(__dirname, '../dist/native.d.ts'))
  return new HardenError({
    code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
    message:
      `the native addon for ${process.platform}-${process.arch} cannot be loaded: ` +
      (bundled ? `privdrop has been bundled away from its folder prebuilds/ (${reason})` : reason),
    remedy: remedies[cause.code ?? ''] ?? (bundled ? external : rebuild),
    cause,
  })
}

/** By the code of what prevents it. */
const remedies: Partial<Record<string, string>> = {
  ERR_DLOPEN_DISABLED: 'start Node with --allow-addons next to --permission, and without --no-addons',
  ERR_ACCESS_DENIED:
    "start Node with --allow-addons, and with --allow-fs-read of the application's folder and of /etc/alpine-release",
}

const external =
  'leave privdrop out of the bundle and install it beside: --external:privdrop for esbuild, ' +
  "externals: { privdrop: 'commonjs privdrop' } for webpack, --external privdrop for rollup and ncc; see docs/bundles.md"

const [needs, headers] =
  process.platform === 'sunos'
    ? ['a C compiler, make and python', '']
    : ['a C++ compiler, make, python and libcap-dev', 'npm install --no-save node-addon-api@8 && ']
const rebuild =
  "reinstall privdrop so that its folder prebuilds/ is complete, or build it in the application's folder " +
  `(needs ${needs}): ${headers}npm explore privdrop -- npm run build:native`

// Here rather than in harden(), which it would make a millisecond longer; and in a chroot there is nothing to load from.
if (process.platform === 'linux' || process.platform === 'sunos')
  try {
    native()
  } catch {
    // the first call says so
  }
