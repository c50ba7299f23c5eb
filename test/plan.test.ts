/** Promise: plan() says what harden() would do and all that it would throw, and leaves nothing behind. */
import t from 'tap'
import type { Finding, Plan } from '../lib/contract'
import type { Run } from '../lib/errors'
import * as errors from '../lib/errors'
import type { Step } from '../lib/native'
import type { HardenOptions } from '../lib/options'
import type { HardenPlan } from '../lib/plan'
import { allFour, plan as anyPlan, BIND, type Masked, opened, stateOf } from './states'

const { HardenError } = errors

const masked: Masked = {
  user: allFour(990),
  group: allFour(991),
  groups: [8, 12],
  permitted: BIND,
  effective: BIND,
  inheritable: 1n << 13n,
  bounding: 1n,
  ambient: 1n << 7n,
  securebits: 47,
  noNewPrivileges: true,
  jailed: false,
}
const note: Finding = { code: 'HARDEN_NPROC', level: 'note', message: 'one is not', remedy: 'leave it' }
const danger: Finding = { code: 'HARDEN_TIOCSTI', level: 'danger', message: 'two is bad', remedy: 'mend it' }
const steps: Step[] = ['chroot', 'bounding', 'setgroups', 'setresgid', 'setresuid', 'capset', 'no_new_privs']
const made: Plan = { ...anyPlan, wanted: stateOf(masked), steps, findings: [note] }
const jail: Plan = { ...made, root: opened }

/** Of examine() the parts that can be refused. */
const order = ['plan', 'kept?', 'descriptors', 'hazards', 'rehearse', 'inspector', 'close']

/** What each part of plan() does. */
let part: <T>(name: string, args: unknown[], result: T) => T
let toBeMade: Plan

// nothing else is asked of it: to commit, or to promise
const platform = { name: 'linux', allNames: () => [], addon: () => 'addon' }

const { plan } = t.mockRequire<typeof import('../lib/plan')>('../lib/plan', {
  '../lib/errors': errors, // one class for all
  '../lib/engine': {
    lookUp: (...args: unknown[]) => part('look up', args, undefined),
    makePlan: (...args: unknown[]) => part('plan', args.slice(0, 2), toBeMade),
    examine: (system: unknown, plan: Plan, timings: unknown, run: Run) => {
      run(() => part('descriptors', [system, plan, timings], []))
      const found = part('hazards', [], danger)
      const rehearsal = run(() => part('rehearse', [], {}))
      return { findings: [...plan.findings, found], rehearsal }
    },
  },
  '../lib/inspector': { refuseInspector: (...args: unknown[]) => part('inspector', args, undefined) },
  '../lib/promise': { refuseSecondCall: (...args: unknown[]) => part('kept?', args, undefined) },
  '../lib/root': { closeRoot: (...args: unknown[]) => part('close', args, undefined) },
  '../lib/platform': { platform },
})

/** plan() where these parts throw these errors. */
function withParts(throws: Partial<Record<string, Error>> = {}, ofPlan: Plan = made) {
  const done: string[] = []
  const given: unknown[][] = []
  const ask = (options: HardenOptions): HardenPlan => {
    toBeMade = ofPlan
    part = (name, args, result) => {
      done.push(name)
      given.push(args)
      const error = throws[name]
      if (error) throw error
      return result
    }
    return plan(options)
  }
  return { plan: ask, done, given }
}

const refused = (step: string | undefined, fields: Partial<errors.HardenErrorFields> = {}) =>
  new HardenError({
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `no to ${step}`,
    remedy: 'ask again',
    ...(step !== undefined && { step }),
    ...fields,
  })

const data = {
  platform: 'linux',
  user: allFour(990),
  group: allFour(991),
  groups: [8, 12],
  capabilities: {
    permitted: ['cap_net_bind_service'],
    effective: ['cap_net_bind_service'],
    inheritable: ['cap_net_raw'],
    bounding: ['cap_chown'],
    ambient: ['cap_setuid'],
  },
  securebits: 47,
  noNewPrivileges: true,
  steps: steps.map((name) => ({ name, rehearsed: true })),
  refusals: [],
  findings: [note, danger],
}

