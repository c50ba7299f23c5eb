/** Promise: the parts of the call come in one order, and nothing is done after the first that throws. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as util from 'node:util'
import t, { type Test } from 'tap'
import type { Committed, Finding, Plan } from '../lib/contract'
import type { HardenError } from '../lib/errors'
import type { HardenOptions } from '../lib/options'
import * as promise from '../lib/promise'
import type { HardenReport } from '../lib/report'
import { plan as anyPlan, nothing, opened, stateOf } from './states'

// No account has this name: should a part not be replaced after all, it is refused.
const options = { user: 'no-such-account' }

const finding = { code: 'HARDEN_NPROC', level: 'note', message: 'one', remedy: 'none' } as const
const hazard = { code: 'HARDEN_NPROC', level: 'note', message: 'two', remedy: 'none' } as const
const plan: Plan = { ...anyPlan, findings: [finding] }
const jail: Plan = { ...plan, wanted: stateOf({ ...nothing, jailed: true }), root: opened }
const rehearsal = {
  ...{ state: plan.wanted, text: 'text', answers: [], dumpable: 0, inside: new ArrayBuffer(0) },
  avoid: { kcmp: false, regain: false },
}
const committed: Committed = {
  threads: [{ tid: 4711, name: 'node' }],
  rootChildren: [],
  timings: [{ name: 'park', us: 7 }],
}

const before = ['kept?', 'hold SIGUSR1', 'plan', 'examine', 'inspector', 'promise', 'commit', 'inspector']
const order = [...before, 'inspector once more', 'enter']

interface Parts {
  /** The n-th part to be done throws. */
  breaks?: number
  made?: Plan
  findings?: readonly Finding[]
  /** What holdSigusr1() answers. */
  held?: number
  kept?: boolean
}

/** harden() with every other part replaced. */
function withParts(t: Test, { breaks, made = plan, findings = [finding, hazard], held = 0, kept = false }: Parts = {}) {
  const done: string[] = []
  const given: unknown[][] = []
  const logged: unknown[][] = []
  const part = <T>(name: string, args: unknown[], result: T): T => {
    done.push(name)
    given.push(args)
    if (done.length === breaks) throw new RangeError(name)
    return result
  }
  const addon = {
    holdSigusr1: (...args: unknown[]) => part('hold SIGUSR1', args, held),
    giveSigusr1Back: (...args: unknown[]) => part('give SIGUSR1 back', args, 0),
  }
  const platform = {
    name: 'linux',
    addon: () => addon,
    explain: (...args: unknown[]) => part('explain', args, new RangeError('explained')),
    rootChildren: () => undefined,
    allNames: () => [],
  }
  const mocked = t.mockRequire<typeof import('../lib/harden')>('../lib/harden', {
    'node:util': {
      ...util,
      debuglog:
        (section: string) =>
        (...args: unknown[]) =>
          logged.push([section, ...args]),
    },
    '../lib/engine': {
      timed: (timings: { name: string; us: number }[], name: string, run: () => unknown) => {
        const result = run()
        timings.push({ name, us: 5 })
        return result
      },
      lookUp: (...args: unknown[]) => part('look up', args, undefined),
      makePlan: (...args: unknown[]) => part('plan', args.slice(0, 2), made),
      examine: (...args: unknown[]) => part('examine', args, { findings, rehearsal }),
      commit: (...args: unknown[]) => {
        part('commit', args, undefined)
        ;(args[4] as () => void)()
        return committed
      },
    },
    '../lib/root': {
      enteredRoot: (...args: unknown[]) => part('enter', args, undefined),
      closeRoot: (...args: unknown[]) => part('close', args, undefined),
    },
    '../lib/inspector': {
      refuseInspector: (...args: unknown[]) => part('inspector', args, undefined),
      endIfInspectorIsOpen: (...args: unknown[]) => part('inspector once more', args, undefined),
    },
    '../lib/promise': {
      refuseSecondCall: (...args: unknown[]) => {
        if (part('kept?', args, kept)) promise.refuseSecondCall({ recall: () => 'promised' } as never)
      },
      makePromise: (...args: unknown[]) => part('promise', args, undefined),
    },
    '../lib/platform': { platform },
  })
  const harden = (asked: HardenOptions): HardenReport => mocked.harden(asked)
  return { harden, done, given, logged, platform, addon }
}

