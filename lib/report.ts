/**
 * What harden() returns: the kernel's statement about every thread, for programs (JSON) and for logs (a table); and
 * what the other reports share with it.
 */
import type { Committed, Finding, Plan, Platform, Rehearsal, Timing } from './contract'
import type { Accounts } from './databases'
import { type HardenErrorFields, show } from './errors'
import type { Ids, Names, State, Thread } from './state'
import { finish, type Row, rowText, TIED } from './table'

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
  /** False on Solaris, which lacks it: the limit set bounds the privileges of set-user-ID programs there. */
  readonly noNewPrivileges: boolean
}

/** The credentials are as the kernel reported them of every thread; all are equal, else the process would have ended. */
export interface HardenReport extends CredentialsReport {
  readonly platform: 'linux' | 'sunos'
  /** Linux: prctl(2), PR_GET_SECUREBITS */
  readonly securebits?: number
  /** The new root directory; its links are resolved. */
  readonly chroot?: string
  /** On Solaris one entry, the process, which stands for all its threads. */
  readonly threads: readonly { readonly tid: number; readonly name: string }[]
  /** How long each part took, in microseconds, in order: { name: 'rehearse', us: 1800 }. */
  readonly timings: readonly { readonly name: string; readonly us: number }[]
  /** What is true and worth knowing, dangers first. docs/errors.md says what each is. */
  readonly findings: readonly Finding[]
}

/** The state is the rehearsing child's: the commit found the kernel's text about every thread equal to its text. */
export function makeReport(
  platform: Platform,
  { root, accounts }: Plan,
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
    ...findingRows(report.findings, 'danger'),
    [
      'threads',
      platform.name === 'sunos' ? 'all, by the credentials of the process' : `${done.threads.length}, all alike`,
    ],
    ...wholeRows(report, { accounts: accounts(), all: platform.allNames() }),
    ['root directory', report.chroot ?? 'as before'],
    ...findingRows(report.findings, 'note'),
  ])
}

/** The credentials, with the platform and what Linux tells only to the thread itself. */
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

/** How a table writes ids and sets. */
export interface Wording {
  readonly accounts: Accounts
  /** Every name that a set may have. */
  readonly all: Names
}

export function wholeRows(report: CredentialsReport & Pick<HardenReport, 'securebits'>, wording: Wording): Row[] {
  const { securebits } = report
  return [
    ...credentialRows(report, wording),
    ...(securebits === undefined ? [] : [['securebits', `0x${securebits.toString(16)}`] as const]),
  ]
}

export function credentialRows(
  { user, group, groups, capabilities, privileges, noNewPrivileges }: CredentialsReport,
  { accounts, all }: Wording,
): Row[] {
  return [
    ['user', idsText(user, accounts.user)],
    ['group', idsText(group, accounts.group)],
    ['supplementary groups', groups.map((gid) => idText(gid, accounts.group)).join(', ') || 'none'],
    ...Object.entries({ ...capabilities, ...privileges }).map(([set, names]): Row => [set, setText(names, all)]),
    ...(capabilities ? [['no_new_privs', noNewPrivileges ? '1' : '0'] as const] : []),
  ]
}

function idsText({ real, effective, saved, fs }: Ids, names: Accounts['user']): string {
  const text = (id: number) => idText(id, names)
  if ([effective, saved, fs].every((id) => id === real)) return `${text(real)}, real, effective, saved and file system`
  return `real ${text(real)}, effective ${text(effective)}, saved ${text(saved)}, file system ${text(fs)}`
}

/** 'smtp (995)'; a name that could be mistaken for something else is quoted. */
function idText(id: number, names: Accounts['user']): string {
  const name = names.get(id)
  if (name === undefined) return `${id}`
  return `${/^[A-Za-z_][\w.@\\+-]{0,63}\$?$/.test(name) ? name : show(name)}${TIED}(${id})`
}

/** A set that lacks only a few names is shown by what it lacks. */
function setText(names: Names, all: Names): string {
  if (names.length === 0) return 'none'
  const lacking = all.filter((name) => !names.includes(name))
  if (all.length > 0 && lacking.length === 0) return 'all'
  return all.length > 0 && lacking.length < names.length ? `all but ${lacking.join(' ')}` : names.join(' ')
}

/** Threads that are alike, and their rows. */
export interface ThreadRows {
  readonly threads: readonly Thread[]
  readonly rows: readonly Row[]
}

/** All rows of the first kind; of each other kind those that differ. */
export function kindRows([first, ...others]: readonly ThreadRows[]): Row[] {
  if (!first) return []
  const known = first.rows.map((row) => rowText(row))
  const count = [first, ...others].reduce((sum, { threads }) => sum + threads.length, 0)
  const share = others.length === 0 ? `${count}, all alike` : `${first.threads.length} of ${count}`
  return [
    ['threads', `${share}: ${threadList(first.threads)}`],
    ...first.rows,
    ...others.flatMap(({ threads, rows }): Row[] => [
      ['differs', `${threads.length} of ${count}: ${threadList(threads)}`],
      ...rows.filter((row) => !known.includes(rowText(row))),
    ]),
  ]
}

export const threadList = (threads: readonly Thread[]): string =>
  threads.map(({ tid, name }) => `${tid}${TIED}(${name})`).join(', ')

/** Two lines for each: the finding, and its remedy. */
export function findingRows(findings: readonly Finding<string>[], wanted: Finding['level']): Row[] {
  return findings
    .filter(({ level }) => level === wanted)
    .map(({ level, code, message, remedy }): Row => [level, `${code}: ${message}.`, `Remedy: ${remedy}.`])
}

/** The same for an error, whose message has both, and may end with lines of a file. */
export function refusalRow({ code, message, remedy }: Pick<HardenErrorFields, 'code' | 'message' | 'remedy'>): Row {
  const advice = `Remedy: ${remedy}.`
  return ['refused', ...`${code}: ${message}`.replace(` ${advice}`, () => `\n${advice}`).split('\n')]
}
