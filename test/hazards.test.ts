/** Promise: what weakens a plan on both systems is named, with a remedy; what vanishes or is hidden does no harm. */
import t, { type Test } from 'tap'
import type { Finding, Plan, Platform, Scene } from '../lib/contract'
import {
  attempt,
  danger,
  environment as environmentOf,
  groupsLost,
  groupZero,
  notExamined,
  note,
  rootByItsGroups,
  sharedPort,
  tryReading,
  wayOfGroup,
} from '../lib/hazards'
import { type Addon, native, type OpenDescriptor } from '../lib/native'
import { linux } from '../lib/platform/linux'
import { allFour, plan as anyPlan, descriptorOf, type Masked, observed, stateOf, nothing as wanted } from './states'

const cluster = { isWorker: false }
const { notListening, signalReport } = t.mockRequire<typeof import('../lib/hazards')>('../lib/hazards', {
  'node:cluster': cluster,
})
const listens = descriptorOf(3, 'listens')
const on = (addon: Partial<Addon> = {}): Platform => ({ ...linux, addon: () => ({ ...native(), ...addon }) })
const sceneOf = (changed: Partial<Masked> = {}, descriptors?: readonly OpenDescriptor[], platform = on()): Scene => {
  const plan: Plan = { ...anyPlan, wanted: stateOf({ ...wanted, ...changed }) }
  return { platform, plan, descriptors, unread: new Set() }
}
/** The same for a plain user, which keeps the groups of its start. */
const ofPlainUser = (scene: Scene): Scene => ({
  ...scene,
  plan: { ...scene.plan, before: observed({ permitted: 0n }) },
})
const list = (finding: Finding | undefined): Finding[] => (finding ? [finding] : [])

interface Expected extends Pick<Finding, 'code' | 'level'> {
  message: string | RegExp
  remedy: string | RegExp
}

/** There is this finding, and no other. */
function alone(t: Test, found: Finding[], finding: Expected, title: string = finding.code): void {
  t.match(found, [finding], title)
  t.equal(found.length, 1, title)
  for (const { message, remedy } of found)
    for (const sentence of [message, remedy]) t.notMatch(sentence, /[.]$|undefined|NaN|\n|^$/)
}

