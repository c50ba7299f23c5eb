/** Promise: on every system, all that can speak against a plan is checked in one order, and nothing changes before the
 * commit. */
import { constants } from 'node:os'
import t from 'tap'
import type { Avoid, Finding, Observation, Plan, Platform, Question, Rehearsal, Timing } from '../lib/contract'
import { accountsOf } from '../lib/databases'
import { commit, examine, makePlan as makePlanFor, timed } from '../lib/engine'
import { HardenError, type Run } from '../lib/errors'
import { questionsAhead } from '../lib/foresight'
import { type Addon, type Answer, type Failure, native, type OpenDescriptor } from '../lib/native'
import type { HardenOptions } from '../lib/options'
import { Reasons } from '../lib/reasons'
import { refusal } from './refused'
import { allFour, plan as anyPlan, descriptorOf, mail, nothing, observed, opened, root, stateOf } from './states'

const { EACCES, ENOENT, EPERM, ETIMEDOUT } = constants.errno
const { SIGKILL, SIGSYS } = constants.signals

const ofPlan: Finding = { code: 'HARDEN_NPROC', level: 'note', message: 'one', remedy: 'none' }
const ofProcess: Finding = { code: 'HARDEN_TIOCSTI', level: 'danger', message: 'two', remedy: 'none' }
const plan: Plan = { ...anyPlan, findings: [ofPlan] }
const open: OpenDescriptor[] = [descriptorOf(21, 'listens'), descriptorOf(22, 'file')]
const yes: Answer = { errno: 0, by: 'none', found: undefined }
const plain: Avoid = { kcmp: false, regain: false }

const failure = (step: Failure['step'], syscall: string, fields: Partial<Failure> = {}): Failure => ({
  ...{ step, syscall, errno: 0, signal: 0, tid: 0, item: 0 },
  ...fields,
})
const left = (questions: readonly Question[], fields: Partial<Rehearsal> = {}): Omit<Rehearsal, 'avoid'> => ({
  ...{ state: plan.wanted, text: 'text', dumpable: 0, inside: new ArrayBuffer(4) },
  answers: questions.map(() => yes),
  ...fields,
})

const makePlan = (platform: Platform, options: HardenOptions) => makePlanFor(platform, options, new Reasons(false))

/** A system of which every part is noted. What it explains has the step as its message. */
function system(parts: Partial<Platform> = {}, addon: Partial<Addon> = {}) {
  const done: string[] = []
  const given: unknown[][] = []
  const note = <T>(name: string, args: unknown[], part: () => T): T => {
    done.push(name)
    given.push(args)
    return part()
  }
  const unexpected = () => t.fail('it was not to be asked') as never
  const platform: Platform = {
    name: 'linux',
    addon: () => ({ ...native(), descriptors: () => note('descriptors', [], () => open), ...addon }),
    observe: () => note('observe', [], () => observed()),
    readTexts: () => true,
    textOf: unexpected,
    decide: (...args) => note('decide', args, () => ({ wanted: plan.wanted, steps: plan.steps })),
    hazards: [(...args) => note('hazards', args, () => ofProcess), () => undefined],
    rehearse: (...args) => note('rehearse', args, () => left(args[1])),
    commit: unexpected,
    explain: (failure, ...rest) =>
      note('explain', [failure, ...rest], () => {
        return new HardenError({ code: 'ERR_HARDEN_NOT_PERMITTED', message: failure.step, remedy: 'none' })
      }),
    remedyForAnswer: (...args) => note('remedy', args, () => 'mend it'),
    rootChildren: unexpected,
    callOf: (kind) => kind,
    allNames: unexpected,
    libraries: () => ['/lib/libc.so.6'],
    readThreads: unexpected,
    ...parts,
  }
  return { platform, done, given }
}

/** What the package asks by itself. */
const ahead = (descriptors?: readonly OpenDescriptor[]) =>
  questionsAhead({ platform: system().platform, plan, descriptors, unread: new Set() })

