/**
 * What harden() would do, and whether it would: the same engine without the commit.
 */
import { closeRoot } from './chroot'
import { HardenError, type HardenErrorFields } from './errors'
import { examine, type Run } from './examine'
import { type HardenOptions, validate } from './options'
import { namingPlaces, withPlace } from './places'
import { makePlan, type Plan } from './plan'
import { platform } from './platform'
import { type CredentialsReport, type Finding, findingRows, finish, type Row, reportWhole, wholeRows } from './report'

/** The credentials are what every thread would have. */
export interface HardenPlan extends CredentialsReport {
  readonly platform: 'linux' | 'sunos'
  readonly securebits?: number
  readonly chroot?: string
  /** What each thread would do, in this order; `rehearsed` if a child of this process could do it. */
  readonly steps: readonly { readonly name: string; readonly rehearsed: boolean }[]
  /** What harden() would throw, if it were called now in this process (`message` as there); empty: it would succeed. */
  readonly refusals: readonly Readonly<HardenErrorFields>[]
  readonly findings: readonly Finding[]
}

/**
 * Make harden()'s plan, look for hazards and rehearse it in a child, and change nothing. Works in any thread and for any
 * user: without privileges it says what could not be rehearsed.
 *
 * @returns frozen, serialisable as JSON, a table as a string
 * @throws HardenError what is wrong with the options themselves, and unknown accounts
 */
export function plan(options: HardenOptions): HardenPlan {
  const asked = validate(options)
  const seen = platform.observe()
  const made = namingPlaces(asked, () => makePlan(asked, seen.state))
  const refusals: HardenError[] = []
  const collect: Run = (part) => {
    try {
      return part()
    } catch (caught) {
      const error = withPlace(caught, asked)
      if (!(error instanceof HardenError)) throw error
      // The rehearsal may find what has been found before.
      if (!refusals.some(({ message }) => message === error.message)) refusals.push(error)
      return undefined
    }
  }
  try {
    return report(made, refusals, examine(made, seen, asked, [], collect))
  } finally {
    closeRoot(made.root)
  }
}

function report({ wanted, steps, root }: Plan, refusals: HardenError[], findings: readonly Finding[]): HardenPlan {
  const rehearsed = steps.slice(0, stepsRehearsed(steps, refusals))
  const made: HardenPlan = {
    ...reportWhole(wanted),
    ...(root && { chroot: root.path }),
    steps: steps.map((name) => ({ name, rehearsed: rehearsed.includes(name) })),
    refusals: refusals.map(({ message, ...fields }) => ({ message, ...fields })),
    findings,
  }
  return finish(made, () => planRows(made))
}

/** What comes before the first step that a plan may have, on whatever platform. */
const before = ['proc', 'observe', 'memory', 'signal mask', 'rehearsal child', 'SIGUSR1', 'protect']

/** Those before the one that was refused; none if there was no child to do them. What comes after them is none of them. */
function stepsRehearsed(steps: readonly string[], refusals: readonly HardenError[]): number {
  const refused = refusals.map(({ step = '' }) => step)
  if (refused.some((step) => before.includes(step))) return 0
  const first = steps.findIndex((step) => refused.includes(step))
  return first < 0 ? steps.length : first
}

/** @param rows those of the credentials */
export function planRows(
  { steps, refusals, findings, ...made }: HardenPlan,
  rows?: (report: CredentialsReport) => Row[],
): Row[] {
  const reasons = refusals.length === 1 ? '1 reason' : `${refusals.length} reasons`
  return [
    ...wholeRows(made, rows),
    ['root directory', made.chroot ?? 'as before'],
    ['steps', steps.map(({ name, rehearsed }) => (rehearsed ? name : `${name} (not rehearsed)`)).join(', ')],
    ...refusals.map(({ code, message }): Row => ['refused', `${code}: ${message}`]),
    ...findingRows(findings),
    ['verdict', refusals.length === 0 ? 'would be done' : `would be refused: ${reasons}`],
  ]
}