t.test('nothing is refused', async (t) => {
  const { plan, done, given } = withParts()
  const report = plan({ user: 'no-such-account' })
  const asked = { user: 'no-such-account', __proto__: null }
  t.strictSame({ ...report }, data)
  t.strictSame(JSON.parse(JSON.stringify(report)), data, 'as JSON')
  t.strictSame(done, order)
  t.strictSame(given, [[platform, asked], ['addon'], [platform, made, []], [], [], [asked], [undefined]])
  const { done: all, given: closed, plan: inJail } = withParts({}, jail)
  t.strictSame(JSON.parse(JSON.stringify(inJail({ chroot: '/srv/mail' }))), { ...data, chroot: '/srv/mail' })
  t.strictSame([all.at(-1), closed.at(-1)], ['close', [opened]])
})

t.test('all that is refused, in the order in which harden() would meet it', async (t) => {
  const throws = {
    descriptors: refused('descriptors', { code: 'ERR_HARDEN_OPEN_DIRECTORY', option: 'chroot', found: '/etc' }),
    rehearse: refused('setgroups', {
      syscall: 'setgroups',
      errno: -1,
      tid: 4711,
      wanted: '8',
      cause: new Error('why'),
    }),
    inspector: refused(undefined, { code: 'ERR_HARDEN_INSPECTOR' }),
  }
  const first = {
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    message: throws.descriptors.message,
    remedy: 'ask again',
    step: 'descriptors',
    option: 'chroot',
    found: '/etc',
  }
  const second = {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: throws.rehearse.message,
    remedy: 'ask again',
    step: 'setgroups',
    syscall: 'setgroups',
    errno: -1,
    tid: 4711,
    wanted: '8',
  }
  const third = { code: 'ERR_HARDEN_INSPECTOR', message: throws.inspector.message, remedy: 'ask again' }
  const { plan, done, given } = withParts(throws, jail)
  const report = plan({})
  t.strictSame([...report.refusals], [first, second, third])
  t.strictSame(JSON.parse(JSON.stringify(report)).refusals, [first, second, third], 'as JSON')
  t.strictSame(done, order)
  t.strictSame(given.at(-1), [opened], 'the root is closed')
  t.strictSame([...report.findings], [note, danger], 'findings are none the less')

  for (const name of Object.keys(throws) as (keyof typeof throws)[]) {
    const { code, message } = throws[name]
    const { refusals } = withParts({ [name]: throws[name] }).plan({})
    t.match(refusals, [{ code, message }], name)
    t.equal(refusals.length, 1)
  }
  const twice = withParts({ descriptors: throws.descriptors, rehearse: throws.descriptors }).plan({})
  t.equal(twice.refusals.length, 1, 'what is found again is said once')
})

t.test('what is no refusal is thrown on, and the root is closed', async (t) => {
  const mine = new RangeError('mine')
  for (const name of ['descriptors', 'hazards', 'rehearse', 'inspector']) {
    const { plan, done, given } = withParts({ [name]: mine }, jail)
    t.throws(() => plan({}), mine, name)
    t.strictSame(done, [...order.slice(0, order.indexOf(name) + 1), 'close'])
    t.strictSame(given.at(-1), [opened])
  }
  const { plan, done } = withParts({ descriptors: refused('descriptors'), rehearse: mine })
  t.throws(() => plan({}), mine, 'after a refusal, too')
  t.strictSame(done, [...order.slice(0, order.indexOf('rehearse') + 1), 'close'])
  t.throws(() => withParts({}, { ...made, wanted: undefined as never }).plan({}), TypeError)
})

t.test('without a plan there is nothing to report, and nothing to close', async (t) => {
  for (const name of ['plan'])
    for (const error of [refused('proc'), new RangeError('mine')]) {
      const { plan, done } = withParts({ [name]: error })
      t.throws(() => plan({}), error, name)
      t.strictSame(done, order.slice(0, order.indexOf(name) + 1))
    }
})

t.test('wrong arguments: no part is done but to look up what is right', async (t) => {
  for (const [wrong, code] of [
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [{ usr: 'x' }, 'ERR_INVALID_ARG_VALUE'],
    [{ rehearse: { bind: [0] } }, 'ERR_INVALID_ARG_VALUE'],
  ] as const) {
    const { plan, done } = withParts()
    t.throws(() => plan(wrong as never), { name: 'HardenError', code })
    t.strictSame(done, wrong ? ['look up'] : [])
  }
  const { plan, given } = withParts()
  t.throws(() => plan({ user: 'nobody', group: '', usr: 'x', chroot: '/srv' } as never))
  t.strictSame({ ...(given[0]?.[1] as object) }, { user: 'nobody', chroot: '/srv' }, 'what is wrong is left out')
})