const giveUp: Run = (part) => part()
/** As plan() has it: what is thrown is kept, and the next part is next. */
function collecting() {
  const errors: HardenError[] = []
  const run: Run = (part) => {
    try {
      return part()
    } catch (error) {
      errors.push(error as HardenError)
      return undefined
    }
  }
  return { errors, run, messages: () => errors.map(({ message }) => message.split('.')[0]) }
}

t.test('makePlan: what the system is asked', async (t) => {
  const before = observed({ group: allFour(4) })
  const decided = { wanted: stateOf(nothing), steps: ['capset'] as const }
  const findings: Finding[] = []
  const { platform, given } = system(
    {
      observe: () => before,
      decide: (request, seen, found) => {
        given.push([request, seen])
        found.push(ofPlan)
        findings.push(...found)
        return { ...decided, steps: [...decided.steps] }
      },
    },
    { accountGroups: () => 2 },
  )
  const options: HardenOptions = { user: 990, group: 991, supplementalGroups: [12, 8, 12], rehearse: { bind: [25] } }
  const made = makePlan(platform, options)
  t.strictSame(given, [[{ options, uid: 990, gid: 991, groups: [8, 12] }, before]])
  t.strictSame(made, {
    ...decided,
    before,
    questions: [{ kind: 'bind', path: '', number: 25, option: 'rehearse.bind[0]', role: '' }],
    accountGroups: decided.wanted.groups,
    explicitGroups: true,
    findings: [ofPlan],
    root: undefined,
    accounts: made.accounts,
  })
  t.strictSame(made.accounts(), accountsOf([decided.wanted]))
  for (const part of [made, made.questions, made.findings]) t.ok(Object.isFrozen(part))
  given.length = 0
  makePlan(platform, { user: 990, group: 991 })
  makePlan(
    { ...platform, observe: () => observed({ user: allFour(1000), group: { ...allFour(4), effective: 5 } }) },
    {},
  )
  t.match(given, [[{ uid: 990, gid: 991, groups: undefined }], [{ uid: 1000, gid: 5, groups: undefined }]])
})

t.test('makePlan: what cannot be observed is explained', async (t) => {
  const observe = (): Observation | Failure => failure('proc', 'open', { errno: ENOENT })
  const { platform, done, given } = system({ observe })
  t.match(
    refusal(() => makePlan(platform, { user: 'no-such-account' })),
    { message: /^proc\./ },
  )
  t.strictSame([done, given], [['explain'], [[observe(), undefined, []]]], 'names are not even looked up')
})

t.test('makePlan: the groups of the account, with which other processes of the user run', async (t) => {
  const asked: unknown[][] = []
  const on = (answer: number[] | number) => {
    const accountGroups: Addon['accountGroups'] = (...args) => {
      asked.push(args)
      return answer
    }
    return system({}, { accountGroups }).platform
  }
  const options = { user: 990, group: 991 }
  t.strictSame(makePlan(on([100, 8]), options).accountGroups, [8, 12, 100])
  t.strictSame(makePlan(on(ENOENT), options).accountGroups, mail.groups, 'a name service that fails')
  t.strictSame(asked, [
    [990, 991],
    [990, 991],
  ])
  for (const [supplementalGroups, explicit] of [
    [undefined, false],
    [[], true],
    [[8], true],
    ['initgroups', true],
  ] as const)
    t.equal(makePlan(on([100]), { ...options, supplementalGroups }).explicitGroups, explicit)
})

const order = ['descriptors', 'hazards', 'rehearse']

t.test('examine: in one order, each with what it needs', async (t) => {
  const { platform, done, given } = system()
  const timings: Timing[] = []
  const { findings, rehearsal } = examine(platform, plan, timings, giveUp)
  t.strictSame(done, order)
  t.strictSame(given, [[], [{ platform, plan, descriptors: open, unread: new Set() }], [plan, ahead(open), plain]])
  t.strictSame(findings, [ofProcess, ofPlan], 'dangers first')
  t.strictSame(rehearsal, { ...left(ahead(open)), avoid: plain })
  t.strictSame(
    timings.map(({ name }) => name),
    order,
  )
  t.ok(timings.every(({ us }) => Number.isInteger(us) && us >= 0))
  t.strictSame(plan.findings, [ofPlan], 'the plan is left as it is')
})

