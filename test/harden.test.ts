/** Promise: the parts of the call come in one order, and the first that throws is the last that is done. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as util from 'node:util'
import t, { type Test } from 'tap'
import { inWords, type ThreadState } from '../lib/audit'
import type { HardenError } from '../lib/errors'
import type { HardenOptions } from '../lib/options'
import type { Platform } from '../lib/platform/index'
import type { Plan } from '../lib/platform/linux/plan'
import type { HardenReport } from '../lib/report'

// Nobody has this name: should a part not be replaced after all, it is refused.
const options = { user: 'no-such-account' }
const HARDENED = Symbol.for('privdrop.hardened')

const ids = { real: 990, effective: 990, saved: 990, fs: 990 }
const none = { permitted: 0n, effective: 0n, inheritable: 0n, bounding: 0n, ambient: 0n }
const wanted = { user: ids, group: ids, groups: [8], ...none, securebits: 0, noNewPrivileges: true, jailed: false }
const thread: ThreadState = { ...wanted, tid: 4711, name: 'node' }
const before: ThreadState = { ...thread, noNewPrivileges: false }
const seen = { state: before, token: new ArrayBuffer(8) }
const finding = { code: 'HARDEN_ONE', level: 'note', message: 'one', remedy: 'none' } as const
const hazard = { code: 'HARDEN_TWO', level: 'note', message: 'two', remedy: 'none' } as const
const plan: Plan = { wanted, steps: [], boundingDrop: 0n, attempts: [], findings: [finding] }
const root = { path: '/srv/mail', descriptor: 17, place: '8:2', stat: 18 }
const jail: Plan = { ...plan, wanted: { ...wanted, jailed: true }, root }
const descriptors = [{ descriptor: 21, kind: 'listens' }] as const

const order = [
  ...['observe', 'plan', 'descriptors', 'hazards', 'rehearse', 'inspector'],
  ...['commit', 'inspector', 'enter', 'remember'],
]

interface Parts {
  /** The n-th part to be done throws. */
  breaks?: number
  made?: Plan
  /** As the kernel describes them when all is done. */
  threads?: ThreadState[]
}

/** harden() with every other part, and `process`, replaced. */
function withParts(t: Test, { breaks, made = plan, threads = [thread] }: Parts = {}) {
  const done: string[] = []
  const given: unknown[][] = []
  const logged: unknown[][] = []
  const part = (name: string, ...args: unknown[]) => {
    done.push(name)
    given.push(args)
    // a second copy of the package would know
    if (Object.hasOwn(own, HARDENED)) marked.push(name)
    if (done.length === breaks) throw new RangeError(name)
  }
  const marked: string[] = []
  const platform: Omit<Platform, 'decide' | 'openRoot' | 'hazards'> = {
    observe: () => {
      part('observe')
      return seen
    },
    descriptors: (...args) => {
      part('descriptors', ...args)
      return descriptors
    },
    rehearse: (...args) => {
      part('rehearse', ...args)
      return []
    },
    commit: (ofPlan, before, conclude) => {
      part('commit', ofPlan, before)
      return conclude(threads, [{ name: 'park', us: 7 }]) as never
    },
    remember: (...args) => part('remember', ...args),
    look: () => t.fail('nobody has asked for it') as never,
  }
  const mocked = t.mockRequire<typeof import('../lib/harden')>('../lib/harden', {
    'node:util': {
      ...util,
      debuglog:
        (section: string) =>
        (...args: unknown[]) =>
          logged.push([section, ...args]),
    },
    '../lib/plan': {
      makePlan: (...args: unknown[]) => {
        part('plan', ...args)
        return made
      },
    },
    '../lib/hazards': {
      findHazards: (...args: unknown[]) => {
        part('hazards', ...args)
        return [hazard]
      },
    },
    '../lib/chroot': {
      enteredRoot: (...args: unknown[]) => part('enter', ...args),
      closeRoot: (...args: unknown[]) => part('close', ...args),
    },
    '../lib/inspector': { refuseInspector: (...args: unknown[]) => part('inspector', ...args) },
    '../lib/platform': { platform },
  })
  // what is marked as hardened stays so
  const own: NodeJS.Process = Object.create(process)
  const harden = (asked: HardenOptions): HardenReport => {
    const real = globalThis.process
    globalThis.process = own
    try {
      return mocked.harden(asked)
    } finally {
      globalThis.process = real
    }
  }
  return { harden, done, given, own, marked, logged }
}

