/**
 * What harden() returns: the kernel's words about every thread, for programs (JSON) and for logs (a table). And what the
 * other reports have in common with it.
 */
import type { AnyCredentials, AnyState, Credentials, Ids, PrivilegeSets, Seen } from './audit'
import { capabilityNames } from './capabilities'

/** True, worth knowing, and no reason to stop. */
export interface Finding {
  readonly code: string
  readonly level: 'danger' | 'note'
  readonly message: string
  readonly remedy: string
}

/** The credentials of a thread (credentials(7), capabilities(7)); on Solaris those of the process (privileges(7)). */
export interface CredentialsReport {
  /** On Solaris `fs` is the effective one. */
  readonly user: Ids
  readonly group: Ids
  /** The supplementary groups, ascending. */
  readonly groups: readonly number[]
  /** Linux: names in ascending order of their numbers. */
  readonly capabilities?: {
    readonly permitted: readonly string[]
    readonly effective: readonly string[]
    readonly inheritable: readonly string[]
    readonly bounding: readonly string[]
    readonly ambient: readonly string[]
  }
  /** Solaris: names in the system's order. */
  readonly privileges?: PrivilegeSets
  /** False on Solaris, which has no such thing: there the limit set bounds the privileges of a set-user-ID program. */
  readonly noNewPrivileges: boolean
}

/** The credentials are as the kernel reported them of every thread; all are equal, else the process would have ended. */
export interface HardenReport extends CredentialsReport {
  readonly platform: 'linux' | 'sunos'
  /** Linux: prctl(2), PR_GET_SECUREBITS */
  readonly securebits?: number
  /** The new root directory, as it was asked for. */
  readonly chroot?: string
  /** On Solaris one entry, of the process: what it says is true of all its threads. */
  readonly threads: readonly { readonly tid: number; readonly name: string }[]
  /** How long each part took, in microseconds. */
  readonly steps: readonly { readonly name: string; readonly us: number }[]
  readonly findings: readonly Finding[]
}

/** @param threads all equal, at least one */
export function makeReport(
  threads: readonly AnyState[],
  steps: HardenReport['steps'],
  findings: readonly Finding[],
  chroot: string | undefined,
): HardenReport {
  const [first] = threads
  if (!first) throw new Error('there is no thread to report')
  const report: HardenReport = {
    ...reportWhole(first),
    ...(chroot !== undefined && { chroot }),
    threads: threads.map(({ tid, name }) => ({ tid, name })),
    steps,
    findings,
  }
  return finish(report, () => [
    ['threads', 'privileges' in first ? 'all, by the credentials of the process' : `${threads.length}, all alike`],
    ...wholeRows(report),
    ['root directory', chroot ?? 'as before'],
    ...findingRows(findings),
  ])
}

/** Of a platform, and with what Linux does not tell of every thread. */
export function reportWhole(state: AnyCredentials): CredentialsReport & Pick<HardenReport, 'platform' | 'securebits'> {
  const { securebits } = state
  return {
    platform: 'privileges' in state ? 'sunos' : 'linux',
    ...reportCredentials(state),
    ...(securebits !== undefined && { securebits }),
  }
}

/** Of a Linux thread there is always `capabilities`. */
export type LinuxCredentials = CredentialsReport & Required<Pick<CredentialsReport, 'capabilities'>>

export function reportCredentials(state: Seen<Credentials>): LinuxCredentials
export function reportCredentials(state: AnyCredentials): CredentialsReport
export function reportCredentials(state: AnyCredentials): CredentialsReport {
  if ('privileges' in state) {
    const { user, group, groups, privileges } = state
    return { user, group, groups, privileges, noNewPrivileges: false }
  }
  const { user, group, groups, permitted, effective, inheritable, bounding, ambient, noNewPrivileges } = state
  return {
    user,
    group,
    groups,
    capabilities: {
      permitted: capabilityNames(permitted),
      effective: capabilityNames(effective),
      inheritable: capabilityNames(inheritable),
      bounding: capabilityNames(bounding),
      ambient: capabilityNames(ambient),
    },
    noNewPrivileges,
  }
}

/** What a row is about, and what there is to say. */
export type Row = readonly [name: string, value: string]

/** @param rows those of the credentials */
export function wholeRows(
  report: CredentialsReport & Pick<HardenReport, 'securebits'>,
  rows: (report: CredentialsReport) => Row[] = credentialRows,
): Row[] {
  const { securebits } = report
  return [
    ...rows(report),
    ...(securebits === undefined ? [] : [['securebits', `0x${securebits.toString(16)}`] as const]),
  ]
}

/** @param show how an id is written */
export function credentialRows(
  { user, group, groups, capabilities, privileges, noNewPrivileges }: CredentialsReport,
  show: (id: number, kind: 'user' | 'group') => string = String,
): Row[] {
  const ids = ({ real, effective, saved, fs }: Ids, kind: 'user' | 'group') =>
    `real ${show(real, kind)}, effective ${show(effective, kind)}, saved ${show(saved, kind)}, file system ${show(fs, kind)}`
  const words = (list: readonly string[]) => list.join(' ') || 'none'
  return [
    ['user', ids(user, 'user')],
    ['group', ids(group, 'group')],
    ['supplementary groups', words(groups.map((gid) => show(gid, 'group')))],
    ...Object.entries({ ...capabilities, ...privileges }).map(([set, names]): Row => [set, words(names)]),
    ...(capabilities ? [['no_new_privs', noNewPrivileges ? '1' : '0'] as const] : []),
  ]
}

export function findingRows(findings: readonly Finding[]): Row[] {
  return findings.map(({ level, code, message, remedy }): Row => [level, `${code}: ${message} (${remedy})`])
}

/** Frozen, and a table as a string. */
export function finish<T extends object>(report: T, rows: () => Row[]): T {
  // not enumerable, so that JSON and deep comparison see the data alone
  Object.defineProperty(report, 'toString', {
    value: () => rows().map(rowText).join('\n'),
  })
  return deepFreeze(report)
}

export function rowText([name, value]: Row): string {
  return `${name.padEnd(22)}${value}`
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}