const refused = { descriptors: () => failure('descriptors', 'open', { item: 21 }) }
const noChild = { rehearse: () => failure('setgroups', 'setgroups', { errno: EPERM }) }

t.test('examine: harden() gives up at the first that throws', async (t) => {
  const first = system(noChild, refused)
  t.throws(() => examine(first.platform, plan, [], giveUp), { message: /^descriptors\./ })
  t.strictSame(first.done, ['explain'])
  t.strictSame(first.given, [[refused.descriptors(), plan, []]])
  const second = system(noChild)
  const timings: Timing[] = []
  t.throws(() => examine(second.platform, plan, timings, giveUp), { message: /^setgroups\./ })
  t.strictSame(second.done, ['descriptors', 'hazards', 'explain'])
  t.strictSame(second.given[2], [noChild.rehearse(), plan, ahead(open)])
  t.strictSame(
    timings.map(({ name }) => name),
    ['descriptors', 'hazards'],
    'what has thrown is no part',
  )
})

t.test('examine: plan() goes on, and sees all of them', async (t) => {
  for (const [parts, addon, messages] of [
    [{}, refused, ['descriptors']],
    [noChild, {}, ['setgroups']],
    [noChild, refused, ['descriptors', 'setgroups']],
  ] as const) {
    const { platform, given } = system(parts, addon)
    const { run, messages: found } = collecting()
    const timings: Timing[] = []
    const { findings, rehearsal } = examine(platform, plan, timings, run)
    t.strictSame(found(), messages)
    t.strictSame(findings, [ofProcess, ofPlan])
    t.equal(rehearsal === undefined, 'rehearse' in parts)
    t.strictSame(
      timings.map(({ name }) => name),
      order,
      'they took their time, too',
    )
    const seen = addon === refused ? undefined : open
    const scene = given.find(([first]) => Object.hasOwn(Object(first), 'descriptors'))?.[0]
    t.equal((scene as { descriptors: unknown }).descriptors, seen, 'unknown is not none')
    const explained = given.find(([first]) => (first as Failure | undefined)?.step === 'setgroups')
    if (explained) t.strictSame(explained[2], ahead(seen))
    else t.strictSame(given.find(([first]) => first === plan)?.[1], ahead(seen))
  }
})

t.test('examine: a hazard may refuse, and then nothing is rehearsed; any other error is a fault', async (t) => {
  const throws = (error: Error) => () => {
    throw error
  }
  const mine = new RangeError('mine')
  const { run, errors } = new Reasons(true)
  t.throws(() => examine(system({ hazards: [throws(mine)] }).platform, plan, [], run), mine)
  t.strictSame(errors, [])
  const reason = new HardenError({ code: 'ERR_HARDEN_SUID_DUMPABLE', message: 'no', remedy: 'do' })
  const { platform, done } = system({ hazards: [() => ofProcess, throws(reason)] })
  const { findings, rehearsal } = examine(platform, plan, [], run)
  t.strictSame(errors, [reason])
  t.strictSame([findings, rehearsal], [plan.findings, undefined])
  t.notOk(done.includes('rehearse'), `${done}`)
})

const read: Question = { kind: 'read', path: '/etc/key.pem', number: 0, option: 'rehearse.read[0]', role: '' }
const bind: Question = { kind: 'bind', path: '', number: 25, option: 'rehearse.bind[0]', role: '' }
const exchange: Question = { kind: 'exchange', path: '/srv/mail', number: 0, option: 'chroot', role: '' }

