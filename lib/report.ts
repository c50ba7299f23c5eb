/**
 * What harden() returns: the kernel's words about every thread, for programs (JSON) and for logs (a table).
 */
import type { Ids, ThreadState } from './audit'
import { capabilityNames } from './capabilities'
import type { Plan } from './plan'

/** True, worth knowing, and no reason to stop. */
export interface Finding {
  readonly code: string
  readonly level: 'danger' | 'note'
  readonly message: string
  readonly remedy: string
}

export interface HardenReport {
  readonly platform: 'linux'
  /** As the kernel reported it of every thread; all threads are equal, else the process would have ended. */
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
  /** prctl(2), PR_GET_SECUREBITS */
  readonly securebits: number
  readonly noNewPrivileges: boolean
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
  { findings, root }: Pick<Plan, 'findings' | 'root'>,
): HardenReport {
  const [first] = threads
  if (!first) throw new Error('there is no thread to report')
  const report: HardenReport = {
    platform: 'linux',
    user: first.user,
    group: first.group,
    groups: first.groups,
    capabilities: {
      permitted: capabilityNames(first.permitted),
      effective: capabilityNames(first.effective),
      inheritable: capabilityNames(first.inheritable),
      bounding: capabilityNames(first.bounding),
      ambient: capabilityNames(first.ambient),
    },
    securebits: first.securebits,
    noNewPrivileges: first.noNewPrivileges,
    ...(root && { chroot: root.path }),
    threads: threads.map(({ tid, name }) => ({ tid, name })),
    steps,
    findings,
  }
  // not enumerable, so that JSON and deep comparison see the data alone
  Object.defineProperty(report, 'toString', { value: () => table(report) })
  return deepFreeze(report)
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}

function table({
  user,
  group,
  groups,
  capabilities,
  securebits,
  noNewPrivileges,
  chroot,
  threads,
  findings,
}: HardenReport): string {
  const ids = ({ real, effective, saved, fs }: Ids) =>
    `real ${real}, effective ${effective}, saved ${saved}, file system ${fs}`
  const words = (list: readonly (string | number)[]) => list.join(' ') || 'none'
  const rows: [string, string][] = [
    ['threads', `${threads.length}, all alike`],
    ['user', ids(user)],
    ['group', ids(group)],
    ['supplementary groups', words(groups)],
    ...Object.entries(capabilities).map(([set, names]): [string, string] => [set, words(names)]),
    ['securebits', `0x${securebits.toString(16)}`],
    ['no_new_privs', noNewPrivileges ? '1' : '0'],
    ['root directory', chroot ?? 'as before'],
    ...findings.map(({ level, code, message, remedy }): [string, string] => [level, `${code}: ${message} (${remedy})`]),
  ]
  return rows.map(([name, value]) => `${name.padEnd(22)}${value}`).join('\n')
}
