/** Promise: what weakens a plan on both systems is named, with a remedy, and what vanishes or is hidden does no harm. */
import { closeSync, mkdtempSync, openSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Finding, Plan, Question } from '../lib/contract'
import {
  attempt,
  danger,
  descriptorQuestions,
  environment as environmentOf,
  foreignFiles,
  groupZero,
  note,
  othersCanExchange,
} from '../lib/hazards'
import type { Answer, OpenDescriptor } from '../lib/native'
import { plan as anyPlan, type Masked, only, stateOf, nothing as wanted } from './states'

const cluster = { isWorker: false }
const { notListening, signalReport } = t.mockRequire<typeof import('../lib/hazards')>('../lib/hazards', {
  'node:cluster': cluster,
})
const listens: OpenDescriptor = { descriptor: 3, kind: 'listens' }
const sceneOf = (changed: Partial<Masked> = {}, descriptors?: readonly OpenDescriptor[]) => {
  const plan: Plan = { ...anyPlan, wanted: stateOf({ ...wanted, ...changed }) }
  return { plan, descriptors }
}
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
  t.strictSame(danger('HARDEN_ODD', 'it is odd', 'mend it'), { code: 'HARDEN_ODD', level: 'danger', ...fields })
  t.strictSame(note('HARDEN_ODD', 'it is odd', 'mend it'), { code: 'HARDEN_ODD', level: 'note', ...fields })
})

t.test('what cannot be looked at', async (t) => {
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

t.test('reports by signal', async (t) => {
  const found = (options: string | undefined, execArgv: string[], reportOnSignal = false) => {
    setEnvironment('NODE_OPTIONS', options)
    t.intercept(process, 'execArgv', { value: execArgv })
    t.intercept(process, 'report', { value: { reportOnSignal } })
    return list(signalReport())
  }
  const finding = (names: string) => ({
    code: 'HARDEN_SIGNAL_REPORT',
    level: 'danger' as const,
    message: new RegExp(`by a signal: ${names}$`),
    remedy: new RegExp(
      `^start Node without ${names} \\(NODE_OPTIONS, too\\), or set process\\.report\\.reportOnSignal`,
    ),
  })
  alone(t, found(undefined, [], true), finding('--report-on-signal'))
  t.intercept(process, 'report', { value: undefined })
  t.equal(signalReport(), undefined, 'a process.report that was deleted')
  for (const option of ['--heapsnapshot-signal=SIGUSR2', '--heapsnapshot_signal=SIGUSR2', '--heapsnapshot-signal']) {
    alone(t, found(undefined, ['--no-warnings', option]), finding('--heapsnapshot-signal'), option)
    for (const options of [option, `--no-warnings  "${option}"`, `${option}\t--no-warnings`])
      alone(t, found(options, []), finding('--heapsnapshot-signal'), `NODE_OPTIONS: ${options}`)
  }
  const both = finding('--report-on-signal and --heapsnapshot-signal')
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
  const raw: OpenDescriptor = { descriptor: 4, kind: 'raw' }
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
    ['none', [], not],
    ['unknown', undefined, []],
  ] as const)
    t.same(codes(descriptors), found, title)
  t.same(codes([], true), [], 'in a cluster the primary does')
  cluster.isWorker = false
  alone(t, list(notListening(sceneOf({}, []))), {
    code: 'HARDEN_NOT_LISTENING',
    level: 'danger',
    message: /^no socket of this process is listening yet/,
    remedy: `call harden() when the server has emitted 'listening'`,
  })
})

t.test('the environment', async (t) => {
  const found = (environment: NodeJS.ProcessEnv, uid = 1000) => {
    for (const name of ['HOME', 'USER', 'LOGNAME']) delete process.env[name]
    Object.assign(process.env, environment)
    return list(environmentOf(sceneOf({ user: only(uid) })))
  }
  const all = { HOME: '/root', USER: 'root', LOGNAME: 'root' }
  const finding = { code: 'HARDEN_ENVIRONMENT', level: 'note' as const }
  alone(t, found(all), {
    ...finding,
    message: /^HOME, USER, LOGNAME in the environment are root's still/,
    remedy: 'set or delete process.env.HOME, process.env.USER, process.env.LOGNAME',
  })
  for (const name of ['HOME', 'USER', 'LOGNAME'] as const)
    alone(t, found({ [name]: all[name] }), {
      ...finding,
      message: new RegExp(`^${name} in the environment is root's still`),
      remedy: `set or delete process.env.${name}`,
    })
  t.same(found({ HOME: '/', USER: 'mail', LOGNAME: '' }), [])
  t.same(found({ HOME: 'root', USER: '/root', LOGNAME: '0' }), [])
  t.same(found(all, 0), [], 'user root')
})

