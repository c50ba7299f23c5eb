/** Promise: all that can speak against a plan is looked for in one order, and it is up to the caller what a refusal ends. */
import { closeSync, openSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { ThreadState } from '../lib/audit'
import { HardenError } from '../lib/errors'
import type { Run } from '../lib/examine'
import type { OpenDescriptor } from '../lib/native'
import type { Observation, Timing } from '../lib/platform/index'
import type { Plan } from '../lib/platform/linux/plan'
import type { Finding } from '../lib/report'

const ids = { real: 990, effective: 990, saved: 990, fs: 990 }
const none = { permitted: 0n, effective: 0n, inheritable: 0n, bounding: 0n, ambient: 0n }
const wanted = { user: ids, group: ids, groups: [8], ...none, securebits: 0, noNewPrivileges: true, jailed: false }
const before: ThreadState = { ...wanted, noNewPrivileges: false, tid: 4711, name: 'node' }
const seen: Observation = { state: before, token: new ArrayBuffer(8) }
const ofPlan: Finding = { code: 'HARDEN_ONE', level: 'note', message: 'one', remedy: 'none' }
const ofProcess: Finding = { code: 'HARDEN_TWO', level: 'danger', message: 'two', remedy: 'none' }
const plan: Plan = { wanted, steps: ['setresuid'], boundingDrop: 0n, attempts: [], findings: [ofPlan] }
const asked = { user: 'mail' }
const open: OpenDescriptor[] = [{ descriptor: 21, kind: 'listens' }]

const order = ['descriptors', 'hazards', 'rehearse', 'inspector']
const timed = ['descriptors', 'hazards', 'rehearse']
const giveUp: Run = (part) => part()

/** As plan() has it: what is thrown is kept, and the next part is next. */
function collecting() {
  const errors: unknown[] = []
  const run: Run = (part) => {
    try {
      return part()
    } catch (error) {
      errors.push(error)
      return undefined
    }
  }
  return { errors, run }
}

/** examine() where each part of `breaks` throws an error of its name. */
function withParts(t: Test, { breaks = [], foreign = [] }: { breaks?: string[]; foreign?: number[] } = {}) {
  const done: string[] = []
  const given: unknown[][] = []
  const steps: Timing[] = []
  const part = <T>(name: string, args: unknown[], result: T): T => {
    done.push(name)
    given.push(args)
    if (breaks.includes(name)) throw new HardenError({ code: 'ERR_HARDEN_PROC', message: name, remedy: 'none' })
    return result
  }
  const { examine } = t.mockRequire<typeof import('../lib/examine')>('../lib/examine', {
    '../lib/hazards': { findHazards: (...args: unknown[]) => part('hazards', args, [ofProcess]) },
    '../lib/inspector': { refuseInspector: (...args: unknown[]) => part('inspector', args, undefined) },
    '../lib/platform': {
      platform: {
        descriptors: (...args: unknown[]) => part('descriptors', args, open),
        rehearse: (...args: unknown[]) => part('rehearse', args, foreign),
      },
    },
  })
  return { examine: (run: Run) => examine(plan, seen, asked, steps, run), done, given, steps }
}
const names = (steps: readonly Timing[]) => steps.map(({ name }) => name)

t.test('in one order, each with what it needs', async (t) => {
  const { examine, done, given, steps } = withParts(t)
  t.strictSame(examine(giveUp), [ofPlan, ofProcess])
  t.strictSame(done, order)
  t.strictSame(given, [[plan, seen], [plan, before, open], [plan, seen], [asked]])
  t.equal(given[3]?.[0], asked)
  t.strictSame(names(steps), timed)
  t.ok(steps.every(({ us }) => Number.isInteger(us) && us >= 0))
})

t.test('whoever gives up does so at the first that throws', async (t) => {
  for (const [index, name] of order.entries()) {
    const { examine, done, steps } = withParts(t, { breaks: order.slice(index) })
    t.throws(() => examine(giveUp), { code: 'ERR_HARDEN_PROC', message: new RegExp(`^${name}\\b`) })
    t.strictSame(done, order.slice(0, index + 1), name)
    t.strictSame(names(steps), timed.slice(0, index), 'what has thrown is no step')
  }
})

t.test('whoever goes on sees all of them', async (t) => {
  const refusable = ['descriptors', 'rehearse', 'inspector']
  for (const breaks of [...refusable.map((name) => [name]), ['descriptors', 'inspector'], refusable]) {
    const { examine, done, given, steps } = withParts(t, { breaks, foreign: [1_000_000] })
    const { errors, run } = collecting()
    const findings = examine(run)
    t.strictSame(done, order, breaks.join())
    t.strictSame(
      errors.map((error) => (error as HardenError).message.split('.')[0]),
      breaks,
      'in the order of the parts',
    )
    t.strictSame(names(steps), timed, 'they took their time all the same')
    t.equal(given[1]?.[2], breaks.includes('descriptors') ? undefined : open, 'unknown is not none')
    t.strictSame(
      findings.map(({ code }) => code),
      ['HARDEN_ONE', 'HARDEN_TWO', ...(breaks.includes('rehearse') ? [] : ['HARDEN_DESCRIPTORS'])],
    )
  }
})

t.test('a hazard refuses nothing: what throws there is a fault, and is not collected', async (t) => {
  const { examine } = withParts(t, { breaks: ['hazards'] })
  const { errors, run } = collecting()
  t.throws(() => examine(run), { message: /^hazards/ })
  t.strictSame(errors, [])
})

t.test('what the new user could not open itself is the last finding', async (t) => {
  const file = openSync('/dev/null', 'r')
  t.teardown(() => closeSync(file))
  const { examine } = withParts(t, { foreign: [file, 1_000_000] })
  const [first, second, third, ...more] = examine(giveUp)
  t.strictSame([first, second, more], [ofPlan, ofProcess, []])
  t.match(third, { code: 'HARDEN_DESCRIPTORS', level: 'note', remedy: /give the files.*or close them before harden/ })
  t.match(third?.message, `: descriptor ${file} ('/dev/null'), descriptor 1000000 (closed by now)`)
})

t.test('the plan is left as it is', async (t) => {
  const { examine } = withParts(t, { foreign: [1_000_000] })
  examine(giveUp)
  t.strictSame(plan.findings, [ofPlan])
})

t.test('microseconds', async (t) => {
  let now = 0n
  t.intercept(process, 'hrtime', {
    value: {
      bigint: () => {
        now += 5_999_999n
        return now
      },
    },
  })
  const { timed } = t.mockRequire<typeof import('../lib/examine')>('../lib/examine', { '../lib/platform': {} })
  const steps: Timing[] = [{ name: 'resolve', us: 3 }]
  const result = {}
  t.equal(
    timed(steps, 'rehearse', () => result),
    result,
  )
  const all = [
    { name: 'resolve', us: 3 },
    { name: 'rehearse', us: 5999 },
  ]
  t.strictSame(steps, all)
  const mine = new RangeError('mine')
  t.throws(
    () =>
      timed(steps, 'hazards', () => {
        throw mine
      }),
    mine,
  )
  t.strictSame(steps, all)
})
