/**
 * What harden() returns: the kernel's words about every thread, for programs (JSON) and for logs (a table). And what the
 * other reports have in common with it.
 */
import type { Credentials, Ids, Seen, ThreadState } from './audit'
import { capabilityNames } from './capabilities'

/** True, worth knowing, and no reason to stop. */
export interface Finding {
  readonly code: string
  readonly level: 'danger' | 'note'
  readonly message: string
  readonly remedy: string
}

/** The credentials of a thread (credentials(7), capabilities(7)). */
export interface CredentialsReport {
  readonly user: Ids
  readonly group: Ids
  /** The supplementary groups, ascending. */
  readonly groups: readonly number[]
  /** Names in ascending order of their numbers. */
  readonly capabilities: {
    readonly permitted: readonly string[]
    readonly effective: readonly string[]
    readonly inheritable: readonly string[]
    readonly bounding: readonly string[]
    readonly ambient: readonly string[]
  }
  readonly noNewPrivileges: boolean
}

/** The credentials are as the kernel reported them of every thread; all are equal, else the process would have ended. */
export interface HardenReport extends CredentialsReport {
  readonly platform: 'linux'
  /** prctl(2), PR_GET_SECUREBITS */
  readonly securebits: number
  /** The new root directory, as it was asked for. */
  readonly chroot?: string
  readonly threads: readonly { readonly tid: number; readonly name: string }[]
  /** How long each part took, in microseconds. */
  readonly steps: readonly { readonly name: string; readonly us: number }[]
  readonly findings: readonly Finding[]
}

/** @param threads all equal, at least one */
export function makeReport(
  threads: readonly ThreadState[],
  steps: HardenReport['steps'],
  findings: readonly Finding[],
  chroot: string | undefined,
): HardenReport {
  const [first] = threads
  if (!first) throw new Error('there is no thread to report')
  const report: HardenReport = {
    platform: 'linux',
    ...reportCredentials(first),
    securebits: first.securebits,
    ...(chroot !== undefined && { chroot }),
    threads: threads.map(({ tid, name }) => ({ tid, name })),
    steps,
    findings,
  }
  return finish(report, () => [
    ['threads', `${threads.length}, all alike`],
    ...credentialRows(report),
    ['securebits', `0x${report.securebits.toString(16)}`],
    ['root directory', chroot ?? 'as before'],
    ...findingRows(findings),
  ])
}

export function reportCredentials(state: Seen<Credentials>): CredentialsReport {
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

/** @param show how an id is written */
export function credentialRows(
  { user, group, groups, capabilities, noNewPrivileges }: CredentialsReport,
  show: (id: number, kind: 'user' | 'group') => string = String,
): Row[] {
  const ids = ({ real, effective, saved, fs }: Ids, kind: 'user' | 'group') =>
    `real ${show(real, kind)}, effective ${show(effective, kind)}, saved ${show(saved, kind)}, file system ${show(fs, kind)}`
  const words = (list: readonly string[]) => list.join(' ') || 'none'
  return [
    ['user', ids(user, 'user')],
    ['group', ids(group, 'group')],
    ['supplementary groups', words(groups.map((gid) => show(gid, 'group')))],
    ...Object.entries(capabilities).map(([set, names]): Row => [set, words(names)]),
    ['no_new_privs', noNewPrivileges ? '1' : '0'],
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
