/**
 * The only loader, and the only typed view, of the native addon. Whatever is not here does not exist in it.
 *
 * Everything is synchronous. Sets are 64-bit masks: capability N is bit N (capabilities(7)); on Solaris they are names
 * (privileges(7)). `errno` is the kernel's positive number, of that system.
 */
import { join } from 'node:path'
import type { PrivilegeSets } from './audit'
import { HardenError } from './errors'

/** A step of the list in src-native/linux/steps.c; the kernel is asked in this order. */
export type Step =
  | 'chroot'
  | 'bounding'
  | 'setgroups'
  | 'setresgid'
  | 'keepcaps'
  | 'setresuid'
  | 'capset'
  | 'keepcaps back'
  | 'ambient'
  | 'no_new_privs'

/** What the native steps need to know; see struct plan in src-native/plan.h. */
export interface NativePlan {
  /** What observe() gave: the state in which every thread must be for this plan to be right. */
  readonly before: ArrayBuffer
  readonly steps: readonly Step[]
  readonly uid: number
  readonly gid: number
  /** Ascending. */
  readonly groups: Uint32Array
  readonly permitted: bigint
  readonly effective: bigint
  readonly inheritable: bigint
  readonly ambient: bigint
  readonly boundingDrop: bigint
  /** An open directory, for the step 'chroot'; else -1. */
  readonly root: number
  /** The application listens for SIGUSR1 itself. */
  readonly keepSigusr1: boolean
  /** For the rehearsal. */
  readonly attempts: readonly Attempt[]
}

/** Something that the new identity must be able to use. */
export interface Attempt {
  readonly step: 'read' | 'write' | 'bind'
  /** Of a file; else ''. */
  readonly path: string
  /** TCP; else 0. */
  readonly port: number
}

/** A descriptor that means something to a plan; see enum descriptor_kind in src-native/plan.h. */
export interface OpenDescriptor {
  readonly descriptor: number
  readonly kind: 'listens' | 'raw' | 'packet' | 'netlink'
}

/** One task: its /proc text, and the securebits that the text does not have. */
export interface TaskText {
  readonly tid: number
  readonly status: string
  readonly securebits: number
  /** Its root and working directory are NativePlan.root. */
  readonly jailed: boolean
}

/** What a thread says of itself. Ids: real, effective, saved, file system. */
export interface SelfReport extends Masks {
  readonly tid: number
  readonly name: string
  readonly user: readonly [number, number, number, number]
  readonly group: readonly [number, number, number, number]
  readonly groups: readonly number[]
  readonly bounding: bigint
  readonly ambient: bigint
  readonly securebits: number
  readonly noNewPrivileges: boolean
  /** Of its root directory, as in stat(2). */
  readonly rootDevice: bigint
  readonly rootInode: bigint
  /** Its working directory is inside of its root. */
  readonly inside: boolean
}

export interface Reading {
  readonly tasks: readonly TaskText[]
  /** Of a rehearsal: open files that the new identity could not open itself; at most 16. */
  readonly foreign: readonly number[]
  /** prctl(2), PR_GET_DUMPABLE */
  readonly dumpable: number
  readonly parkMicroseconds: number
  readonly applyMicroseconds: number
  readonly readMicroseconds: number
}

/** Nothing has changed. */
export interface Failure {
  readonly step: string
  readonly syscall: string
  /** 0: no call failed. */
  readonly errno: number
  /** The signal that ended the rehearsing child, or 0. */
  readonly signal: number
  /** The thread that it is about, or 0. */
  readonly tid: number
  /** The descriptor that it is about, or the place in `attempts`. */
  readonly item: number
}

export interface Masks {
  readonly permitted: bigint
  readonly effective: bigint
  readonly inheritable: bigint
}

/** What every platform's addon has. */
export interface Addon {
  /** Those that mean something. A Failure about one by which a plan would be undone. `root`: an open directory, or -1. */
  descriptors(root: number): OpenDescriptor[] | Failure
  /** Of any thread of this process. */
  hasChildren(): boolean
  /** For recall(), in whatever thread of the process. */
  remember(text: string): void
  recall(): string | undefined
  /** undefined: there is no such account. A number: the errno of a name service that failed. */
  userByName(name: string): { uid: number; gid: number } | number | undefined
  userById(uid: number): { gid: number } | number | undefined
  groupByName(name: string): { gid: number } | number | undefined
}

/** Linux. */
export interface Native extends Addon {
  /** The calling thread. */
  observe(): { status: string; securebits: number; credentials: ArrayBuffer } | Failure
  /** The plan in a child that is thrown away. Changes nothing. */
  rehearse(plan: NativePlan): Reading | Failure
  /** The plan in every thread. A Failure means that nothing has changed; an exception of `verify` ends the process. */
  commit<T extends object>(plan: NativePlan, verify: (reading: Reading) => T): T | Failure
  /** Every thread about itself, each stopped for a moment. `stat`: /proc/self/stat, opened when there was a /proc. */
  askEveryThread(stat: number): SelfReport[] | Failure
  /** cap_from_text(3), or its errno. */
  capabilitiesFromText(text: string): Masks | number
  /** cap_to_name(3) of each capability that this kernel has. */
  capabilityNames(): string[]
}

