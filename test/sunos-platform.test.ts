/**
 * Promise: on Solaris exactly the privileges that are named are retained, and what this system lacks is found out and named
 * before anything changes. The addon is a small one of these tests' own, which keeps to privileges(7), setppriv(2) and
 * priv_str_to_set(3C); what the real one does, and what it compares past the line, is tested in test/sunos.
 */
import { constants, fstatSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { constants as os, tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Finding } from '../lib/contract'
import * as databases from '../lib/databases'
import type { Answer, Failure, Step, SunosAddon, SunosPlan, SunosState } from '../lib/native'
import type { HardenOptions } from '../lib/options'
import { refusal } from './refused'

const { EACCES, EAGAIN, EIO, EMFILE, EINVAL, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS, ETIMEDOUT } = os.errno
type Index = typeof import('../lib/index')
type Sets = SunosState['privileges']
type Left = Exclude<ReturnType<SunosAddon['rehearse']>, Failure>

const BASIC = 'file_link_any file_read file_write net_access proc_exec proc_fork proc_info proc_session'.split(' ')
const ALL = (
  'dtrace_kernel file_chown file_dac_read file_dac_write file_link_any file_owner file_read file_setid file_write ' +
  'ipc_dac_read net_access net_bindmlp net_privaddr net_rawaccess proc_audit proc_chroot proc_exec proc_fork proc_info ' +
  'proc_owner proc_session proc_setid proc_zone sys_admin sys_config sys_devices sys_linkdir sys_mount sys_net_config ' +
  'sys_nfs sys_resource sys_smb virt_manage'
).split(' ')
/** One with a shared IP stack. */
const ZONE = ALL.filter(
  (name) =>
    !['net_rawaccess', 'dtrace_kernel', 'proc_zone', 'virt_manage'].includes(name) &&
    !['sys_config', 'sys_devices', 'sys_linkdir', 'sys_net_config'].includes(name),
)

const STAND_ALONE = { user: 'ecuser', group: 'ecuser', capabilities: 'cap_net_bind_service+ep' }
const alone = { ...STAND_ALONE, privileges: 'basic net_privaddr' }
const cluster = {
  ...STAND_ALONE,
  privileges: 'basic net_privaddr net_bindmlp sys_resource sys_net_config net_rawaccess',
}
const kept = (...more: string[]) => ALL.filter((name) => BASIC.includes(name) || more.includes(name))

/** The text is the addon's affair: see observed(). */
type Before = Omit<SunosState, 'text'>

const root: Before = {
  user: [0, 0, 0],
  group: [0, 0, 0],
  groups: [4, 2],
  privileges: { permitted: ALL, limit: ALL, effective: ALL, inheritable: BASIC },
  flags: [],
  sigusr1: 'default',
  groupsMax: 16,
}
const inZone: Before = {
  ...root,
  privileges: { ...root.privileges, permitted: ZONE, limit: ZONE, effective: ZONE },
}
const own = (names: string[]): Sets => ({ permitted: names, limit: ALL, effective: names, inheritable: names })
/** As SMF starts a method with `user` and `privileges`. */
const mail: Before = {
  ...root,
  user: [990, 990, 990],
  group: [991, 991, 991],
  groups: [],
  privileges: own(kept('net_privaddr')),
}

/** priv_str_to_set(3C) with " \t\r\n," */
function fromText(text: string): string[] | number {
  const sets: Record<string, string[]> = { basic: BASIC, all: ALL, zone: ZONE, none: [] }
  let found = new Set<string>()
  for (const { 0: word, index } of text.matchAll(/[^ \t\r\n,]+/g)) {
    const [, sign, plain = ''] = /^([-!+]?)(?:priv_)?(.*)$/.exec(word.toLowerCase()) ?? []
    const known = sets[plain] ?? (ALL.includes(plain) ? [plain] : undefined)
    if (!known || (sets[plain] && sign)) return Buffer.byteLength(text.slice(0, index))
    if (plain === 'none') found = new Set()
    for (const name of known) sign === '-' || sign === '!' ? found.delete(name) : found.add(name)
  }
  return ALL.filter((name) => found.has(name))
}

const failure = (step: Failure['step'], syscall: string, fields: Partial<Failure> = {}): Failure => ({
  ...{ step, syscall, errno: 0, signal: 0, tid: 0, item: 0 },
  ...fields,
})

const inside = new ArrayBuffer(8)
const yes: Answer = { errno: 0, by: 'none', found: undefined }

/** With the text by which the commit knows it again. */
const observed = (state: Before): SunosState => {
  const { user, group, groups, privileges, flags } = state
  return { ...state, text: JSON.stringify([user, group, groups, privileges, flags]) }
}

/** What the kernel makes of a plan: the sets as setppriv(2) has it, or its first refusal. */
function apply(before: Before, plan: SunosPlan): Left | Failure {
  let { user, group, groups, privileges, flags } = before
  // null: the step 'effective' alone, to all that is permitted
  const names = (text: string | null) => (text === null ? privileges.permitted : (fromText(text) as string[]))
  const beyond = (set: string | null, of: readonly string[]) => names(set).some((name) => !of.includes(name))
  const without = (flag: string) => flags.filter((other) => other !== flag)
  for (const step of plan.steps) {
    const needs = { setgroups: 'proc_setid', setgid: 'proc_setid', setuid: 'proc_setid', chroot: 'proc_chroot' }
    const need = (needs as Partial<Record<string, string>>)[step]
    if (need && !privileges.effective.includes(need)) return failure(step, step, { errno: EPERM })
    if (step === 'setgroups') groups = [...plan.groups]
    if (step === 'setgid') group = [plan.gid, plan.gid, plan.gid]
    if (step === 'setuid') user = [plan.uid, plan.uid, plan.uid]
    if (step === 'setpflags') flags = ['PRIV_AWARE', ...flags]
    if (step === 'xpolicy') flags = without('PRIV_XPOLICY')
    if (step === 'pfexec') flags = without('PRIV_PFEXEC')
    if (step === 'permitted' || step === 'limit' || step === 'effective') {
      if (beyond(plan[step], step === 'limit' ? privileges.limit : privileges.permitted))
        return failure(step, 'setppriv', { errno: EPERM })
      privileges = { ...privileges, [step]: names(plan[step]) }
    }
  }
  const state = observed({ ...before, user, group, groups, privileges, flags })
  return { answers: plan.questions.map(() => yes), state, jailed: plan.steps.includes('chroot'), inside }
}

interface Faults extends Partial<SunosAddon> {
  inspector?: string
  env?: NodeJS.ProcessEnv
  execArgv?: string[]
}

let inUse: SunosAddon
let openInspector: string | undefined

t.intercept(process, 'platform', { value: 'sunos', configurable: true })
const index = t.mockRequire<Index>('../lib/index', {
  // the package keeps its addon, so this one has to be another each time
  'node-gyp-build': () => new Proxy({}, { get: (_, name) => Reflect.get(inUse, name) }),
  'node:inspector': { url: () => openInspector },
  '../lib/databases': { ...databases, accountsOf: () => databases.noAccounts },
})

/** The package on Solaris, in a process in this state. `process` is another one, so that it can be marked as hardened. */
function on(before: Before = root, { inspector, env = {}, execArgv = [], ...faults }: Faults = {}) {
  let state = before
  let promised: string | undefined
  const kept = new ArrayBuffer(1)
  const rehearsed: SunosPlan[] = []
  const committed: SunosPlan[] = []
  const warnings: unknown[] = []
  const addon: SunosAddon = {
    observe: () => observed(state),
    privilegesFromText: fromText,
    setsHeld: (text) =>
      (['permitted', 'limit', 'effective'] as const).filter(
        (set) => String(state.privileges[set]) === String(fromText(text)),
      ),
    descriptors: () => [{ descriptor: 21, kind: 'listens', writable: true, sharesPort: false, name: '' }],
    hasChildren: () => false,
    openRoot: (path) => {
      try {
        return { descriptor: openSync(path, constants.O_DIRECTORY), path }
      } catch (error) {
        return failure('chroot', 'openat', { errno: -Number((error as NodeJS.ErrnoException).errno), found: path })
      }
    },
    holdSigusr1: (listened) => {
      if (listened) return -1
      state = { ...state, sigusr1: 'ignored' }
      return 0
    },
    giveSigusr1Back: () => {
      state = { ...state, sigusr1: before.sigusr1 }
      return 0
    },
    rehearse: (plan) => {
      rehearsed.push(plan)
      return apply(state, plan)
    },
    commit: (plan) => {
      committed.push(plan)
      if (plan.before !== observed(state).text) return failure('compare', 'ucred_get')
      const left = apply(state, plan)
      if ('syscall' in left) return left
      if (plan.expected !== left.state.text || plan.inside !== inside) throw new Error('the process ends')
      state = left.state
      new Uint8Array(kept)[0] = 1
      return { applyMicroseconds: 2, readMicroseconds: 3 }
    },
    promise: (text) => {
      promised = text
    },
    recall: () => (new Uint8Array(kept)[0] ? promised : undefined),
    kept: () => kept,
    endProcess: (reason) => {
      throw new Error(reason)
    },
    userByName: (name) => (name === 'ecuser' ? { uid: 990, gid: 991 } : undefined),
    userById: () => undefined,
    groupByName: (name) => (name === 'ecuser' ? { gid: 991 } : undefined),
    groupById: () => undefined,
    accountGroups: (_, primary) => [primary],
    ...faults,
  }
  const folders: string[] = []
  const solaris: NodeJS.Process = Object.create(process, {
    chdir: { value: (folder: string) => folders.push(folder) },
    emitWarning: { value: (...args: unknown[]) => warnings.push(args) },
    env: { value: env },
    execArgv: { value: execArgv },
  })
  const within =
    <Args extends unknown[], Result>(call: (...args: Args) => Result) =>
    (...args: Args): Result => {
      const real = globalThis.process
      globalThis.process = solaris
      inUse = addon
      openInspector = inspector
      try {
        return call(...args)
      } finally {
        globalThis.process = real
      }
    }
  const calls = { harden: within(index.harden), plan: within(index.plan), audit: within(index.audit) }
  const change = (to: Partial<Before>) => {
    state = { ...state, ...to }
  }
  return { ...calls, rehearsed, committed, folders, warnings, change, state: () => state }
}

const plain = (report: object) => JSON.parse(JSON.stringify(report))
const codes = (findings: readonly Finding[]) => findings.map(({ code, level }) => `${code} ${level}`)
const ids = (id: number) => ({ real: id, effective: id, saved: id, fs: id })

for (const [title, options, privileges] of [
  ['stand-alone', alone, kept('net_privaddr')],
  ['cluster node', cluster, kept('net_privaddr', 'net_bindmlp', 'sys_resource', 'sys_net_config', 'net_rawaccess')],
] as const)
  t.test(`Momentum's documented example, ${title}: in the global zone`, async (t) => {
    const { harden, audit, rehearsed, committed, warnings, state } = on()
    const sets = { permitted: privileges, limit: privileges, effective: privileges, inheritable: BASIC }
    const report = harden(options)
    const given = {
      steps: ['setgroups', 'setgid', 'setpflags', 'setuid', 'permitted', 'limit', 'effective'],
      uid: 990,
      gid: 991,
      groups: new Uint32Array(),
      accountGroups: new Uint32Array([991]),
      permitted: options.privileges,
      limit: options.privileges,
      effective: options.privileges,
      root: -1,
      before: observed(root).text,
    }
    const keepSigusr1 = process.listenerCount('SIGUSR1') > 0
    const [{ questions, ...tried } = { questions: [] }] = rehearsed
    t.strictSame(tried, { ...given, keepSigusr1: false, expected: '', inside: new ArrayBuffer(0) })
    t.ok(questions.some(({ kind, path }) => kind === 'enter' && path === process.execPath))
    t.strictSame(committed, [{ ...given, keepSigusr1, questions: [], expected: observed(state()).text, inside }])
    const { timings, ...said } = plain(report)
    const credentials = { user: ids(990), group: ids(991), groups: [], privileges: sets, noNewPrivileges: false }
    const threads = [{ tid: process.pid, name: 'all threads' }]
    t.strictSame(said, { platform: 'sunos', ...credentials, threads, findings: [] })
    t.strictSame(
      timings.map(({ name }: { name: string }) => name),
      ['resolve', 'descriptors', 'hazards', 'rehearse', 'apply', 'read back'],
    )
    t.strictSame(audit().discrepancies, [])
    t.strictSame(warnings, [])
    t.strictSame(state().privileges.limit, privileges)
    t.match(
      refusal(() => harden(options)),
      { code: 'ERR_HARDEN_ALREADY_APPLIED' },
      'once',
    )
  })

t.test(
  'the cluster example in a zone: the privileges that are missing are named before anything changes',
  async (t) => {
    const { harden, plan, committed, state } = on(inZone)
    const error = refusal(() => harden(cluster))
    t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'permitted', syscall: 'setppriv', errno: -EPERM })
    t.match(
      error.message,
      `step 'permitted': setppriv: EPERM, because the process lacks net_rawaccess, sys_net_config. `,
    )
    t.match(
      error.remedy,
      /^start the process with net_rawaccess, sys_net_config \(in a zone: zonecfg, set limitpriv="default,net_rawaccess"; no zone can have sys_net_config\. Under SMF: privileges= of the method_credential\), or leave it out/,
    )
    t.strictSame(committed, [])
    t.strictSame(state(), inZone)
    const made = plan(cluster)
    t.match(made.refusals, [{ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'permitted' }])
    t.equal(made.refusals.length, 1)
    t.strictSame(
      made.steps.filter(({ rehearsed }) => !rehearsed).map(({ name }) => name),
      ['permitted', 'limit', 'effective'],
    )
    t.equal(harden(alone).privileges?.permitted.length, BASIC.length + 1, 'the stand-alone one works there')
  },
)