t.test('all goes well', async (t) => {
  const { harden, done, given, platform, addon } = withParts(t)
  const asked = { ...options, __proto__: null }
  const report = harden(options)
  t.strictSame(done, order)
  const [kept, hold, made, examined, inspected, promised, commit, ...rest] = given
  t.strictSame([kept, hold, made], [[addon], [process.listenerCount('SIGUSR1') > 0], [platform, asked]])
  t.strictSame(examined?.slice(0, 2), [platform, plan])
  t.strictSame(inspected, [asked])
  const part = {}
  const run = examined?.[3] as (part: () => object) => object
  t.equal(
    run(() => part),
    part,
    'what a part returns',
  )
  t.strictSame(promised, [addon, plan, asked])
  t.strictSame(commit?.slice(0, 4), [platform, plan, rehearsal, false])
  t.strictSame(rest, [[asked], [asked, addon], [undefined]])
  t.strictSame(report.user, { ...plan.wanted.user })
  t.strictSame(report.threads, committed.threads)
  t.strictSame(report.timings, [
    { name: 'resolve', us: 5 },
    { name: 'park', us: 7 },
  ])
  t.strictSame(report.findings, [finding, hazard])
  t.notOk('chroot' in report)
  t.ok(Object.isFrozen(report))
})

t.test('all goes well, with another root', async (t) => {
  const { harden, done, given } = withParts(t, { made: jail })
  const report = harden({ ...options, chroot: '/srv/mail' })
  t.strictSame(done, order, 'it is closed where it is entered')
  t.strictSame(given.at(-1), [opened])
  t.equal(report.chroot, '/srv/mail')
})

t.test('SIGUSR1: a handler of the application stays', async (t) => {
  const { harden, given } = withParts(t, { held: -1 })
  const listener = () => {}
  process.on('SIGUSR1', listener)
  t.teardown(() => process.removeListener('SIGUSR1', listener))
  harden(options)
  t.strictSame(given[1], [true], 'it listens')
  t.equal(given[6]?.[3], true)
})

t.test('SIGUSR1 that cannot be ignored', async (t) => {
  const { harden, done, given } = withParts(t, { held: 22 })
  t.throws(() => harden(options), { message: 'explained' })
  t.strictSame(done, ['kept?', 'hold SIGUSR1', 'explain', 'give SIGUSR1 back', 'close'])
  const failure = { step: 'SIGUSR1', syscall: 'rt_sigaction', errno: 22, signal: 0, tid: 0, item: 0 }
  t.strictSame(given[2], [failure, undefined, []])
  t.strictSame(given.at(-1), [undefined], 'nothing was opened')
})

t.test('one part throws', async (t) => {
  for (let breaks = 1; breaks <= order.length; breaks++) {
    const { harden, done, given, logged } = withParts(t, { breaks, made: jail })
    const last = order[breaks - 1] as string
    t.throws(() => harden(options), { name: 'RangeError', message: last })
    // up to the commit everything is given back; past it there is nothing to give back
    const refused = breaks > order.indexOf('kept?') + 1 && breaks <= before.length
    const back = refused ? ['give SIGUSR1 back', 'close'] : []
    t.strictSame(done, [...order.slice(0, breaks), ...back], `${last} is the last`)
    if (refused) t.strictSame(given.at(-1), [breaks > order.indexOf('plan') + 1 ? opened : undefined])
    t.strictSame(logged, [], 'nothing is announced')
  }
})

