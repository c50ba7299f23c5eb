/**
 * The kernel's text about a task to a state, and states to differences. It shares nothing with what applies a plan.
 */
import type { Reading, TaskText } from './native'

/** The four user or group ids of a thread (credentials(7)). */
export interface Ids {
  readonly real: number
  readonly effective: number
  readonly saved: number
  readonly fs: number
}

export const isAny = (ids: Ids, id: number): boolean => Object.values(ids).includes(id)

/** What Linux and Solaris have in common. */
export interface CommonCredentials {
  readonly user: Ids
  readonly group: Ids
  /** Ascending. */
  readonly groups: readonly number[]
  /** Its root and working directory are the ones that a chroot was asked for. */
  readonly jailed: boolean
  /** Linux alone has them. */
  readonly securebits?: number | undefined
}

/** What Linux keeps for each thread, of which this package decides. Sets are masks: capability N is bit N. */
export interface Credentials extends CommonCredentials {
  readonly permitted: bigint
  readonly effective: bigint
  readonly inheritable: bigint
  readonly bounding: bigint
  readonly ambient: bigint
  readonly securebits: number
  readonly noNewPrivileges: boolean
}

export interface ThreadState extends Credentials {
  readonly tid: number
  readonly name: string
}

/** What Solaris keeps, for the process: its threads have no credentials of their own (privileges(7)). */
export interface ProcessCredentials extends CommonCredentials {
  /** Names, in the system's order. */
  readonly privileges: PrivilegeSets
  /** setpflags(2). PRIV_AWARE: no user id gives or takes privileges. */
  readonly flags: readonly string[]
}

/** The privilege sets of a Solaris process (privileges(7)): names in the system's order. */
export interface PrivilegeSets {
  readonly permitted: readonly string[]
  readonly limit: readonly string[]
  readonly effective: readonly string[]
  readonly inheritable: readonly string[]
}

export interface ProcessState extends ProcessCredentials {
  /** getpid(2) */
  readonly tid: number
  readonly name: string
}

/** Of whatever platform: those with `privileges` are of Solaris. */
export type AnyCredentials = Seen<Credentials> | ProcessCredentials
export type AnyState = Seen<ThreadState> | ProcessState

/** One comparable word a field; what is not known is left out. */
export type Words = Readonly<Record<string, string>>

/** In one thread one field that is not as it was wanted. */
export interface Discrepancy {
  readonly tid: number
  readonly name: string
  readonly field: string
  readonly wanted: string
  readonly found: string
}

/** By the lines that they were parsed from: the threads of a process have nearly always the same. */
type Known = Map<string, ReturnType<typeof parseLines>>

/**
 * From /proc/PID/task/TID/status (proc_pid_status(5)) and PR_GET_SECUREBITS.
 *
 * @throws Error if a field is missing or malformed: what the kernel did not say is not assumed
 */
export function parseTask({ securebits, ...task }: TaskText, known?: Known): ThreadState {
  return { ...parseStatus(task, known), securebits }
}

/** The same without the securebits, of which the text does not tell. */
export function parseStatus(
  { tid, status, jailed }: Omit<TaskText, 'securebits'>,
  known: Known = new Map(),
): Omit<ThreadState, 'securebits'> {
  // what stands in between changes with nobody's credentials; a line that is not there is missed below
  const part = (first: string, last: string): string => {
    const start = status.indexOf(`\n${first}:`)
    return status.slice(start, status.indexOf('\n', status.indexOf(`\n${last}:`, start) + 1))
  }
  const lines = part('Uid', 'Groups') + part('CapInh', 'NoNewPrivs')
  const credentials = known.get(lines) ?? parseLines(tid, `${lines}\n`)
  known.set(lines, credentials)
  return { tid, name: status.slice('Name:\t'.length, status.indexOf('\n')), ...credentials, jailed }
}

