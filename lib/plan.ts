import type { Finding, Plan } from './contract'
import { examine, lookUp, makePlan } from './engine'
import type { HardenError, HardenErrorFields } from './errors'
import { refuseInspector } from './inspector'
import type { Step } from './native'
import { type HardenOptions, validate } from './options'
import { namingPlaces } from './places'
import { platform } from './platform'
import { refuseSecondCall } from './promise'
import { fieldsOf, Reasons } from './reasons'
import { type CredentialsReport, findingRows, refusalRow, reportWhole, type Wording, wholeRows } from './report'
import { closeRoot } from './root'
import { finish, type Row } from './table'

/** The credentials are what every thread would have. */
export interface HardenPlan extends CredentialsReport {
  readonly platform: 'linux' | 'sunos'
  readonly securebits?: number
  /** The new root directory; its links are resolved. */
  readonly chroot?: string
  /** The steps of each thread, in this order; `rehearsed` if a child of this process could do it. */
  readonly steps: readonly { readonly name: string; readonly rehearsed: boolean }[]
  /** What harden() would throw if it were called now in the main thread, `message` as there. Other threads and processes that
   * share the memory are examined by harden() alone, while all threads are stopped. */
  readonly refusals: readonly Readonly<HardenErrorFields>[]
  /** What is true and worth knowing, dangers first. docs/errors.md says what each is. */
  readonly findings: readonly Finding[]
}

/**
 * Does everything that harden() does except the commit. Works in any thread and for any user: without privileges it says what
 * could not be rehearsed.
 *
 * @returns frozen, serialisable as JSON, a table as a string
 * @throws HardenError what is wrong with the options themselves, and unknown accounts: the first, with all others in the message and in `others`
 */
export function plan(options: HardenOptions): HardenPlan
export function plan(options: unknown, ...more: readonly unknown[]): HardenPlan {
  const reasons = new Reasons(true)
  const { run, errors } = reasons
  const checked = validate(options, run, { name: 'plan', more, textOf: platform.textOf })
  reasons.options = checked
  if (reasons.found) {
    lookUp(platform, checked, reasons)
    throw reasons.error()
  }
  const made = namingPlaces(checked, () => makePlan(platform, checked, reasons))
  try {
    run(() => refuseSecondCall(platform.addon()))
    const { findings, rehearsal } = examine(platform, made, [], run)
    const rehearsed = rehearsal ? made.steps.length : stepsRehearsed(made.steps, errors)
    run(() => refuseInspector(checked))
    return report(made, made.steps.slice(0, rehearsed), errors, findings)
  } finally {
    closeRoot(made.root)
  }
}

function report(
  { wanted, steps, root, accounts }: Plan,
  rehearsed: readonly Step[],
  refusals: readonly HardenError[],
  findings: readonly Finding[],
): HardenPlan {
  const made: HardenPlan = {
    ...reportWhole(platform, wanted),
    ...(root && { chroot: root.path }),
    steps: steps.map((name) => ({ name, rehearsed: rehearsed.includes(name) })),
    refusals: refusals.map(fieldsOf),
    findings,
  }
  return finish(made, () => planRows(made, { accounts: accounts(), all: platform.allNames() }))
}

/** Steps that the child takes after the plan's: a refusal there means that all of the plan's were rehearsed. */
const afterwards: ReadonlySet<Step | 'verify'> = new Set([
  'regain',
  'read',
  'write',
  'enter',
  'bind',
  'reopen',
  'read back',
  'verify',
])

/** How many steps were taken before the one at which the rehearsal, the last part that can be refused, ended; 0 if
 * there was no child. */
function stepsRehearsed(steps: readonly Step[], refusals: readonly HardenError[]): number {
  const step = refusals.at(-1)?.step as Step
  const place = steps.indexOf(step)
  if (place >= 0) return place
  return afterwards.has(step) ? steps.length : 0
}

export function planRows({ steps, refusals, findings, ...made }: HardenPlan, wording: Wording): Row[] {
  const reasons = refusals.length === 1 ? '1 reason' : `${refusals.length} reasons`
  return [
    ...refusals.map(refusalRow),
    ...findingRows(findings, 'danger'),
    ...wholeRows(made, wording),
    ['root directory', made.chroot ?? 'as before'],
    ['steps', stepsText(steps)],
    ...findingRows(findings, 'note'),
    ['verdict', refusals.length === 0 ? 'would be done' : `would be refused: ${reasons}`],
  ]
}

function stepsText(steps: HardenPlan['steps']): string {
  const names = (wanted: boolean) => steps.filter(({ rehearsed }) => rehearsed === wanted).map(({ name }) => name)
  const left = names(false).join(', ')
  return [names(true).join(', '), left && `not rehearsed: ${left}`].filter((part) => part !== '').join('; ') || 'none'
}