t.test('a word that the system does not know, and where it is', async (t) => {
  for (const [privileges, found, place] of [
    ['net_privadr', 'net_privadr', 1],
    ['basic net_privaddr,cap_net_raw', 'cap_net_raw', 20],
    ['basic,\t-basic', '-basic', 8],
    ['basic:net_privaddr', 'basic:net_privaddr', 1],
    ['ä', 'ä', 1],
    ['basic all, net_präv basic', 'net_präv', 12],
    [`none ${'x'.repeat(100)}`, 'x'.repeat(64), 6],
  ] as const) {
    const { harden, committed, rehearsed } = on()
    const error = refusal(() => harden({ ...alone, privileges }))
    t.match(error, { code: 'ERR_HARDEN_PRIVILEGES', option: 'privileges', found, remedy: /ppriv -l/ })
    t.match(error.message, new RegExp(`at character ${place} is not a privilege`), privileges)
    t.strictSame([committed, rehearsed], [[], []])
  }
  const utf8 = on(root, { privilegesFromText: (text) => Buffer.byteLength(text.slice(0, 3)) })
  t.match(
    refusal(() => utf8.harden({ ...alone, privileges: 'äö wrong' })),
    { found: 'wrong', message: /'wrong' at character 4 / },
    'it counts bytes, and people count characters',
  )
  for (const faults of [{ privilegesFromText: () => -ENOMEM }, { setsHeld: () => -ENOMEM }])
    t.match(
      refusal(() => on(root, faults).harden(alone)),
      {
        code: 'ERR_HARDEN_PRIVILEGES',
        syscall: 'priv_str_to_set',
        errno: -ENOMEM,
        message: /could not be read: priv_str_to_set: ENOMEM/,
        remedy: /memory/,
      },
    )
})

