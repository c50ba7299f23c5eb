/**
 * Options and the present state to a frozen Plan: from here on nothing is decided any more. What the platform decides of it
 * is in platform/linux/plan.ts and platform/sunos/plan.ts.
 */
import { type Identity, resolve } from './accounts'
import { type AnyCredentials, type AnyState, isAny } from './audit'
import type { Root } from './chroot'
import { HardenError } from './errors'
import type { Attempt } from './native'
import type { HardenOptions } from './options'
import { platform } from './platform'
import type { Finding } from './report'

export interface Plan {
  /** What every thread is to be. */
  readonly wanted: AnyCredentials
  /** What has to be done for it, and nothing that holds already. */
  readonly steps: readonly string[]
  /** What the new identity must be able to use, and which option says so. */
  readonly attempts: readonly (Attempt & { readonly option: string })[]
  /** Open: to be closed by whoever made the plan. */
  readonly root?: Root
  readonly findings: readonly Finding[]
}

/** The same for every platform: who the process is to be. */
export interface Asked {
  readonly options: HardenOptions
  readonly uid: number
  readonly gid: number
  /** Ascending; undefined: none was asked for. */
  readonly groups: Identity['groups']
}

/**
 * @param before the state of the calling thread; the commit makes sure that it is that of all
 * @throws HardenError whatever is wrong with names, ids and capability text, and ERR_HARDEN_USER_REQUIRED
 */
export function makePlan(options: HardenOptions, before: AnyState): Plan {
  const { uid = presentUser(before), gid = before.group.effective, groups } = resolve(options)
  const findings: Finding[] = []
  const { wanted, steps, ...more } = platform.decide({ options, uid, gid, groups }, before, findings)
  return Object.freeze({
    wanted: Object.freeze(wanted),
    steps: Object.freeze(steps),
    ...more,
    attempts: Object.freeze(listAttempts(options)),
    findings: Object.freeze(findings),
    // last, because nothing may throw while it is open
    root: options.chroot === undefined ? undefined : platform.openRoot(options.chroot),
  })
}

function presentUser(before: AnyState): number {
  if (!isAny(before.user, 0)) return before.user.effective
  throw new HardenError({
    code: 'ERR_HARDEN_USER_REQUIRED',
    option: 'user',
    message: 'the process has root among its user ids, and no user is named to take its place',
    remedy: `give the option 'user': an account of the server's own`,
  })
}

function listAttempts({ rehearse }: HardenOptions): Plan['attempts'] {
  if (!rehearse) return []
  const { read = [], write = [], bind = [] } = rehearse
  return [
    ...read.map((path, index) => ({ step: 'read', path, port: 0, option: `rehearse.read[${index}]` }) as const),
    ...write.map((path, index) => ({ step: 'write', path, port: 0, option: `rehearse.write[${index}]` }) as const),
    ...bind.map((port, index) => ({ step: 'bind', path: '', port, option: `rehearse.bind[${index}]` }) as const),
  ]
}