function parseLines(tid: number, lines: string) {
  const field = (name: string): string => {
    const start = lines.indexOf(`\n${name}:\t`)
    const end = lines.indexOf('\n', start + 1)
    if (start < 0 || end < 0) throw new Error(`the status of thread ${tid} has no line ${name}`)
    return lines.slice(start + name.length + 3, end)
  }
  const numbers = (name: string): number[] => {
    const words = field(name).match(/\S+/g) ?? []
    if (!words.every((word) => /^\d+$/.test(word)))
      throw new Error(`the status of thread ${tid} has an odd line ${name}`)
    return words.map(Number)
  }
  const ids = (name: string): Ids => {
    const [real, effective, saved, fs, ...more] = numbers(name)
    if (real === undefined || effective === undefined || saved === undefined || fs === undefined || more.length)
      throw new Error(`the status of thread ${tid} has an odd line ${name}`)
    return { real, effective, saved, fs }
  }
  const mask = (name: string): bigint => BigInt(`0x${field(name)}`)
  const noNewPrivileges = numbers('NoNewPrivs').join()
  if (!/^[01]$/.test(noNewPrivileges)) throw new Error(`the status of thread ${tid} has an odd line NoNewPrivs`)

  return {
    user: ids('Uid'),
    group: ids('Gid'),
    // the kernel's order is that of its own ids, which a user namespace may map to others
    groups: numbers('Groups').sort((a, b) => a - b),
    permitted: mask('CapPrm'),
    effective: mask('CapEff'),
    inheritable: mask('CapInh'),
    bounding: mask('CapBnd'),
    ambient: mask('CapAmb'),
    noNewPrivileges: noNewPrivileges === '1',
  }
}

export function parseReading({ tasks }: Reading): ThreadState[] {
  const known: Known = new Map()
  return tasks.map((task) => parseTask(task, known))
}

/** Every difference, excess and lack alike, between what was wanted and what each thread is. */
export function compare(wanted: AnyCredentials, threads: readonly AnyState[]): Discrepancy[] {
  return compareWords(inWords(wanted), threads)
}

export function compareWords(plain: Words, threads: readonly AnyState[]): Discrepancy[] {
  let before: AnyState | undefined
  let differences: Pick<Discrepancy, 'field' | 'wanted' | 'found'>[] = []
  return threads.flatMap((thread) => {
    // what was parsed from the same lines has the same values, and need not be put into words again
    if (!before || !isAlike(thread, before))
      differences = Object.entries(inWords(thread)).flatMap(([field, found]) => {
        const wanted = plain[field] ?? 'nothing'
        return found === wanted ? [] : { field, wanted, found }
      })
    before = thread
    return differences.map((difference) => ({ tid: thread.tid, name: thread.name, ...difference }))
  })
}

/** In all but who it is. */
function isAlike(thread: AnyState, before: AnyState): boolean {
  const fields = Object.keys(thread) as (keyof AnyState)[]
  const isSame = (field: keyof AnyState) => field === 'tid' || field === 'name' || thread[field] === before[field]
  return fields.length === Object.keys(before).length && fields.every(isSame)
}

/** As far as it could be seen: not every source tells of the securebits. */
export type Seen<T extends Credentials> = Omit<T, 'securebits'> & { readonly securebits?: number | undefined }

export function inWords(state: AnyCredentials): Words {
  const ids = ({ real, effective, saved, fs }: Ids) => `${real} ${effective} ${saved} ${fs}`
  if ('privileges' in state)
    return {
      user: ids(state.user),
      group: ids(state.group),
      groups: state.groups.join(' '),
      ...Object.fromEntries(Object.entries(state.privileges).map(([set, names]) => [set, names.join(' ')])),
      flags: state.flags.join(' '),
      jailed: state.jailed.toString(),
    }
  const mask = (set: bigint) => `0x${set.toString(16).padStart(16, '0')}`
  return {
    user: ids(state.user),
    group: ids(state.group),
    groups: state.groups.join(' '),
    permitted: mask(state.permitted),
    effective: mask(state.effective),
    inheritable: mask(state.inheritable),
    bounding: mask(state.bounding),
    ambient: mask(state.ambient),
    ...(state.securebits !== undefined && { securebits: state.securebits.toString() }),
    noNewPrivileges: state.noNewPrivileges.toString(),
    jailed: state.jailed.toString(),
  }
}

/** 'thread 4711 (node): permitted: wanted 0x0, found 0x400' */
export function describe({ tid, name, field, wanted, found }: Discrepancy): string {
  return `thread ${tid} (${name}): ${field}: wanted ${wanted || 'none'}, found ${found || 'none'}`
}