t.test('the words of priv_str_to_set', async (t) => {
  for (const [privileges, names] of [
    ['all', ALL],
    ['all -proc_chroot !sys_devices', ALL.filter((name) => name !== 'proc_chroot' && name !== 'sys_devices')],
    ['PRIV_NET_PRIVADDR,Basic', kept('net_privaddr')],
    ['basic none net_privaddr', ['net_privaddr']],
  ] as const)
    t.strictSame(plain(on().plan({ ...alone, privileges })).privileges, {
      ...{ permitted: names, limit: names, effective: names },
      inheritable: BASIC,
    })
})

t.test('privileges in a list', async (t) => {
  const listed = (privileges: string[]) => refusal(() => on().plan({ ...alone, privileges } as never)).remedy
  t.equal(listed(['basic', 'net_privaddr']), `write it as one string: 'basic net_privaddr'`)
  const example = `write a string such as 'basic net_privaddr', or leave the option out: then there are none`
  t.equal(listed(['basic', 'nonsense']), example)
})

t.test('none, and the default: nothing is retained, and what that means is said', async (t) => {
  for (const privileges of [undefined, '', 'none', ' , ']) {
    const { harden, committed, warnings } = on()
    const report = harden({ ...alone, privileges })
    t.strictSame(report.privileges, { permitted: [], limit: [], effective: [], inheritable: BASIC })
    const text = privileges ?? ''
    t.match(committed, [{ permitted: text, limit: text, effective: text }])
    t.strictSame(codes(report.findings), ['HARDEN_BASIC_GONE note'])
    t.match(
      report.findings[0]?.message,
      /file_link_any, file_read \(opens no file.*net_access \(opens no TCP, UDP or SCTP socket.*Unix sockets stay\).*proc_exec/,
    )
    t.match(report.findings[0]?.remedy, /basic net_privaddr/)
    t.strictSame(warnings, [])
  }
  const [finding] = on().plan({ ...alone, privileges: 'basic -file_write' }).findings
  t.match(finding, { code: 'HARDEN_BASIC_GONE' })
  t.match(finding?.message, /: file_write \(opens no file to write\)$/)
})

t.test('user root', async (t) => {
  const { harden, committed, warnings } = on({
    ...root,
    groups: [],
    privileges: { ...root.privileges, effective: BASIC },
  })
  const kept = harden({ user: 0, group: 0 })
  t.strictSame(kept.privileges, { permitted: ALL, limit: ALL, effective: BASIC, inheritable: BASIC }, 'keeps its own')
  t.strictSame(codes(kept.findings), ['HARDEN_USER_ROOT danger'])
  t.match(kept.findings[0]?.message, 'with all its privileges')
  t.match(warnings, [[/stays root/, { code: 'HARDEN_USER_ROOT' }]])

  t.match(
    committed,
    [{ steps: ['setpflags'], permitted: null, limit: null, effective: null }],
    'no set is written back, by names least of all',
  )

  const apart = on({ ...root, groups: [], privileges: { ...root.privileges, permitted: ZONE, effective: BASIC } })
  t.strictSame(
    apart.harden({ user: 0, group: 0 }).privileges,
    { permitted: ZONE, limit: ALL, effective: BASIC, inheritable: BASIC },
    'each set in its place',
  )

  const named = on().plan({ user: 0, group: 0, privileges: 'net_privaddr file_dac_read' })
  t.strictSame(named.privileges?.permitted, ['file_dac_read', 'net_privaddr'], 'and with a text what it names')
  t.strictSame(codes(named.findings), ['HARDEN_USER_ROOT danger', 'HARDEN_BASIC_GONE note'])
  t.match(named.findings[0]?.message, "owning root's files")
  const aside = { ...root, user: [0, 990, 0] as const, privileges: { ...root.privileges, effective: BASIC } }
  const back = on(aside).plan({ user: 0, group: 0, supplementalGroups: [4, 2] })
  t.strictSame(back.privileges?.effective, ALL, 'that had set root aside')
  t.match(back.steps, [{ name: 'setpflags' }, { name: 'setuid' }, { name: 'effective' }])
  t.match(
    refusal(() => on().harden({ group: 0 })),
    { code: 'ERR_HARDEN_USER_REQUIRED' },
  )
})

t.test('capabilities and the like are for Linux', async (t) => {
  const { harden, plan } = on()
  for (const option of ['capabilities', 'ambientCapabilities'])
    t.match(
      refusal(() => plan({ ...alone, [option]: 1 } as HardenOptions)),
      { code: 'ERR_INVALID_ARG_TYPE', option },
    )
  const report = harden({ ...alone, capabilities: 'not for libcap', ambientCapabilities: 'nor', noNewPrivileges: true })
  t.equal(report.noNewPrivileges, false, 'there is no such thing')
  t.notOk('capabilities' in report || 'securebits' in report)
})

t.test('what holds already is not done again', async (t) => {
  const SETS = 'permitted limit effective'
  const aware: Before = {
    ...mail,
    flags: ['PRIV_AWARE'],
    privileges: { ...mail.privileges, limit: kept('net_privaddr') },
  }
  const table: [string, Before, HardenOptions, string][] = [
    ['the user itself, as SMF starts it', mail, { privileges: 'basic' }, `setpflags ${SETS}`],
    ['named, with its privileges', mail, alone, `setpflags limit`],
    ['all of it', aware, alone, ''],
    ['all, and root has all', root, { ...alone, privileges: 'all' }, 'setgroups setgid setpflags setuid'],
    ['what has been lowered', { ...aware, privileges: { ...aware.privileges, effective: BASIC } }, alone, 'effective'],
    ['flags', { ...aware, flags: ['PRIV_AWARE', 'PRIV_XPOLICY', 'PRIV_PFEXEC'] }, alone, 'xpolicy pfexec'],
    [
      'groups in another order',
      { ...root, groups: [8, 4, 8] },
      { ...alone, supplementalGroups: [4, 8] },
      `setgid setpflags setuid ${SETS}`,
    ],
    ['other groups', root, { ...alone, supplementalGroups: [4] }, `setgroups setgid setpflags setuid ${SETS}`],
    ...[0, 1, 2].flatMap((which): [string, Before, HardenOptions, string][] => {
      const one = mail.user.map((id, index) => (index === which ? 0 : id)) as unknown as SunosState['user']
      const two = mail.group.map((id, index) => (index === which ? 0 : id)) as unknown as SunosState['group']
      return [
        [`user id ${which}`, { ...mail, user: one }, alone, `setpflags setuid limit`],
        [`group id ${which}`, { ...mail, group: two }, alone, `setgid setpflags limit`],
      ]
    }),
  ]
  for (const [title, before, options, steps] of table)
    t.equal(
      on(before)
        .plan(options)
        .steps.map(({ name }) => name)
        .join(' '),
      steps,
      title,
    )
  const { harden } = on(mail)
  const report = harden({ privileges: 'basic net_privaddr' })
  t.strictSame(report.user, ids(990))
  t.strictSame(report.privileges?.permitted, kept('net_privaddr'))
})

t.test('groups', async (t) => {
  const seventeen = Array.from({ length: 17 }, (_, index) => index + 100)
  const { plan, rehearsed } = on()
  t.match(
    refusal(() => plan({ ...alone, supplementalGroups: seventeen })),
    {
      code: 'ERR_INVALID_ARG_VALUE',
      option: 'supplementalGroups',
      message: /^17 groups are too many/,
      remedy: /takes 16 /,
    },
  )
  t.strictSame(rehearsed, [])
  t.equal(
    plan({ ...alone, supplementalGroups: [100, ...seventeen.slice(0, 16)] }).groups.length,
    16,
    'each counts once',
  )

  const { harden } = on({ ...mail, groups: [12, 8] })
  const report = harden(alone)
  t.strictSame(report.groups, [8, 12], 'without proc_setid they stay')
  t.match(report.findings, [{ code: 'HARDEN_GROUPS_KEPT', level: 'note', message: /8, 12 stay: without proc_setid/ }])
  const own = on({ ...mail, groups: [991] }).plan(alone)
  t.strictSame([own.groups, own.findings], [[991], []], 'the primary group, which initgroups(3C) lists as well')
  t.match(on({ ...mail, groups: [12] }).plan({ ...alone, supplementalGroups: [] }).refusals, [
    {
      step: 'setgroups',
      errno: -EPERM,
      message: /lacks proc_setid/,
      remedy: /as root, with proc_setid.*process\.getuid/,
    },
  ])
})

t.test('chroot', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const jail = { ...alone, chroot: folder }
  const { harden, committed, folders } = on()
  const report = harden(jail)
  t.equal(report.chroot, folder)
  t.strictSame(committed[0]?.steps.slice(0, 4), ['setgroups', 'setgid', 'chroot', 'setpflags'])
  t.strictSame(folders, ['/'])
  t.throws(() => fstatSync(committed[0]?.root ?? -1), { code: 'EBADF' }, 'the directory is closed again')

  for (const privileges of ['basic proc_chroot', 'all'])
    t.match(
      refusal(() => on().harden({ ...jail, privileges })),
      { code: 'ERR_HARDEN_CHROOT_ESCAPE', option: 'chroot', remedy: /proc_chroot/ },
    )
  t.match(
    refusal(() => on().harden({ user: 0, group: 0, chroot: folder })),
    { code: 'ERR_HARDEN_CHROOT_ESCAPE' },
  )
  t.match(
    refusal(() => on(mail).harden(jail)),
    {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step: 'chroot',
      syscall: 'chroot',
      errno: -EPERM,
      message: /lacks proc_chroot/,
      remedy: /limitpriv/,
    },
  )
  t.match(
    refusal(() => on().harden({ ...jail, chroot: join(folder, 'none') })),
    { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'chroot', errno: -ENOENT, option: 'chroot' },
  )
  writeFileSync(join(folder, 'file'), '')
  t.match(
    refusal(() => on().harden({ ...jail, chroot: join(folder, 'file') })),
    { step: 'chroot', errno: -ENOTDIR },
  )
  const outside = on(root, {
    rehearse: (plan) => ({ ...(apply(root, plan) as Left), jailed: false }),
  })
  t.match(
    refusal(() => outside.harden(jail)),
    { step: 'verify', wanted: 'true', found: 'false', message: /jailed/ },
  )
})