t.test('examine: answers to what an option asks are refusals, in the order of the questions', async (t) => {
  const asking = { ...plan, questions: [exchange, read, bind], root: opened }
  type Answers = Partial<Record<string, Answer>>
  const on = (answers: Answers) =>
    system({
      rehearse: (_, questions) =>
        left(questions, {
          answers: questions.map(({ option, kind }) => answers[option ?? `own ${kind}`] ?? yes),
        }),
    })
  const no = (errno: number): Answer => ({ ...yes, errno })
  const by = (who: Answer['by'], errno = 0): Answer => ({ errno, by: who, found: '/srv' })
  const access = { code: 'ERR_HARDEN_ACCESS', remedy: 'mend it' }
  const [key, port] = ['rehearse.read[0]', 'rehearse.bind[0]'] as const
  const changed = { code: 'ERR_HARDEN_CHROOT_PATH', option: 'chroot', found: '/srv' }
  type Row = [title: string, answers: Answers, errors: object[], findings?: string[]]
  const table: Row[] = [
    ['all fine', {}, []],
    ['read', { [key]: no(EACCES) }, [{ ...access, step: 'read', errno: -EACCES, option: key }]],
    [
      'both',
      { [key]: no(EACCES), [port]: no(EPERM) },
      [
        { ...access, step: 'read', found: read.path },
        { ...access, step: 'bind', errno: -EPERM, found: '25' },
      ],
    ],
    ['the new user', { chroot: by('user') }, [changed]],
    ['whoever may write to it', { chroot: by('writer') }, [changed]],
    ['whatever the errno', { chroot: by('user', ENOENT) }, [changed]],
    [
      'not walked to its end',
      { chroot: no(ENOENT) },
      [{ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'exchange', errno: -ENOENT }],
    ],
    ['others', { chroot: by('others') }, [], ['HARDEN_WRITABLE_ANCESTOR']],
    ['a file that could not be opened again', { 'own reopen': no(EACCES) }, [], ['HARDEN_DESCRIPTORS']],
    [
      'both',
      { chroot: by('others'), 'own reopen': no(EACCES) },
      [],
      ['HARDEN_DESCRIPTORS', 'HARDEN_WRITABLE_ANCESTOR'],
    ],
  ]
  for (const [title, answers, expected, codes = []] of table) {
    const { platform, given } = on(answers)
    const { errors, run } = collecting()
    const { findings } = examine(platform, asking, [], run)
    t.match(errors, expected, title)
    t.equal(errors.length, expected.length)
    t.strictSame(
      findings.map(({ code }) => code),
      ['HARDEN_TIOCSTI', 'HARDEN_NPROC', ...codes],
    )
    for (const [question, errno, ofPlan] of given.filter((args) => args[0] === read))
      t.strictSame([question, errno, ofPlan], [read, EACCES, asking], 'the system words the remedy')
    const [first] = expected
    if (first)
      t.match(
        refusal(() => examine(on(answers).platform, asking, [], giveUp)),
        first,
      )
  }
})

