/**
 * What harden() returns: the kernel's words about every thread, for programs (JSON) and for logs (a table). And what the
 * other reports have in common with it.
 */
import type { Committed, Finding, Plan, Platform, Rehearsal, Timing } from './contract'
import type { Ids, Names, State } from './state'

/** The credentials of a thread (credentials(7), capabilities(7)); on Solaris those of the process (privileges(7)). */
export interface CredentialsReport {
  /** On Solaris `fs` is the effective one. */
  readonly user: Ids
  readonly group: Ids
  /** The supplementary groups, ascending. */
  readonly groups: readonly number[]
  /** Linux: names in ascending order of their numbers. */
  readonly capabilities?: {
    readonly permitted: Names
    readonly effective: Names
    readonly inheritable: Names
    readonly bounding: Names
    readonly ambient: Names
  }
  /** Solaris: names in the system's order. */
  readonly privileges?: {
    readonly permitted: Names
    readonly limit: Names
    readonly effective: Names
    readonly inheritable: Names
  }
  /** False on Solaris, which has no such thing: there the limit set bounds the privileges of a set-user-ID program. */
  readonly noNewPrivileges: boolean
}

/** The credentials are as the kernel reported them of every thread; all are equal, else the process would have ended. */
export interface HardenReport extends CredentialsReport {
  readonly platform: 'linux' | 'sunos'
  /** Linux: prctl(2), PR_GET_SECUREBITS */
  readonly securebits?: number
  /** The new root directory; its links are resolved. */
  readonly chroot?: string
  /** On Solaris one entry, of the process: what it says is true of all its threads. */
  readonly threads: readonly { readonly tid: number; readonly name: string }[]
  /** How long each part took, in microseconds, in order: { name: 'rehearse', us: 1800 }. */
  readonly timings: readonly { readonly name: string; readonly us: number }[]
  /** What is true and worth knowing, dangers first; empty: nothing. docs/errors.md says what each is. */
  readonly findings: readonly Finding[]
}

/** The state is the rehearsed child's, to which the kernel's text about every thread was found equal. */
export function makeReport(
  platform: Platform,
  { root }: Plan,
  { state }: Rehearsal,
  done: Committed,
  timings: readonly Timing[],
  findings: readonly Finding[],
): HardenReport {
  const children = platform.rootChildren(done.rootChildren)
  const report: HardenReport = {
    ...reportWhole(platform, state),
    ...(root && { chroot: root.path }),
    threads: done.threads,
    timings: [...timings, ...done.timings],
    findings: children ? [children, ...findings] : findings,
  }
  return finish(report, () => [
    [
      'threads',
      platform.name === 'sunos' ? 'all, by the credentials of the process' : `${done.threads.length}, all alike`,
    ],
    ...wholeRows(report),
    ['root directory', report.chroot ?? 'as before'],
    ...findingRows(report.findings),
  ])
}

/** Of a platform, and with what Linux does not tell of every thread. */
export function reportWhole(
  platform: Platform,
  state: State,
): CredentialsReport & Pick<HardenReport, 'platform' | 'securebits'> {
  const { securebits } = state
  return {
    platform: platform.name,
    ...reportCredentials(platform, state),
    ...(securebits !== undefined && { securebits }),
  }
}

export function reportCredentials({ name }: Pick<Platform, 'name'>, state: State): CredentialsReport {
  const { user, group, groups, noNewPrivileges } = state
  const { permitted, effective, inheritable, bounding = [], ambient = [], limit = [] } = state.sets
  return {
    user,
    group,
    groups,
    ...(name === 'linux'
      ? { capabilities: { permitted, effective, inheritable, bounding, ambient } }
      : { privileges: { permitted, limit, effective, inheritable } }),
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

export function findingRows(findings: readonly Finding<string>[]): Row[] {
  return findings.map(({ level, code, message, remedy }): Row => [level, `${code}: ${message} (${remedy})`])
}

/** Frozen, and a table as a string. */
export function finish<T extends object>(report: T, rows: () => Row[]): T {
  // not enumerable, so that JSON and deep comparison see the data alone
  const method = { __proto__: null, value: () => rows().map(rowText).join('\n') } as PropertyDescriptor
  Object.defineProperty(report, 'toString', method)
  return deepFreeze(report)
}

export function rowText([name, value]: Row): string {
  return `${name.padEnd(22)}${value}`
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}