t.test('once in a process', async (t) => {
  const { harden, done } = withParts(t, { kept: true })
  for (const again of [options, {}, { user: 0 }]) {
    done.length = 0
    t.throws(() => harden(again), {
      name: 'HardenError',
      code: 'ERR_HARDEN_ALREADY_APPLIED',
      message: /given up its privileges already/,
      remedy: /once.*restart/,
    })
    t.strictSame(done, ['kept?'], 'no part is done')
  }
  t.throws(() => harden({ usr: 'x' } as never), { code: 'ERR_INVALID_ARG_VALUE' }, 'arguments are checked first')
})

t.test('wrong arguments: no part is done but to look up what is right', async (t) => {
  const table: [unknown, string][] = [
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
    [[], 'ERR_INVALID_ARG_TYPE'],
    [{ usr: 'x' }, 'ERR_INVALID_ARG_VALUE'],
    [{ user: '' }, 'ERR_INVALID_ARG_VALUE'],
    [{ user: -1 }, 'ERR_INVALID_ARG_VALUE'],
    [{ user: 'x', group: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ chroot: 'srv' }, 'ERR_INVALID_ARG_VALUE'],
    [{ chroot: '/srv\0' }, 'ERR_INVALID_ARG_VALUE'],
    [{ ambientCapabilities: 7 }, 'ERR_INVALID_ARG_TYPE'],
    [{ rehearse: { bind: ['25'] } }, 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [wrong, code] of table) {
    const { harden, done } = withParts(t)
    t.throws(() => harden(wrong as never), { name: 'HardenError', code })
    t.strictSame(done, Object.keys(wrong ?? {}).length > 0 ? ['look up'] : [])
  }
})

t.test('in a Worker: no part is done', async (t) => {
  const { harden } = t.mockRequire<typeof import('../lib/harden')>('../lib/harden', {
    'node:worker_threads': { isMainThread: false },
    '../lib/platform': { platform: {} }, // whatever is asked of it fails otherwise
    '../lib/engine': { lookUp: () => {} },
  })
  try {
    harden(options)
    t.fail('it was not refused')
  } catch (error) {
    t.equal((error as HardenError).code, 'ERR_HARDEN_NOT_MAIN_THREAD')
    t.match((error as HardenError).remedy, /main thread/)
  }
  t.throws(() => harden({ usr: 'x' } as never), { code: 'ERR_INVALID_ARG_VALUE' }, 'arguments are checked first')
})

const danger = { code: 'HARDEN_TIOCSTI', level: 'danger', message: 'odd', remedy: 'mend it' } as const

t.test('a danger is a warning as well', async (t) => {
  const { harden } = withParts(t, { findings: [finding, danger] })
  const warned: unknown[] = []
  t.intercept(process, 'emitWarning', { value: (...args: unknown[]) => warned.push(args) })
  harden(options)
  t.strictSame(warned, [['odd', { type: 'PrivdropWarning', code: 'HARDEN_TIOCSTI', detail: 'mend it' }]])
})

t.test('an emitWarning() that was replaced and throws does not make it look refused', async (t) => {
  const { harden } = withParts(t, { findings: [danger] })
  const emitWarning = () => {
    throw new RangeError('replaced')
  }
  t.intercept(process, 'emitWarning', { value: emitWarning })
  t.equal(harden(options).platform, 'linux')
})

t.test('the report is published, once, when all is done; its timings are lines for NODE_DEBUG', async (t) => {
  const { harden, done, logged } = withParts(t)
  const published: unknown[] = []
  const listener = (report: unknown) => {
    t.equal(done.at(-1), 'enter')
    published.push(report)
  }
  subscribe('privdrop:hardened', listener)
  t.teardown(() => unsubscribe('privdrop:hardened', listener))
  const report = harden(options)
  t.equal(published.length, 1)
  t.equal(published[0], report)
  t.strictSame(
    logged,
    report.timings.map(({ name, us }) => ['privdrop', '%s: %d us', name, us]),
  )
  t.throws(() => withParts(t, { kept: true }).harden(options), { code: 'ERR_HARDEN_ALREADY_APPLIED' })
  t.equal(published.length, 1, 'a refusal is not published')
})