t.test('rehearse: what filters kill is left out, what may pass is tried again', async (t) => {
  const killed = (step: Failure['step'], signal = SIGSYS, call = 'kcmp') => failure(step, call, { signal })
  const passing = failure('descriptors', 'open', { item: 21 })
  const changing = failure('compare', 'read')
  const on = (...answers: (Failure | undefined)[]) => {
    const avoided: Avoid[] = []
    const found = system({
      rehearse: (_, questions, avoid) => {
        avoided.push(avoid)
        return answers[avoided.length - 1] ?? left(questions)
      },
    })
    return { ...found, avoided }
  }
  const kcmp = { kcmp: true, regain: false }
  const regain = { kcmp: false, regain: true }
  const both = { kcmp: true, regain: true }
  for (const [title, answers, avoided] of [
    ['no kcmp', [killed('compare')], [plain, kcmp]],
    ['no attempt to regain root', [killed('regain')], [plain, regain]],
    ['neither', [killed('regain'), killed('compare')], [plain, regain, both]],
    ['a directory that is open for a moment', [passing, passing], [plain, plain, plain]],
    ['ids that are being changed', [changing, changing], [plain, plain, plain]],
  ] as const) {
    const found = on(...answers)
    const { rehearsal } = examine(found.platform, plan, [], giveUp)
    t.strictSame(found.avoided, avoided, title)
    t.strictSame(rehearsal?.avoid, avoided.at(-1), 'the commit leaves it out, too')
  }
  for (const [title, answers, tries] of [
    ['killed for kcmp again', [killed('compare'), killed('compare')], 2],
    ['killed for the attempt again', [killed('regain'), killed('regain')], 2],
    ['by another signal', [killed('compare', SIGKILL)], 1],
    ['in another step', [killed('setresuid')], 1],
    ['it does not pass', [passing, passing, passing], 3],
    ['nor this', [changing, changing, changing], 3],
    ['a thread that differs', [failure('compare', 'read', { tid: 4719 })], 1],
    ['a text that cannot be read', [failure('compare', 'read', { errno: EPERM })], 1],
    ['a child that was killed there', [killed('compare', SIGKILL, 'read')], 1],
    ['another descriptor', [failure('descriptors', 'io_uring_setup', { item: 21 })], 1],
    ['the path of the chroot', [failure('chroot', 'open', { errno: ENOENT })], 1],
  ] as const) {
    const { platform, avoided, given } = on(...answers)
    t.throws(() => examine(platform, plan, [], giveUp), { name: 'HardenError' }, title)
    t.equal(avoided.length, tries)
    t.strictSame(given.at(-1), [answers.at(-1), plan, ahead(open)])
  }
})

t.test('rehearse: an outcome other than asked for', async (t) => {
  const table: [Partial<Rehearsal>, string, string, string][] = [
    [{ state: stateOf({ ...mail, user: { ...allFour(990), saved: 0 } }) }, 'user', '990 990 990 990', '990 990 0 990'],
    [{ state: stateOf({ ...mail, group: allFour(0) }) }, 'group', '991 991 991 991', '0 0 0 0'],
    [{ state: stateOf({ ...mail, groups: [0, 8, 12] }) }, 'groups', '8 12', '0 8 12'],
    [{ state: stateOf({ ...mail, groups: [] }) }, 'groups', '8 12', ''],
    [
      { state: stateOf({ ...mail, effective: 0x2400n }) },
      'effective',
      'cap_net_bind_service',
      'cap_net_bind_service cap_net_raw',
    ],
    [{ state: stateOf({ ...mail, permitted: 0n }) }, 'permitted', 'cap_net_bind_service', ''],
    [{ state: stateOf({ ...mail, noNewPrivileges: false }) }, 'noNewPrivileges', 'true', 'false'],
    [{ state: stateOf({ ...mail, securebits: 16 }) }, 'securebits', '0', '16'],
    [{ state: stateOf({ ...mail, jailed: true }) }, 'jailed', 'false', 'true'],
    [{ dumpable: 1 }, 'dumpable', '0', '1'],
    [{ dumpable: 2 }, 'dumpable', '0', '2'],
  ]
  for (const [fields, field, wanted, found] of table) {
    const { platform } = system({ rehearse: (_, questions) => left(questions, fields) })
    const error = refusal(() => examine(platform, plan, [], giveUp))
    t.match(error, {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step: 'verify',
      syscall: 'read',
      remedy: /^look for a security module or a sandbox/,
    })
    t.equal(error.wanted, wanted)
    t.equal(error.found, found)
    const words = `${field}: wanted ${wanted || 'none'}, found ${found || 'none'}`
    t.ok(error.message.startsWith(`the rehearsal did not lead to the expected state: ${words}. `), words)
  }
  const solaris = system({ rehearse: (_, questions) => left(questions, { dumpable: undefined }) })
  t.ok(examine(solaris.platform, plan, [], giveUp).rehearsal)
})

const done = { threads: [{ tid: 4711, name: 'node' }], rootChildren: [], timings: [] }
const rehearsal: Rehearsal = { ...left([]), avoid: { kcmp: true, regain: false } }

