/** Promise: the parts of the call come in one order, and the first that throws is the last that is done. */
import t, { type Test } from 'tap'
import type { ThreadState } from '../lib/audit'
import type { HardenError } from '../lib/errors'
import type { HardenOptions } from '../lib/options'
import type { Plan } from '../lib/plan'
import type { Platform } from '../lib/platform/index'
import type { HardenReport } from '../lib/report'

// Nobody has this name: should a part not be replaced after all, it is refused.
const options = { user: 'no-such-account' }
const HARDENED = Symbol.for('privdrop.hardened')

const ids = { real: 990, effective: 990, saved: 990, fs: 990 }
const none = { permitted: 0n, effective: 0n, inheritable: 0n, bounding: 0n, ambient: 0n }
const wanted = { user: ids, group: ids, groups: [8], ...none, securebits: 0, noNewPrivileges: true, jailed: false }
const thread: ThreadState = { ...wanted, tid: 4711, name: 'node' }
const seen = { state: thread, token: new ArrayBuffer(8) }
const finding = { code: 'HARDEN_ONE', level: 'note', message: 'one', remedy: 'none' } as const
const plan: Plan = { wanted, steps: [], boundingDrop: 0n, findings: [finding] }
const root = { path: '/srv/mail', descriptor: 17 }
const jail: Plan = { ...plan, root }

const order = ['observe', 'plan', 'open directories', 'rehearse', 'inspector', 'commit', 'inspector']

/** harden() with every other part, and `process`, replaced; the n-th part to be done throws, if n is given. */
function withParts(t: Test, { breaks, made = plan }: { breaks?: number; made?: Plan } = {}) {
  const done: string[] = []
  const given: unknown[][] = []
  const part = (name: string, ...args: unknown[]) => {
    done.push(name)
    given.push(args)
    if (done.length === breaks) throw new RangeError(name)
  }
  const platform: Platform = {
    observe: () => {
      part('observe')
      return seen
    },
    rehearse: (...args) => part('rehearse', ...args),
    commit: (ofPlan, before, conclude) => {
      part('commit', ofPlan, before)
      return conclude([thread], [{ name: 'park', us: 7 }]) as never
    },
  }
  const mocked = t.mockRequire<typeof import('../lib/harden')>('../lib/harden', {
    '../lib/plan': {
      makePlan: (...args: unknown[]) => {
        part('plan', ...args)
        return made
      },
    },
    '../lib/chroot': {
      refuseOpenDirectories: (...args: unknown[]) => part('open directories', ...args),
      closeRoot: (...args: unknown[]) => part('close', ...args),
    },
    '../lib/inspector': { refuseInspector: (...args: unknown[]) => part('inspector', ...args) },
    '../lib/platform': { platform },
  })
  // what is marked as hardened stays so
  const own: NodeJS.Process = Object.create(process, { chdir: { value: (path: string) => part('chdir', path) } })
  const harden = (asked: HardenOptions): HardenReport => {
    const real = globalThis.process
    globalThis.process = own
    try {
      return mocked.harden(asked)
    } finally {
      globalThis.process = real
    }
  }
  return { harden, done, given, own }
}

t.test('all goes well', async (t) => {
  const { harden, done, given } = withParts(t)
  const report = harden(options)
  t.strictSame(done, [...order, 'close'])
  t.strictSame(given, [
    [],
    [{ ...options, __proto__: null }, thread],
    [undefined],
    [plan, seen],
    [{ ...options, __proto__: null }],
    [plan, seen],
    [{ ...options, __proto__: null }],
    [undefined],
  ])
  t.strictSame({ ...report.user }, ids)
  t.strictSame(
    report.steps.map(({ name }) => name),
    ['resolve', 'rehearse', 'park'],
  )
  t.ok(report.steps.every(({ us }) => Number.isInteger(us) && us >= 0))
  t.strictSame(report.findings, [finding])
  t.notOk('chroot' in report)
  t.ok(Object.isFrozen(report))
})

t.test('all goes well, with another root', async (t) => {
  const { harden, done, given } = withParts(t, { made: jail })
  const report = harden({ ...options, chroot: '/srv/mail' })
  t.strictSame(done, [...order, 'chdir', 'close'])
  t.strictSame(given[2], [root], 'open directories')
  t.strictSame(given.slice(-2), [['/'], [root]], 'chdir, close')
  t.equal(report.chroot, '/srv/mail')
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
    { name: 'rehearse', us: 5999 },
    { name: 'park', us: 7 },
  ])
})

t.test('one part throws', async (t) => {
  const all = [...order, 'chdir']
  for (let breaks = 1; breaks <= all.length; breaks++) {
    const { harden, done, given, own } = withParts(t, { breaks, made: jail })
    const last = all[breaks - 1]
    t.throws(() => harden(options), { name: 'RangeError', message: last })
    // what a plan has opened is closed, whatever happens
    const opened = breaks > all.indexOf('plan') + 1
    t.strictSame(done, [...all.slice(0, breaks), ...(opened ? ['close'] : [])], `${last} is the last`)
    if (opened) t.strictSame(given.at(-1), [root])
    t.equal(Object.hasOwn(own, HARDENED), last === 'chdir', 'it is marked when nothing is left to be refused')
  }
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
  t.strictSame(done, [...order, 'close'])
})

t.test('wrong arguments: no part is done', async (t) => {
  for (const wrong of [
    undefined,
    null,
    [],
    { usr: 'x' },
    { user: '' },
    { user: -1 },
    { user: 'x', group: null },
    { chroot: 'srv' },
    { chroot: '/srv\0' },
    { ambientCapabilities: 7 },
  ]) {
    const { harden, done } = withParts(t)
    t.throws(() => harden(wrong as never), { name: 'HardenError' })
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
    t.ok((error as HardenError).remedy)
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