t.test('chroot: an open directory leads out of it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const rehearse = () => failure('descriptors', 'open', { item: 19 })
  const fs = require('node:fs') as typeof import('node:fs')
  for (const [path, found] of [
    ['/export/home', '/export/home'],
    [undefined, undefined],
  ] as const) {
    t.intercept(fs, 'readlinkSync', {
      configurable: true,
      value: (link: string) => {
        if (link !== '/proc/self/path/19' || path === undefined) throw new Error(link)
        return path
      },
    })
    const error = refusal(() => on(root, { rehearse }).harden({ ...alone, chroot: folder }))
    t.match(error, {
      code: 'ERR_HARDEN_OPEN_DIRECTORY',
      option: 'chroot',
      message: /^descriptor 19 is an open directory/,
    })
    t.equal(error.found, found)
    t.equal(error.message.includes("('/export/home')"), path !== undefined)
  }
})

t.test('what the rehearsal says', async (t) => {
  const set = (step: Failure['step'], errno: number, syscall: string = step) => failure(step, syscall, { errno })
  const aside: Before = { ...root, user: [0, 990, 0], privileges: { ...root.privileges, effective: BASIC } }
  const raise =
    /^call harden\(\) before the process lowers its effective set.*ppriv -s E\+proc_setid \d+\).*SMF.*docs\/smf\.md/
  const short: Before = { ...root, privileges: { ...root.privileges, limit: BASIC } }
  const table: [Failure, Before, RegExp, RegExp][] = [
    [failure('regain', 'setuid'), root, /could take root back/, /what grants it/],
    [failure('setuid', 'setuid', { signal: 9 }), root, /'setuid' was not finished.*signal 9/, /what killed/],
    [
      set('limit', EPERM, 'setppriv'),
      short,
      /lacks net_privaddr/,
      /start the process with net_privaddr .*leave it out/,
    ],
    [set('setuid', EPERM), aside, /lacks proc_setid/, raise],
    [set('setuid', EPERM), { ...aside, user: [990, 991, 0] }, /lacks proc_setid/, raise],
    [set('setuid', EPERM), { ...mail, user: [0, 0, 0] }, /lacks proc_setid/, /as root, with proc_setid/],
    [set('setgid', EPERM), mail, /lacks proc_setid/, /as root, with proc_setid/],
    [
      set('setuid', EPERM),
      { ...root, privileges: { ...root.privileges, effective: BASIC } },
      /lacks proc_setid/,
      raise,
    ],
    [
      set('setuid', EPERM),
      root,
      /setuid: EPERM\. /,
      /^see which privilege is missing: ppriv -De .*dtrace -n sdt:::priv-err$/,
    ],
    [set('permitted', EPERM, 'setppriv'), root, /setppriv: EPERM\. /, /ppriv -De/],
    [set('setpflags', EINVAL), root, /setpflags: EINVAL\. /, /truss -f -t setpflags/],
    [
      set('rehearsal child', EPERM, 'forkx'),
      { ...mail, privileges: own(['net_privaddr']) },
      /forkx: EPERM, because the process lacks proc_fork/,
      /^start the process with proc_fork, which is basic/,
    ],
    [
      set('rehearsal child', EPERM, 'forkx'),
      { ...mail, privileges: { ...mail.privileges, effective: [] } },
      /lacks proc_fork/,
      /ppriv -s E\+proc_fork \d+/,
    ],
    [set('rehearsal child', EAGAIN, 'forkx'), root, /forkx: EAGAIN/, /max-lwps/],
    [set('rehearsal child', ENOMEM, 'forkx'), root, /forkx: ENOMEM/, /max-lwps/],
    [set('rehearsal child', EMFILE, 'pipe'), root, /pipe: EMFILE/, /RLIMIT_NOFILE/],
    [set('chroot', ENOTDIR, 'fchdir'), root, /fchdir: ENOTDIR/, /name a directory/],
    [set('chroot', EACCES, 'fchdir'), root, /fchdir: EACCES/, /chmod o\+x/],
  ]
  for (const [answer, before, message, remedy] of table) {
    const error = refusal(() => on(before, { rehearse: () => answer }).harden(alone))
    t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', step: answer.step, syscall: answer.syscall, message, remedy })
    t.equal(error.errno, answer.errno ? -answer.errno : undefined)
  }
})