t.test('all goes well', async (t) => {
  const { harden, done, given, marked } = withParts(t)
  const asked = { ...options, __proto__: null }
  const report = harden(options)
  t.strictSame(done, order)
  t.strictSame(given, [
    [],
    [asked, before],
    [plan, seen],
    [plan, before, descriptors],
    [plan, seen],
    [asked],
    [plan, seen],
    [asked],
    [undefined],
    [inWords(wanted), undefined],
  ])
  t.strictSame(marked, ['enter', 'remember'], 'it is marked when nothing is left to be refused')
  t.strictSame({ ...report.user }, ids)
  t.strictSame(
    report.threads.map(({ tid }) => tid),
    [4711],
  )
  t.strictSame(
    report.steps.map(({ name }) => name),
    ['resolve', 'descriptors', 'hazards', 'rehearse', 'park'],
  )
  t.ok(report.steps.every(({ us }) => Number.isInteger(us) && us >= 0))
  t.strictSame(report.findings, [finding, hazard])
  t.notOk('chroot' in report)
  t.ok(Object.isFrozen(report))
})

t.test('all goes well, with another root', async (t) => {
  const { harden, done, given } = withParts(t, { made: jail })
  const report = harden({ ...options, chroot: '/srv/mail' })
  t.strictSame(done, order, 'it is not closed: /proc/self/stat is needed later')
  t.strictSame(given.slice(-2), [[root], [inWords(jail.wanted), root]], 'enter, remember')
  t.equal(report.chroot, '/srv/mail')
})

t.test('what is remembered is what was wanted, not what was before', async (t) => {
  const { harden, given } = withParts(t)
  harden(options)
  t.match(given.at(-1)?.[0], { user: '990 990 990 990', groups: '8', noNewPrivileges: 'true', jailed: 'false' })
})

t.test('microseconds', async (t) => {
  const { harden, own } = withParts(t)
  let now = 0n
  Object.defineProperty(own, 'hrtime', {
    value: {
      bigint: () => {
        now += 5_999_999n
        return now
      },
    },
  })
  t.strictSame(harden(options).steps, [
    { name: 'resolve', us: 5999 },
    { name: 'descriptors', us: 5999 },
    { name: 'hazards', us: 5999 },
    { name: 'rehearse', us: 5999 },
    { name: 'park', us: 7 },
  ])
})

t.test('one part throws', async (t) => {
  for (let breaks = 1; breaks <= order.length; breaks++) {
    const { harden, done, given, own, logged } = withParts(t, { breaks, made: jail })
    const last = order[breaks - 1] as string
    t.throws(() => harden(options), { name: 'RangeError', message: last })
    // what a plan has opened is closed, whatever happens
    const opened = breaks > order.indexOf('plan') + 1
    t.strictSame(done, [...order.slice(0, breaks), ...(opened ? ['close'] : [])], `${last} is the last`)
    if (opened) t.strictSame(given.at(-1), [root])
    t.equal(Object.hasOwn(own, HARDENED), breaks > order.indexOf('enter'), 'marked past the line only')
    t.strictSame(logged, [], 'nothing is announced')
  }
})

t.test('no thread is left to report: that is no success', async (t) => {
  const { harden, done } = withParts(t, { threads: [] })
  t.throws(() => harden(options), { name: 'Error', message: /no thread/ })
  t.strictSame(done, [...order, 'close'])
})