t.test('which steps a child could do', async (t) => {
  const table: [title: string, step: string | undefined, rehearsed: number][] = [
    ['there was no child', 'rehearsal child', 0],
    ['there was no memory', 'memory', 0],
    ['there is no /proc', 'proc', 0],
    ['the main thread could not block its signals', 'signal mask', 0],
    ['what is open could not be looked at', 'descriptors', 0],
    ['what comes before the steps', 'exchange', 0],
    ...steps.map((step, index): [string, string, number] => ['a step', step, index]),
    ...['enter', 'regain', 'read', 'write', 'bind', 'reopen', 'verify', 'read back'].map(
      (step): [string, string, number] => ['what comes after the steps', step, steps.length],
    ),
  ]
  for (const [title, step, rehearsed] of table)
    for (const more of [{}, { descriptors: refused('descriptors') }, { inspector: refused(undefined) }]) {
      const { plan } = withParts({ rehearse: refused(step), ...more })
      t.strictSame(
        [...plan({}).steps],
        steps.map((name, index) => ({ name, rehearsed: index < rehearsed })),
        `${title}: ${step}`,
      )
    }
  for (const more of [{}, { descriptors: refused('descriptors') }, { inspector: refused(undefined) }])
    t.strictSame([...withParts(more).plan({}).steps], data.steps, 'the rehearsal was not refused')
  t.strictSame([...withParts({}, { ...made, steps: [] }).plan({}).steps], [], 'nothing is due')
})

t.test('it is frozen, all the way down', async (t) => {
  const { plan } = withParts({ rehearse: refused('setgroups') }, jail)
  const seen: object[] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    seen.push(value)
    for (const part of Object.values(value)) walk(part)
  }
  walk(plan({}))
  t.ok(seen.length > 20)
  t.ok(seen.every(Object.isFrozen))
})

t.test('the table: what speaks against it first, the verdict last', async (t) => {
  const throws = { rehearse: refused('setresgid'), inspector: refused(undefined, { code: 'ERR_HARDEN_INSPECTOR' }) }
  const accounts = { user: new Map([[990, 'smtp']]), group: new Map([[8, 'mail']]) }
  t.strictSame(String(withParts(throws, { ...jail, accounts: () => accounts }).plan({})).split('\n'), [
    'refused               ERR_HARDEN_NOT_PERMITTED: no to setresgid.',
    '                      Remedy: ask again.',
    'refused               ERR_HARDEN_INSPECTOR: no to undefined.',
    '                      Remedy: ask again.',
    'danger                HARDEN_TIOCSTI: two is bad.',
    '                      Remedy: mend it.',
    'user                  smtp (990), real, effective, saved and file system',
    'group                 991, real, effective, saved and file system',
    'supplementary groups  mail (8), 12',
    'permitted             cap_net_bind_service',
    'effective             cap_net_bind_service',
    'inheritable           cap_net_raw',
    'bounding              cap_chown',
    'ambient               cap_setuid',
    'no_new_privs          1',
    'securebits            0x2f',
    'root directory        /srv/mail',
    'steps                 chroot, bounding, setgroups; not rehearsed: setresgid, setresuid, capset, no_new_privs',
    'note                  HARDEN_NPROC: one is not.',
    '                      Remedy: leave it.',
    'verdict               would be refused: 2 reasons',
  ])
  const row = (name: string, report: HardenPlan) => new RegExp(`^${name} +(.*)$`, 'm').exec(String(report))?.[1]
  const done = withParts().plan({})
  t.equal(row('root directory', done), 'as before')
  t.equal(row('steps', done), 'chroot, bounding, setgroups, setresgid, setresuid, capset, no_new_privs')
  t.equal(row('verdict', done), 'would be done')
  t.equal(row('refused', done), undefined)
  t.equal(row('steps', withParts({}, { ...made, steps: [] }).plan({})), 'none')
  const childless = withParts({ rehearse: refused('rehearsal child') }).plan({})
  t.equal(row('steps', childless), `not rehearsed: ${steps.join(', ')}`)
  t.equal(row('verdict', childless), 'would be refused: 1 reason')
})