t.test('all, where it cannot be had', async (t) => {
  const all = { ...alone, privileges: 'basic, ALL' }
  const held = (text: string) => (text === 'zone' ? (['permitted', 'limit', 'effective'] as const).slice() : [])
  const inside = refusal(() => on(inZone, { setsHeld: held }).harden(all))
  t.match(inside, { step: 'permitted', message: /lacks .*sys_net_config/, remedy: /^write 'zone' rather than 'all'/ })
  const answer = failure('permitted', 'setppriv', { errno: EPERM })
  t.match(
    refusal(() => on(root, { rehearse: () => answer, setsHeld: () => [] }).harden(all)),
    {
      message: /EPERM, because the process lacks privileges without a name\./,
      remedy: /^name the privileges rather than/,
    },
    'a set that has been written back by names',
  )
})

t.test('plan: which steps were rehearsed', async (t) => {
  for (const [step, rehearsed] of [
    ...(['observe', 'memory', 'signal mask', 'rehearsal child', 'SIGUSR1', 'protect'] as const).map(
      (step) => [step, 0] as const,
    ),
    ['setuid', 3],
    ['effective', 6],
    ['regain', 7],
    ['read back', 7],
  ] as const) {
    const { plan } = on(root, { rehearse: () => failure(step, 'call', { errno: EPERM }) })
    const { steps, refusals } = plan(alone)
    t.match(refusals, [{ step, code: 'ERR_HARDEN_NOT_PERMITTED' }])
    t.strictSame(
      steps.map((one) => one.rehearsed),
      steps.map((_, index) => index < rehearsed),
      step,
    )
  }
})