t.test('once in a process', async (t) => {
  const { harden, done, own } = withParts(t)
  t.notOk(Object.hasOwn(process, HARDENED))
  harden(options)
  t.strictSame(Object.getOwnPropertyDescriptor(own, HARDENED), {
    value: true,
    writable: false,
    enumerable: false,
    configurable: false,
  })
  t.notOk(Object.hasOwn(process, HARDENED), 'nothing of this process has been marked')

  done.length = 0
  for (const again of [options, {}, { user: 0 }]) {
    t.throws(() => harden(again), {
      name: 'HardenError',
      code: 'ERR_HARDEN_ALREADY_APPLIED',
      message: /given up its privileges already/,
      remedy: /once.*restart/,
    })
    t.strictSame(done, [], 'no part is done')
  }
  t.throws(() => harden({ usr: 'x' } as never), { code: 'ERR_INVALID_ARG_VALUE' }, 'arguments are checked all the same')
})

t.test('a second copy of the package knows, whatever the first made of the mark', async (t) => {
  for (const value of [true, false, undefined]) {
    const { harden, done, own } = withParts(t)
    Object.defineProperty(own, HARDENED, { value })
    t.throws(() => harden(options), { code: 'ERR_HARDEN_ALREADY_APPLIED' })
    t.strictSame(done, [])
  }
})

t.test('a mark that is inherited is none', async (t) => {
  const prototype = Object.prototype as { [HARDENED]?: boolean }
  const { harden, done } = withParts(t)
  t.teardown(() => delete prototype[HARDENED])
  prototype[HARDENED] = true
  harden(options)
  delete prototype[HARDENED]
  t.strictSame(done, order)
})

t.test('wrong arguments: no part is done', async (t) => {
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
    t.strictSame(done, [])
  }
})

t.test('in a Worker: no part is done', async (t) => {
  const { harden } = t.mockRequire<typeof import('../lib/harden')>('../lib/harden', {
    'node:worker_threads': { isMainThread: false },
    '../lib/platform': { platform: {} }, // whatever is asked of it fails otherwise
  })
  try {
    harden(options)
    t.fail('it was not refused')
  } catch (error) {
    t.equal((error as HardenError).code, 'ERR_HARDEN_NOT_MAIN_THREAD')
    t.match((error as HardenError).remedy, /main thread/)
  }
  t.throws(() => harden({ usr: 'x' } as never), { code: 'ERR_INVALID_ARG_VALUE' }, 'arguments are checked all the same')
})

t.test('a danger is a warning as well', async (t) => {
  const danger = { code: 'HARDEN_ODD', level: 'danger', message: 'odd', remedy: 'mend it' } as const
  const { harden, own } = withParts(t, { made: { ...plan, findings: [finding, danger] } })
  const warned: unknown[] = []
  Object.defineProperty(own, 'emitWarning', { value: (...args: unknown[]) => warned.push(args) })
  harden(options)
  t.strictSame(warned, [['odd', { type: 'PrivdropWarning', code: 'HARDEN_ODD', detail: 'mend it' }]])
})

t.test('who has replaced emitWarning() and throws does not make it look refused', async (t) => {
  const danger = { code: 'HARDEN_ODD', level: 'danger', message: 'odd', remedy: 'mend it' } as const
  const { harden, own } = withParts(t, { made: { ...plan, findings: [danger] } })
  const emitWarning = () => {
    throw new RangeError('replaced')
  }
  Object.defineProperty(own, 'emitWarning', { value: emitWarning })
  t.equal(harden(options).platform, 'linux')
})

t.test('the report is published, once, when all is done; its steps are lines for NODE_DEBUG', async (t) => {
  const { harden, done, logged } = withParts(t)
  const published: unknown[] = []
  const listener = (report: unknown) => {
    t.equal(done.at(-1), 'remember')
    published.push(report)
  }
  subscribe('privdrop:hardened', listener)
  t.teardown(() => unsubscribe('privdrop:hardened', listener))
  const report = harden(options)
  t.equal(published.length, 1)
  t.equal(published[0], report)
  t.strictSame(
    logged,
    report.steps.map(({ name, us }) => ['privdrop', '%s: %d us', name, us]),
  )
  t.throws(() => harden(options), { code: 'ERR_HARDEN_ALREADY_APPLIED' })
  t.equal(published.length, 1, 'a refusal is not published')
})