t.test('commit: done', async (t) => {
  const calls: unknown[] = []
  const { platform } = system({
    commit: (...args) => {
      calls.push(args)
      return done
    },
  })
  const result = commit(platform, plan, rehearsal, true, () => calls.push('last'))
  t.equal(result, done)
  t.strictSame(calls, ['last', [plan, rehearsal, true]])
})

t.test('commit: nothing has changed', async (t) => {
  const answer = failure('park', 'rt_tgsigqueueinfo', { errno: ETIMEDOUT })
  const { platform, done, given } = system({ commit: () => answer })
  t.throws(() => commit(platform, plan, rehearsal, false, () => undefined), { message: /^park\./ })
  t.strictSame([done, given], [['explain'], [[answer, plan, []]]])
  const mine = new RangeError('mine')
  const last = () => {
    throw mine
  }
  t.throws(() => commit(system().platform, plan, rehearsal, false, last), mine, 'no commit follows')
})

t.test('commit: what may pass is rehearsed anew, and asked again', async (t) => {
  const passing = failure('descriptors', 'open', { item: 21 })
  const asking = { ...plan, questions: [exchange] }
  const on = (failures: number, answer: Rehearsal['answers'][number] = yes) => {
    const committed: Rehearsal[] = []
    let looks = 0
    const { platform, done: parts } = system({
      rehearse: (_, questions) => {
        parts.push(`rehearse ${questions.map(({ kind }) => kind)}`)
        return left(questions, { text: `rehearsal ${committed.length}`, answers: [answer] })
      },
      commit: (_, given) => {
        committed.push(given)
        return committed.length <= failures ? passing : done
      },
    })
    return {
      run: () => commit(platform, asking, rehearsal, false, () => looks++),
      parts,
      committed,
      looks: () => looks,
    }
  }
  const twice = on(2)
  t.equal(twice.run(), done)
  t.strictSame(
    twice.committed.map(({ text }) => text),
    ['text', 'rehearsal 1', 'rehearsal 2'],
  )
  t.equal(twice.looks(), 3, 'and looked at once more')
  t.strictSame(twice.parts, ['rehearse exchange', 'rehearse exchange'])
  const thrice = on(3)
  t.throws(thrice.run, { message: /^descriptors\./ })
  t.equal(thrice.committed.length, 3)
  const meanwhile = on(1, { errno: 0, by: 'user', found: '/srv' })
  t.throws(meanwhile.run, { code: 'ERR_HARDEN_CHROOT_PATH', found: '/srv' })
  t.equal(meanwhile.committed.length, 1)
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
  const timings: Timing[] = [{ name: 'resolve', us: 3 }]
  const result = {}
  t.equal(
    timed(timings, 'rehearse', () => result),
    result,
  )
  const all = [
    { name: 'resolve', us: 3 },
    { name: 'rehearse', us: 5999 },
  ]
  t.strictSame(timings, all)
  const mine = new RangeError('mine')
  t.throws(
    () =>
      timed(timings, 'hazards', () => {
        throw mine
      }),
    mine,
  )
  t.strictSame(timings, all)
})

t.test('with root among the user ids a user has to be named', async (t) => {
  const error = refusal(() => makePlan(system({ observe: () => observed(root) }).platform, {}))
  t.match(error, { code: 'ERR_HARDEN_USER_REQUIRED', option: 'user', remedy: /^give the option 'user'/ })
  t.notOk('found' in error)
  const unset = refusal(() => makePlan(system({ observe: () => observed(root) }).platform, { user: undefined }))
  const remedy = 'is an environment variable not set? Set it to the name of an account'
  t.strictSame(
    { ...unset },
    { code: 'ERR_HARDEN_USER_REQUIRED', option: 'user', wanted: 'a name or an id', found: 'undefined', remedy },
  )
  t.equal(
    unset.message,
    `the process has root among its user ids, and the option user is undefined. Remedy: ${remedy}.`,
  )
})