t.test('what the new identity cannot use', async (t) => {
  const [key, spool] = ['/etc/mail/key.pem', '/no/such/spool']
  const rehearse = { read: [key], write: [spool], bind: [25] }
  const answering = (answer: (kind: Step, path: string) => Answer) =>
    on(root, {
      rehearse: (plan) => ({
        ...(apply(root, plan) as Left),
        answers: plan.questions.map(({ kind, path }) => answer(kind, path)),
      }),
    })
  const table: [Step, string, number, string, RegExp][] = [
    ['read', key, EACCES, 'basic', /^make it, and every directory above it, accessible to the new user \(chown, chmod/],
    ['read', key, ENOENT, 'basic', /create it/],
    ['read', key, ENOTDIR, 'none', /create it/],
    ['read', key, EPERM, 'none', /^retain file_read/],
    ['read', key, EACCES, 'basic -file_read', /^retain file_read/],
    ['write', spool, EROFS, 'none', /mount the file system writable/],
    ['read', key, EMFILE, 'none', /raise the limit on open files/],
    ['write', spool, EACCES, 'none', /^retain file_write/],
    [
      'write',
      spool,
      EACCES,
      'basic',
      /^make it, and every directory above it, accessible to the new user \(chown, chmod/,
    ],
    ['bind', '25', EACCES, 'basic', /^retain net_privaddr/],
    ['bind', '25', EACCES, 'net_privaddr', /^retain net_access/],
    ['bind', '25', EACCES, 'basic net_privaddr', /^see which privilege is missing/],
    ['bind', '25', EINVAL, 'basic', /^see with truss -f -t bind/],
    ['read', key, EIO, 'basic', /^see with truss -f -t open/],
  ]
  for (const [port, privilege] of [
    [2049, 'sys_nfs'],
    [4045, 'sys_nfs'],
    [139, 'sys_smb'],
    [445, 'sys_smb'],
    [587, 'net_privaddr'],
  ] as const) {
    const privileges = privilege === 'net_privaddr' ? 'basic' : 'basic net_privaddr'
    const answers = (kind: Step) => (kind === 'bind' ? { ...yes, errno: EACCES } : yes)
    const error = refusal(() => answering(answers).harden({ ...alone, privileges, rehearse: { bind: [port] } }))
    t.match(error.remedy, `retain ${privilege} ('basic ${privilege}' in 'privileges')`, String(port))
  }
  for (const [step, found, errno, privileges, remedy] of table) {
    const answers = (kind: Step, path: string) =>
      kind === step && (path === found || path === '') ? { ...yes, errno } : yes
    const error = refusal(() => answering(answers).harden({ ...alone, privileges, rehearse }))
    const syscall = step === 'write' ? 'access' : step === 'read' ? 'open' : 'bind'
    t.match(error, { code: 'ERR_HARDEN_ACCESS', step, syscall, errno: -errno, found, option: `rehearse.${step}[0]` })
    t.match(error, { remedy, message: /^user 990 will not be able to/ })
  }
  const held = on(root, {
    rehearse: ({ questions }) =>
      failure('read', 'open', { errno: ETIMEDOUT, item: questions.findIndex(({ kind }) => kind === 'read') }),
  })
  t.match(
    refusal(() => held.harden({ ...alone, rehearse })),
    { code: 'ERR_HARDEN_ACCESS', step: 'read', errno: -ETIMEDOUT, found: key, remedy: /file system answers/ },
    'a file system that does not answer',
  )
  const exchange = answering((kind) => (kind === 'exchange' ? { ...yes, by: 'user', found: '/srv' } : yes))
  t.match(
    refusal(() => exchange.harden({ ...alone, chroot: '/' })),
    { code: 'ERR_HARDEN_CHROOT_PATH', step: 'exchange', syscall: 'faccessat', found: '/srv' },
  )
})

t.test('a rehearsal that comes out otherwise', async (t) => {
  const { permitted: _, ...sets } = own(kept('net_privaddr'))
  const table: [Partial<SunosState>, string][] = [
    [{ user: [990, 990, 0] }, 'user'],
    [{ group: [991, 991, 0] }, 'group'],
    [{ groups: [0] }, 'groups'],
    [{ flags: [] }, 'flags'],
    [{ flags: ['PRIV_AWARE', 'PRIV_PFEXEC'] }, 'flags'],
    [{ privileges: { ...sets, limit: kept('net_privaddr'), permitted: ALL, inheritable: BASIC } }, 'permitted'],
    [{ privileges: { ...sets, permitted: kept('net_privaddr'), inheritable: BASIC } }, 'limit'],
    [{ privileges: { ...own(kept('net_privaddr')), limit: kept('net_privaddr'), inheritable: [] } }, 'inheritable'],
    [
      { privileges: { ...own(kept('net_privaddr')), limit: kept('net_privaddr'), inheritable: BASIC, effective: [] } },
      'effective',
    ],
  ]
  for (const [changed, field] of table) {
    const rehearse = (plan: SunosPlan): Left => {
      const left = apply(root, plan) as Left
      return { ...left, state: { ...left.state, ...changed } }
    }
    const { harden, committed } = on(root, { rehearse })
    t.match(
      refusal(() => harden(alone)),
      {
        code: 'ERR_HARDEN_NOT_PERMITTED',
        step: 'verify',
        message: new RegExp(`: ${field}: wanted`),
      },
      field,
    )
    t.strictSame(committed, [])
  }
})

t.test('up to the line', async (t) => {
  const listener = () => {}
  process.on('SIGUSR1', listener)
  t.teardown(() => process.off('SIGUSR1', listener))
  const { harden, committed, state } = on()
  harden(alone)
  t.match(committed, [{ keepSigusr1: true }], 'the application listens for it itself')
  t.equal(state().sigusr1, 'default')
  process.off('SIGUSR1', listener)

  const held = on()
  held.harden(alone)
  t.match(held.committed, [{ keepSigusr1: false }])
  t.equal(held.state().sigusr1, 'ignored')

  for (const [answer, code] of [
    [failure('signal mask', 'pthread_sigmask', { errno: EINVAL }), 'ERR_HARDEN_NOT_PERMITTED'],
    [failure('compare', 'ucred_get'), 'ERR_HARDEN_THREAD_DIFFERS'],
    [failure('compare', 'ucred_get', { errno: ENOMEM }), 'ERR_HARDEN_NOT_PERMITTED'],
  ] as const) {
    const { harden, state } = on(root, { commit: () => answer })
    t.match(
      refusal(() => harden(alone)),
      { code, step: answer.step, syscall: answer.syscall },
    )
    t.strictSame(state(), root, 'nothing has changed, SIGUSR1 either')
  }
  const changed = on(root, {
    descriptors: () => {
      changed.change({ group: [7, 7, 7] })
      return []
    },
  })
  t.match(
    refusal(() => changed.harden(alone)),
    { code: 'ERR_HARDEN_THREAD_DIFFERS', step: 'compare', remedy: /pcred \d+ and ppriv -v \d+/ },
    'another thread, since the plan was made',
  )
  t.match(
    refusal(() => on(root, { rehearse: () => failure('read back', 'ucred_get') }).harden(alone)),
    { code: 'ERR_HARDEN_THREAD_DIFFERS', step: 'read back' },
    'bits that have no name',
  )
  t.match(
    refusal(() => on(root, { holdSigusr1: () => EINVAL }).harden(alone)),
    { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'SIGUSR1', syscall: 'sigaction', errno: -EINVAL },
  )
  t.match(
    refusal(() => on(root, { inspector: 'ws://127.0.0.1:9229/1' }).harden(alone)),
    { code: 'ERR_HARDEN_INSPECTOR' },
  )
})

t.test('descriptors that cannot be examined', async (t) => {
  const of = (answer: Failure) => refusal(() => on(root, { descriptors: () => answer }).harden(alone))
  t.match(of(failure('descriptors', 'access', { errno: ENOENT })), {
    ...{ code: 'ERR_HARDEN_PROC', step: 'descriptors', syscall: 'access', errno: -ENOENT },
    ...{ message: /\/proc\/self\/fd: access: ENOENT/, remedy: /mount \/proc, or lower the hard limit/ },
  })
  t.match(of(failure('descriptors', 'fstat', { errno: EIO, item: 21 })), {
    ...{ code: 'ERR_HARDEN_NOT_PERMITTED', syscall: 'fstat', errno: -EIO, message: /^descriptor 21 cannot be/ },
    remedy: /^see with pfiles \d+ what descriptor 21 is/,
  })
  t.match(of(failure('descriptors', 'fdwalk', { errno: ENOMEM })), {
    ...{ code: 'ERR_HARDEN_NOT_PERMITTED', syscall: 'fdwalk', errno: -ENOMEM, remedy: /ulimit/ },
  })
})

t.test('what cannot be looked at', async (t) => {
  const observe = () => failure('observe', 'getppriv', { errno: ENOMEM })
  for (const call of [(it: ReturnType<typeof on>) => it.harden(alone), (it: ReturnType<typeof on>) => it.audit()])
    t.match(
      refusal(() => call(on(root, { observe }))),
      {
        code: 'ERR_HARDEN_NOT_PERMITTED',
        step: 'observe',
        syscall: 'getppriv',
        errno: -ENOMEM,
        message: /getppriv: ENOMEM/,
      },
    )
})

t.test('findings', async (t) => {
  const find = (options: HardenOptions, before = root, faults: Faults = {}) => on(before, faults).plan(options).findings
  t.strictSame(find(alone), [])
  const privileges =
    'basic dtrace_kernel file_chown file_dac_read file_dac_write file_owner file_setid proc_owner proc_setid sys_devices'
  const [finding, ...others] = find({ ...alone, privileges })
  t.match(finding, { code: 'HARDEN_PRIVILEGE_ESCALATES', level: 'danger', remedy: /out of 'privileges'/ })
  for (const name of privileges.split(' ').slice(1)) t.match(finding?.message, new RegExp(`${name} \\(\\w+`))
  for (const name of [
    'ipc_dac_read',
    'proc_zone',
    'sys_admin',
    'sys_config',
    'sys_linkdir',
    'sys_mount',
    'virt_manage',
  ])
    t.match(find({ ...alone, privileges: `basic ${name}` }), [{ message: `${name} (`, remedy: `leave ${name} out` }])
  const three = 'basic proc_audit proc_setid sys_resource'
  t.match(find({ ...alone, privileges: three }), [
    {
      message: /proc_setid \(.*, proc_setid, proc_audit, sys_resource together \(set-user-ID programs of root/,
      remedy: /^leave proc_setid out/,
    },
  ])
  for (const two of ['basic proc_audit sys_resource'])
    t.strictSame(find({ ...alone, privileges: two }), [], 'the kernel asks for all three')
  t.strictSame(others, [])
  t.strictSame(find(cluster), [], 'the documented ones do not')

  for (const [flags, message] of [
    [['PRIV_XPOLICY'], /PRIV_XPOLICY \(an extended policy/],
    [['PRIV_AWARE', 'PRIV_PFEXEC'], /with PRIV_PFEXEC \(the programs it executes/],
  ] as const)
    t.match(find(alone, { ...root, flags }), [
      { code: 'HARDEN_PROCESS_FLAGS', level: 'note', message, remedy: /pfexec/ },
    ])
  t.strictSame(find(alone, { ...root, flags: ['PRIV_AWARE'] }), [])

  t.strictSame(codes(find(alone, root, { descriptors: () => [] })), ['HARDEN_NOT_LISTENING note'])
  t.strictSame(codes(find(alone, root, { hasChildren: () => true })), ['HARDEN_CHILDREN note'])
  t.strictSame(find(alone, mail, { hasChildren: () => true }), [], 'which were never root')
  t.strictSame(codes(find({ ...alone, supplementalGroups: [0] })), ['HARDEN_GROUP_ZERO danger'])
  const worst: Faults = {
    descriptors: () => [],
    hasChildren: () => true,
    env: { HOME: '/root' },
    execArgv: ['--heapsnapshot-signal=SIGUSR2'],
  }
  t.strictSame(codes(find({ ...alone, privileges: 'proc_owner' }, root, worst)), [
    ...['HARDEN_PRIVILEGE_ESCALATES danger', 'HARDEN_SIGNAL_REPORT danger', 'HARDEN_BASIC_GONE note'],
    ...['HARDEN_NOT_LISTENING note', 'HARDEN_CHILDREN note', 'HARDEN_ENVIRONMENT note'],
  ])
})

t.test('audit', async (t) => {
  const { harden, audit, change } = on()
  const before = plain(audit())
  t.match(before, { source: 'process', threads: [{ tid: process.pid, user: ids(0) }] })
  t.strictSame([before.promise, before.discrepancies], [null, undefined], 'before harden() nothing was promised')
  harden(alone)
  const privileges = { ...own(kept('net_privaddr')), limit: kept('net_privaddr'), inheritable: BASIC }
  const { promise, ...found } = plain(audit())
  t.match(promise, { user: '990 990 990 990', limit: kept('net_privaddr').join(' '), flags: 'PRIV_AWARE' })
  t.strictSame(found, {
    source: 'process',
    threads: [
      {
        ...{ tid: process.pid, name: 'all threads', user: ids(990), group: ids(991), groups: [] },
        ...{ privileges, noNewPrivileges: false },
      },
    ],
    discrepancies: [],
  })
  change({ user: [990, 0, 990], privileges: { ...privileges, effective: [] } })
  const { discrepancies, threads } = audit()
  t.strictSame(threads[0]?.user, { real: 990, effective: 0, saved: 990, fs: 0 })
  t.match(discrepancies, [
    { tid: process.pid, field: 'user', wanted: '990 990 990 990', found: '990 0 990 0' },
    { field: 'effective', wanted: kept('net_privaddr').join(' '), found: '' },
  ])
  t.equal(discrepancies?.length, 2)
})

t.test('audit: in the chroot', async (t) => {
  const { harden, audit } = on()
  harden({ ...alone, chroot: '/' })
  t.strictSame(audit().discrepancies, [], 'the root is still that one')
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  t.not(statSync(folder).ino, statSync('/').ino)
  const elsewhere = on()
  elsewhere.harden({ ...alone, chroot: folder })
  t.match(elsewhere.audit().discrepancies, [{ field: 'jailed', wanted: 'true', found: 'false' }])
})

t.test('the tables', async (t) => {
  const rows = (report: object) =>
    String(report)
      .split('\n')
      .map((row) => [row.slice(0, 22).trimEnd(), row.slice(22)])
  const names = kept('net_privaddr').join(' ')
  const credentials = [
    ['user', '990, real, effective, saved and file system'],
    ['group', '991, real, effective, saved and file system'],
    ['supplementary groups', 'none'],
    ['permitted', names],
    ['limit', names],
    ['effective', names],
    ['inheritable', BASIC.join(' ')],
  ]
  const { harden, plan, audit } = on()
  const steps = 'setgroups, setgid, setpflags, setuid, permitted, limit, effective'
  t.strictSame(rows(plan(alone)), [
    ...credentials,
    ['root directory', 'as before'],
    ['steps', steps],
    ['verdict', 'would be done'],
  ])
  t.strictSame(rows(harden(alone)), [
    ['threads', 'all, by the credentials of the process'],
    ...credentials,
    ['root directory', 'as before'],
  ])
  t.strictSame(rows(audit()), [
    ['threads', 'all, by the credentials of the process'],
    ...credentials,
    ['verdict', 'all threads, as harden() left them'],
  ])
})

t.test('no addon for this machine: what it takes to build one', async (t) => {
  t.intercept(process, 'platform', { value: 'sunos', configurable: true })
  const { plan } = t.mockRequire<Index>('../lib/index', {
    'node-gyp-build': () => {
      throw new Error('no native build was found')
    },
  })
  const error = refusal(() => plan(alone))
  t.match(error, { code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM', message: /for sunos-/ })
  t.match(
    error.remedy,
    /^reinstall privdrop.*or build it.*\(needs a C compiler, make and python\): npm explore privdrop -- npm run build:native$/,
  )
})