t.test('group 0', async (t) => {
  const found = (set: Partial<Masked>) => list(groupZero(sceneOf(set)))
  const finding = { code: 'HARDEN_GROUP_ZERO', level: 'note' as const, remedy: /'supplementalGroups'$/ }
  alone(t, found({ group: only(0) }), { ...finding, message: /^group 0, root's, is the group of the process$/ })
  const message = /^group 0, root's, is among the supplementary groups of the process$/
  alone(t, found({ groups: [0, 8] }), { ...finding, message })
  t.same(found({ groups: [8] }), [])
  t.same(found({ group: only(0), groups: [0], user: only(0) }), [], 'user root')
})

const answer = (errno: number, fields: Partial<Answer> = {}): Answer => ({
  errno,
  by: 'none',
  found: undefined,
  ...fields,
})
const reopen = (number: number): Question => ({ kind: 'reopen', path: '', number, option: undefined })

t.test('files that the new user could not open', async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'privdrop-hazards-')))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const odd = openSync(join(folder, "mail\n'log'"), 'w')
  const device = openSync('/dev/null', 'r')
  t.teardown(() => [odd, device].map((descriptor) => closeSync(descriptor)))
  const asked = (numbers: number[], errno = 13) =>
    list(foreignFiles(numbers.map((number) => ({ question: reopen(number), answer: answer(errno) }))))
  alone(t, asked([device, odd, 1_000_000]), {
    code: 'HARDEN_DESCRIPTORS',
    level: 'note',
    message: `goes on using: descriptor ${device} ('/dev/null'), descriptor ${odd} ("${folder}/mail\\n'log'"), descriptor 1000000 (closed by now)`,
    remedy: /^give the files to the new user if they are to be opened again/,
  })
  for (const errno of [0, 1, 2, 38]) t.same(asked([device], errno), [], `errno ${errno}`)
  t.same(list(foreignFiles([])), [])
  t.same(list(foreignFiles([{ question: reopen(device), answer: undefined }])), [], 'no answer')
  const read: Question = { ...reopen(device), kind: 'read' }
  t.same(list(foreignFiles([{ question: read, answer: answer(13) }])), [], 'another question')
  const many = Array.from({ length: 20 }, (_, index) => 1_000_000 + index)
  const [finding] = asked(many)
  t.match(finding?.message, /descriptor 1000015 \(closed by now\) and 4 more$/)
  t.notMatch(finding?.message, '1000016')
})

t.test('which descriptors are asked about', async (t) => {
  const file = (descriptor: number): OpenDescriptor => ({ descriptor, kind: 'file' })
  t.strictSame(descriptorQuestions([listens, file(9), { descriptor: 4, kind: 'raw' }, file(10)]), [
    reopen(9),
    reopen(10),
  ])
  t.strictSame(descriptorQuestions([]), [])
  const many = Array.from({ length: 2000 }, (_, index) => file(index))
  t.equal(descriptorQuestions(many).length, 1024)
})

t.test('others than root can exchange what the path of the chroot names', async (t) => {
  const exchange: Question = { kind: 'exchange', path: '/srv/mail', number: 0, option: 'chroot' }
  const found = (given: Answer | undefined, question = exchange) =>
    list(
      othersCanExchange([
        { question: reopen(9), answer: answer(0, { by: 'others', found: '/x' }) },
        { question, answer: given },
      ]),
    )
  alone(t, found(answer(0, { by: 'others', found: '/srv' })), {
    code: 'HARDEN_WRITABLE_ANCESTOR',
    level: 'note',
    message: /^others than root can exchange what the chroot's path names: '\/srv'$/,
    remedy: /^give the folder in which it lies to root \(chown root\)/,
  })
  for (const given of [answer(0), answer(0, { by: 'user', found: '/srv' }), undefined]) t.same(found(given), [])
  t.same(list(othersCanExchange([])), [])
})