/** A step of the list in src-native/sunos; the kernel is asked in this order. */
export type SunosStep =
  | 'setgroups'
  | 'setgid'
  | 'chroot'
  | 'setpflags'
  | 'setuid'
  | 'xpolicy'
  | 'pfexec'
  | 'permitted'
  | 'limit'
  | 'effective'

/** Those that a plan sets. */
export type PrivilegeSet = 'permitted' | 'limit' | 'effective'

/**
 * Sets are texts for priv_str_to_set(3C); '' is the empty set. null: as the process has it now; with the step 'effective', all that
 * is permitted. Never the names of what was found: a set has bits without a name, and all of them are one of its words.
 */
export interface SunosPlan extends Pick<NativePlan, 'uid' | 'gid' | 'groups' | 'root' | 'keepSigusr1' | 'attempts'> {
  readonly steps: readonly SunosStep[]
  readonly permitted: string | null
  readonly limit: string | null
  readonly effective: string | null
}

/** What the kernel says of the process. Ids: real, effective, saved. Names as in priv_set_to_str(3C), without 'priv_'. */
export interface SunosState {
  readonly user: readonly [number, number, number]
  readonly group: readonly [number, number, number]
  readonly groups: readonly number[]
  readonly privileges: PrivilegeSets
  /** getpflags(2): which of PRIV_AWARE, PRIV_XPOLICY, PRIV_PFEXEC are set */
  readonly flags: readonly string[]
  readonly sigusr1Ignored: boolean
  /** sysconf(3C), _SC_NGROUPS_MAX */
  readonly groupsMax: number
}

export interface SunosReading extends Pick<Reading, 'foreign' | 'applyMicroseconds' | 'readMicroseconds'> {
  readonly state: SunosState
  /** The root and working directory are SunosPlan.root. */
  readonly jailed: boolean
}

/** Solaris and illumos. */
export interface SunosNative extends Addon {
  observe(): SunosState | Failure
  /** The plan in a child that is thrown away. Changes nothing. */
  rehearse(plan: SunosPlan): SunosReading | Failure
  /** The plan. A Failure means that nothing has changed; an exception of `verify` ends the process. */
  commit<T extends object>(plan: SunosPlan, verify: (reading: SunosReading) => T): T | Failure
  /** priv_str_to_set(3C). A number: the byte at which what it does not know begins, or, negative, an errno. */
  privilegesFromText(text: string): string[] | number
  /** Which sets of the process are exactly what the text says, bits without a name among them. A number: negative, an errno. */
  setsHeld(text: string): PrivilegeSet[] | number
}

let loaded: Addon | undefined

/**
 * Which of the two it is follows from the platform, which index.ts of platform/ has chosen. Where there is no addon,
 * importing the package works all the same: the first call says so.
 */
export function native<Ours extends Addon = Native>(): Ours {
  try {
    // not an import: it looks for a file when it is loaded, which Node's permissions may forbid
    loaded ??= (require('node-gyp-build') as (folder: string) => Addon)(join(__dirname, '..'))
    return loaded as Ours
  } catch (cause) {
    throw unloadable(cause as Error & { code?: string })
  }
}

function unloadable(cause: Error & { code?: string }): HardenError {
  // one sentence, of what may be several lines
  const reason = cause.message.replace(/\.?(?:\n.*)?$/s, '')
  return new HardenError({
    code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
    message: `the native addon for ${process.platform}-${process.arch} cannot be loaded: ${reason}`,
    remedy: remedies[cause.code ?? ''] ?? rebuild,
    cause,
  })
}

/** By the code of what prevents it. */
const remedies: Partial<Record<string, string>> = {
  ERR_DLOPEN_DISABLED: 'start Node with --allow-addons next to --permission, and without --no-addons',
  ERR_ACCESS_DENIED:
    "start Node with --allow-addons, and with --allow-fs-read of the application's folder and of /etc/alpine-release",
}

const needs =
  process.platform === 'sunos' ? 'a C compiler, make and python' : 'a C++ compiler, make, python and libcap-dev'
const rebuild =
  "reinstall privdrop so that its folder prebuilds/ is complete, or build it in the application's folder " +
  `(needs ${needs}): npm install --no-save node-addon-api@8 && npm explore privdrop -- npm run build:native`

// Here rather than in harden(), which it would make a millisecond longer; and in a chroot there is nothing to load from.
if (process.platform === 'linux' || process.platform === 'sunos')
  try {
    native()
  } catch {
    // whoever calls it is told
  }