function setEnvironment(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

t.beforeEach((t) => {
  for (const name of ['HOME', 'USER', 'LOGNAME', 'NODE_OPTIONS']) {
    const was = process.env[name]
    t.teardown(() => setEnvironment(name, was))
    delete process.env[name]
  }
})

t.test('a finding', async (t) => {
  const fields = { message: 'it is odd', remedy: 'mend it' }
  t.strictSame(danger('HARDEN_TIOCSTI', 'it is odd', 'mend it'), { code: 'HARDEN_TIOCSTI', level: 'danger', ...fields })
  t.strictSame(note('HARDEN_NPROC', 'it is odd', 'mend it'), { code: 'HARDEN_NPROC', level: 'note', ...fields })
})

t.test('what cannot be read', async (t) => {
  t.equal(
    attempt(() => 7),
    7,
  )
  t.equal(
    attempt(() => {
      throw new RangeError('hidden')
    }),
    undefined,
  )
})

t.test('what is there and refused is remembered, and said', async (t) => {
  const scene = sceneOf()
  const refused = (what: string, code: string) =>
    tryReading(scene, what, () => {
      throw Object.assign(new Error(code), { code })
    })
  t.equal(
    tryReading(scene, '/proc/a', () => 7),
    7,
  )
  for (const code of ['ENOENT', 'ESRCH']) t.equal(refused(`/proc/${code}`, code), undefined, 'it is not there')
  t.equal(notExamined(scene), undefined)
  for (const code of ['EACCES', 'ERR_ACCESS_DENIED', 'EACCES']) t.equal(refused(`/proc/${code}`, code), undefined)
  alone(t, list(notExamined(scene)), {
    code: 'HARDEN_NOT_EXAMINED',
    level: 'note',
    message: /^these could not be read, .*: \/proc\/EACCES, \/proc\/ERR_ACCESS_DENIED$/,
    remedy: /--allow-fs-read=\/proc/,
  })
})

t.test('reports by signal', async (t) => {
  const found = (options: string | undefined, execArgv: string[], reportOnSignal = false) => {
    setEnvironment('NODE_OPTIONS', options)
    t.intercept(process, 'execArgv', { value: execArgv })
    t.intercept(process, 'report', { value: { reportOnSignal } })
    return list(signalReport())
  }
  const ways: Record<string, string> = {
    '--report-on-signal': '--report-on-signal: leave it out, or set process.report.reportOnSignal to false',
    '--heapsnapshot-signal': '--heapsnapshot-signal: leave it out',
  }
  const finding = (...names: string[]) => ({
    code: 'HARDEN_SIGNAL_REPORT' as const,
    level: 'danger' as const,
    message: new RegExp(`by a signal: ${names.join(' and ')}$`),
    remedy: `${names.map((name) => ways[name]).join('; ')} (of NODE_OPTIONS, too)`,
  })
  alone(t, found(undefined, [], true), finding('--report-on-signal'))
  t.intercept(process, 'report', { value: undefined })
  t.equal(signalReport(), undefined, 'a process.report that was deleted')
  for (const option of ['--heapsnapshot-signal=SIGUSR2', '--heapsnapshot_signal=SIGUSR2', '--heapsnapshot-signal']) {
    alone(t, found(undefined, ['--no-warnings', option]), finding('--heapsnapshot-signal'), option)
    for (const options of [option, `--no-warnings  "${option}"`, `${option}\t--no-warnings`])
      alone(t, found(options, []), finding('--heapsnapshot-signal'), `NODE_OPTIONS: ${options}`)
  }
  const both = finding('--report-on-signal', '--heapsnapshot-signal')
  alone(t, found('', ['--heapsnapshot-signal=SIGUSR2'], true), both)
  for (const option of ['--heapsnapshot-near-heap-limit=1', '--report-signal=SIGUSR2', '--heapsnapshot-signals'])
    for (const [options, execArgv] of [
      [option, []],
      ['', [option]],
    ] as const)
      t.same(found(options, [...execArgv]), [], option)
})

t.test('listening', async (t) => {
  const not = ['HARDEN_NOT_LISTENING']
  const datagram = descriptorOf(5, 'datagram')
  const raw = descriptorOf(4, 'raw')
  const codes = (descriptors: readonly OpenDescriptor[] | undefined, isWorker = false) => {
    cluster.isWorker = isWorker
    return list(notListening(sceneOf({}, descriptors))).map(({ code }) => code)
  }
  for (const [title, descriptors, found] of [
    ['one', [listens], []],
    ['two', [listens, { ...listens, descriptor: 4 }], []],
    ['one of several', [raw, listens], []],
    ['a raw one', [raw], not],
    ['a packet one', [{ ...raw, kind: 'packet' }], not],
    ['one for netlink', [{ ...raw, kind: 'netlink' }], not],
    ['a bound datagram socket', [datagram], []],
    ['a connected one', [descriptorOf(5, 'peer', { name: '/run/x' })], not],
    ['none', [], not],
    ['unknown', undefined, []],
  ] as const)
    t.same(codes(descriptors), found, title)
  t.same(codes([], true), [], 'in a cluster the primary does')
  cluster.isWorker = false
  alone(t, list(notListening(sceneOf({}, []))), {
    code: 'HARDEN_NOT_LISTENING',
    level: 'note',
    message: /^no socket of this process is listening yet/,
    remedy: `call harden() when the server has emitted 'listening'`,
  })
})

t.test('the environment', async (t) => {
  const found = (environment: NodeJS.ProcessEnv, uid = 1000) => {
    for (const name of ['HOME', 'USER', 'LOGNAME']) delete process.env[name]
    Object.assign(process.env, environment)
    return list(environmentOf(sceneOf({ user: allFour(uid) })))
  }
  const all = { HOME: '/root', USER: 'root', LOGNAME: 'root' }
  const finding = { code: 'HARDEN_ENVIRONMENT' as const, level: 'note' as const }
  alone(t, found(all), {
    ...finding,
    message: /^HOME, USER, LOGNAME in the environment are still root's/,
    remedy: 'set or delete process.env.HOME, process.env.USER, process.env.LOGNAME',
  })
  for (const name of ['HOME', 'USER', 'LOGNAME'] as const)
    alone(t, found({ [name]: all[name] }), {
      ...finding,
      message: new RegExp(`^${name} in the environment is still root's`),
      remedy: `set or delete process.env.${name}`,
    })
  t.same(found({ HOME: '/', USER: 'mail', LOGNAME: '' }), [])
  t.same(found({ HOME: 'root', USER: '/root', LOGNAME: '0' }), [])
  t.same(found(all, 0), [], 'user root')
})

t.test('group 0', async (t) => {
  const found = (set: Partial<Masked>) => list(groupZero(sceneOf(set)))
  const finding = { code: 'HARDEN_GROUP_ZERO' as const, level: 'danger' as const, remedy: /'supplementalGroups'$/ }
  alone(t, found({ group: allFour(0) }), { ...finding, message: /^group 0, root's, is the group of the process$/ })
  const message = /^group 0, root's, is among the supplementary groups of the process$/
  alone(t, found({ groups: [0, 8] }), { ...finding, message })
  alone(t, found({ groups: [0], user: allFour(1_000_680_000) }), { ...finding, level: 'note', message })
  const kept = { ...finding, message, remedy: /^start the process without it: .*systemd: Group=/ }
  alone(t, list(groupZero(ofPlainUser(sceneOf({ groups: [0] })))), kept, 'a plain user')
  t.same(found({ groups: [8] }), [])
  t.same(found({ group: allFour(0), groups: [0], user: allFour(0) }), [], 'user root')
})

const names: Record<number, string> = { 6: 'disk', 8: 'mail', 27: 'sudo', 100: 'users', 998: 'docker' }
const groupById: Addon['groupById'] = (gid) => names[gid]

t.test('groups that amount to root', async (t) => {
  const found = (changed: Partial<Masked>, addon: Partial<Addon> = { groupById }) =>
    list(rootByItsGroups(sceneOf(changed, [], on(addon))))
  alone(t, found({ group: allFour(27), groups: [6, 8, 998] }), {
    code: 'HARDEN_GROUP_IS_ROOT',
    level: 'danger',
    message: /: disk \(.+\), sudo \(.+\), docker \(starts containers as root\)$/,
    remedy: /^leave disk, sudo, docker out/,
  })
  t.same(found({ groups: [8, 100, 4711] }), [], 'others, and one without a name')
  t.same(found({ groups: [0] }), [], 'group 0 has a finding of its own')
  t.same(found({ groups: [998], user: allFour(0) }), [], 'user root')
  const kept = rootByItsGroups(ofPlainUser(sceneOf({ groups: [998] }, [], on({ groupById }))))
  t.match(kept?.remedy, /^start the process without it: take the account out of the group/, 'a plain user')
  const scene = sceneOf({ groups: [998] }, [], on({ groupById: () => 5 }))
  t.equal(rootByItsGroups(scene), undefined, 'a name service that fails')
  t.ok(scene.unread.has('the name of group 998 (EIO)'), 'and it is said')
  for (const name of ['root', 'shadow', 'wheel', 'lxd', 'libvirt']) t.equal(wayOfGroup(name)?.[0], name)
  for (const name of ['mail', 'toString', '__proto__', '', '27']) t.equal(wayOfGroup(name), undefined, name)
})

t.test('groups that go', async (t) => {
  interface Case {
    explicit?: boolean
    before?: number[]
    account?: number[]
    groups?: number[]
    uid?: number
    ofRoot?: number[] | number
  }
  const found = ({ explicit = false, before = [], account = [], groups = [], uid = 1000, ofRoot = [0] }: Case) => {
    const asked: unknown[][] = []
    const accountGroups: Addon['accountGroups'] = (...args) => {
      asked.push(args)
      return ofRoot
    }
    const scene = sceneOf({ groups, user: allFour(uid) }, [], on({ groupById, accountGroups }))
    const plan = {
      ...scene.plan,
      ...{ explicitGroups: explicit, accountGroups: account, before: observed({ groups: before }) },
    }
    const findings = list(groupsLost({ ...scene, plan }))
    t.ok(asked.every((args) => args.join() === '0,0'))
    return findings
  }
  const finding = (names: string, advised: string) => ({
    code: 'HARDEN_GROUPS_LOST' as const,
    level: 'note' as const,
    message: `supplementary groups of the process or of its account are not retained: ${names}`,
    remedy: `if files depend on them: supplementalGroups: [${advised}], or 'initgroups' for those of the account`,
  })
  alone(t, found({ before: [100, 8], account: [8, 4711] }), finding('mail, users, 4711', `'mail', 'users', 4711`))
  alone(t, found({ before: [8], ofRoot: 5 }), finding('mail', `'mail'`), 'a name service that fails')
  alone(t, found({ before: [8, 27, 998] }), finding('mail', `'mail'`), 'what amounts to root is not advised')
  t.same(found({ before: [27, 998] }), [])
  alone(t, found({ before: [6, 8, 100], ofRoot: [0, 6, 100] }), finding('mail', `'mail'`), "nor are root's own")
  t.same(found({ before: [8], groups: [8] }), [], 'they stay')
  t.same(found({ before: [0, 1000] }), [], 'root, and the group itself')
  t.same(found({ before: [8], explicit: true }), [], 'they were named')
  t.same(found({ before: [8], uid: 0 }), [], 'user root')
})

t.test('a port that several listeners share', async (t) => {
  const shared = descriptorOf(7, 'listens', { sharesPort: true })
  const found = (descriptors: readonly OpenDescriptor[] | undefined, uid = 1000) =>
    list(sharedPort(sceneOf({ user: allFour(uid) }, descriptors)))
  alone(t, found([listens, shared, { ...shared, descriptor: 9 }]), {
    code: 'HARDEN_REUSEPORT',
    level: 'note',
    message: /^SO_REUSEPORT is per user: beside descriptor 7, descriptor 9, .* user 1000 gets EADDRINUSE$/,
    remedy: /^close the listener before the next one is opened/,
  })
  t.same(found([listens]), [])
  t.same(found(undefined), [], 'unknown')
  t.same(found([shared], 0), [], 'the user stays')
})
