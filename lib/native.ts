/**
 * The only typed view of the native addon: it exports nothing else.
 *
 * Everything is synchronous. Sets are 64-bit masks: capability N is bit N (capabilities(7)); on Solaris they are names
 * (privileges(7)). `errno` is the kernel's positive number, of that system.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadAddon } from './addon'
import { HardenError } from './errors'

/** Each step that the kernel is asked for, by its name in src-native/plan.h (EACH_STEP). */
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
  /** 0: yes; for 'exchange': the whole path was walked. */
  readonly errno: number
  /** For 'exchange': who can put something else in the place of a component, */
  readonly by: 'none' | 'user' | 'writer' | 'others'
  /** and the first such component; its links are resolved. */
  readonly found: string | undefined
}

/** What the native plans of both systems have. */
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
  /** The text from observe() when this plan was made. */
  readonly before: string
  /** For the commit: the rehearsing child's text. */
  readonly expected: string
  readonly inside: ArrayBuffer
}

/** A descriptor that matters to a plan; see enum descriptor_kind in src-native/linux/linux.h. */
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

/** A failed call. Nothing has changed. */
export interface Failure {
  readonly step: Step
  readonly syscall: string
  /** 0: no call failed. */
  readonly errno: number
  /** The signal that ended the rehearsing child, or 0. */
  readonly signal: number
  /** The thread or process concerned, or 0. */
  readonly tid: number
  /** The descriptor concerned, or the index of the question. */
  readonly item: number
  /** Of openRoot(): the component at which it failed. */
  readonly found?: string
}

export const isFailure = (answer: object): answer is Failure => Object.hasOwn(answer, 'syscall')

export interface NativeCommitted {
  readonly threads: readonly { readonly tid: number; readonly name: string }[]
  readonly rootChildren: readonly number[]
  /** Attempts at parking every thread. */
  readonly parkTries: number
  readonly parkMicroseconds: number
  readonly applyMicroseconds: number
  readonly readMicroseconds: number
}

/** What the addons of both systems have. */
export interface Addon {
  /** Those that matter to a plan. A Failure about one that would undo a plan. */
  descriptors(): OpenDescriptor[] | Failure
  /** A descriptor of this directory, opened component by component, and its path without links. */
  openRoot(path: string): { descriptor: number; path: string } | Failure
  /** Ignores SIGUSR1 and returns 0. -1: the application's own handler is installed, and stays. Else an errno. */
  holdSigusr1(listened: boolean): number
  giveSigusr1Back(): number
  /** Sets what recall() returns from the commit on, in every thread of the process. */
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
  /** The groups of the account with this id, the primary one among them: getgrouplist(3). A number: an errno. */
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

/** The addon on Linux. */
export interface LinuxAddon extends Addon {
  /** The calling thread: its status text (proc_pid_status(5)), and its securebits, which no text has. */
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
  /** The capabilities without which exec(2) of a file fails: a mask (security.capability, capabilities(7)). */
  fileCapabilities(path: string): bigint
  /** Root processes of this session or process group, without ancestors, their children and ours; at most 1,024. A number: errno. */
  sessionRoot(): number[] | number
  /** cap_from_text(3), or its errno. */
  capabilitiesFromText(text: string): Masks | number
  /** cap_to_name(3) of each capability that this kernel has. */
  capabilityNames(): string[]
}

/** The sets that a plan sets. */
export type PrivilegeSet = 'permitted' | 'limit' | 'effective'

/**
 * Sets are texts for priv_str_to_set(3C); '' is the empty set. null: as the process has it now; with the step
 * 'effective', all that is permitted. Never the names that were found: a set may have bits without a name.
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
  /** The same state as the text that the commit compares. */
  readonly text: string
}

/** The addon on Solaris and illumos. */
export interface SunosAddon extends Addon {
  observe(): SunosState | Failure
  /** Whether any thread of this process has a child. */
  hasChildren(): boolean
  /** The plan in a child that is thrown away. Changes nothing. */
  rehearse(plan: SunosPlan): { answers: Answer[]; state: SunosState; jailed: boolean; inside: ArrayBuffer } | Failure
  /** The plan's steps in the process. A Failure means that nothing has changed. */
  commit(plan: SunosPlan): Pick<NativeCommitted, 'applyMicroseconds' | 'readMicroseconds'> | Failure
  /** priv_str_to_set(3C). A number: the byte offset of an unknown name or, negative, an errno. */
  privilegesFromText(text: string): string[] | number
  /** The sets of the process that equal the text's set, bits without a name included. A number: negative, an errno. */
  setsHeld(text: string): PrivilegeSet[] | number
}

let loaded: Addon | undefined

/**
 * Returns the addon; the caller knows by the platform which of the two it is. Where there is no addon, importing the
 * package still works: the first call throws.
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
  // the first sentence: the message may have several lines
  const reason = cause.message.replace(/\.?(?:\n.*)?$/s, '')
  // a bundle that is an ES module has no __dirname
  const bundled = typeof __dirname === 'undefined' || !existsSync(join(__dirname, '../dist/native.d.ts'))
  return new HardenError({
    code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
    message:
      `the native addon for ${process.platform}-${process.arch} cannot be loaded: ` +
      (bundled ? `privdrop was bundled without its folder prebuilds/ (${reason})` : reason),
    remedy: remedies[cause.code ?? ''] ?? (bundled ? external : rebuild),
    cause,
  })
}

/** By the code of the cause. */
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

// At import rather than in harden(), which would take a millisecond longer; after a chroot the file is out of reach.
if (process.platform === 'linux' || process.platform === 'sunos')
  try {
    native()
  } catch {
    // the first call throws
  }
