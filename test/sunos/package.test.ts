/**
 * Promise: harden(), plan() and audit() keep their word on Solaris and illumos: the package, with the prebuild for them, on a
 * model of their libc. Not on the system itself.
 */
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { HardenError } from '../../lib/errors'
import type { AuditReport, HardenOptions, HardenPlan, HardenReport } from '../../lib/index'
import { live } from '../live/live'
import { type Conditions, changes, Zone } from './zone'

const repository = join(__dirname, '../..')
const basic = [
  ...['file_link_any', 'file_read', 'file_write', 'net_access', 'proc_exec', 'proc_fork', 'proc_info'],
  ...['proc_secflags', 'proc_session'],
]
/** As documented; the account is the one of the model. */
const alone: HardenOptions = {
  user: 'smtp',
  group: 991,
  capabilities: 'cap_net_bind_service+ep',
  privileges: 'basic net_privaddr',
}
const cluster: HardenOptions = {
  ...alone,
  capabilities: 'cap_net_admin+ep cap_net_bind_service+ep cap_net_raw+ep cap_sys_resource+ep',
  privileges: 'basic net_privaddr net_bindmlp sys_resource sys_net_config net_rawaccess',
}
const only = (id: number) => ({ real: id, effective: id, saved: id, fs: id })
const smtp = { user: only(990), group: only(991) }

type Question = ['harden' | 'plan', HardenOptions] | ['audit']
interface Answer {
  answer: HardenReport & HardenPlan & AuditReport
  table: string
  error: HardenError
}

let zone: Zone
let installed: string

/** What the package answers to each, and what was asked of libc meanwhile. */
function ask(questions: Question[], conditions?: Conditions) {
  if (!zone) {
    zone = new Zone(t)
    installed = join(zone.folder, 'node_modules/privdrop')
    mkdirSync(installed, { recursive: true })
    for (const part of ['package.json', 'dist', 'prebuilds'])
      cpSync(join(repository, part), join(installed, part), { recursive: true })
    cpSync(join(repository, 'node_modules/node-gyp-build'), join(installed, '../node-gyp-build'), { recursive: true })
  }
  const outcome = zone.node('package.cjs', [installed, JSON.stringify(questions)], conditions)
  const answers = outcome.stdout
    .split('\n')
    .filter(Boolean)
    .map((line): Answer => JSON.parse(line))
  return { ...outcome, answers }
}

/** SIGUSR1 is ignored from the beginning, and given back by a refusal. */
const held = 'sigaction 10'

/** That it was the model: the addon has asked it for the sets of the process. */
const isModel = (calls: string[]) => calls.some((call) => call.startsWith('getppriv Permitted'))

for (const [title, options, more, conditions] of [
  ['stand-alone, in the global zone', alone, ['net_privaddr'], {}],
  ['stand-alone, in a zone', alone, ['net_privaddr'], { zone: 'shared' }],
  [
    'cluster node, in the global zone',
    cluster,
    ['net_bindmlp', 'net_privaddr', 'net_rawaccess', 'sys_net_config', 'sys_resource'],
    {},
  ],
] as const)
  live(`Momentum's documented example: ${title}`, ['cc'], async (t) => {
    const { answers, calls, status, stderr } = ask([['harden', options], ['audit'], ['harden', options]], conditions)
    t.ok(isModel(calls))
    t.equal(status, 0, stderr)
    const names = [...basic, ...more].sort()
    const privileges = { permitted: names, limit: names, effective: names, inheritable: basic }
    const [report, audited, again] = answers
    t.match(report?.answer, {
      ...{ platform: 'sunos', ...smtp, groups: [], privileges },
      ...{ noNewPrivileges: false, threads: [{ name: 'all threads' }] },
    })
    t.strictSame(report?.answer.findings, [])
    t.strictSame(audited?.answer.discrepancies, [])
    t.match(audited?.answer, { source: 'process', threads: [{ ...smtp, groups: [], privileges }] })
    t.match(again?.error, { code: 'ERR_HARDEN_ALREADY_APPLIED' })
    const text = names.join()
    t.strictSame(changes(calls), [
      ...[held, held],
      'setpflags 0x8 1',
      ...['setgroups 0', 'setgid 991', 'setpflags 0x2 1', 'setuid 990'],
      ...[`setppriv Permitted ${text}`, `setppriv Limit ${text}`, `setppriv Effective ${text}`],
    ])
  })

live('the cluster example in a zone: what it lacks is named, and nothing changes', ['cc'], async (t) => {
  for (const [kind, lacking] of [
    ['shared', ['net_rawaccess', 'sys_net_config']],
    ['exclusive', ['sys_net_config']],
  ] as const) {
    const { answers, calls } = ask([['harden', cluster], ['audit'], ['plan', cluster], ['harden', alone]], {
      zone: kind,
    })
    t.ok(isModel(calls))
    const [refused, audited, planned, hardened] = answers
    t.match(refused?.error, {
      ...{ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'permitted', syscall: 'setppriv', errno: -1 },
      remedy: /in a zone: .*Under SMF: privileges= of the method_credential/,
    })
    for (const name of lacking) t.match(refused?.error.message, new RegExp(`the process lacks .*${name}`), kind)
    t.notMatch(refused?.error.message, /net_privaddr|net_bindmlp/)
    t.match(refused?.error.remedy, /no zone can have sys_net_config/)
    t.equal(refused?.error.remedy?.includes('limitpriv="default,net_rawaccess"'), kind === 'shared')
    t.match(audited?.answer.threads, [{ user: only(0) }])
    t.match(planned?.answer.refusals, [{ step: 'permitted' }])
    t.strictSame(hardened?.answer.user, only(990), 'another one works')
  }
})

live('what the remedy gives a zone with a shared stack', ['cc'], async (t) => {
  const { answers, calls } = ask([['harden', { ...alone, privileges: 'basic net_privaddr net_rawaccess' }]], {
    zone: 'shared,net_rawaccess',
  })
  t.ok(isModel(calls))
  t.match(answers[0]?.answer.privileges?.permitted, [...basic, 'net_privaddr', 'net_rawaccess'].sort())
})

live('refused before anything changes', ['cc'], async (t) => {
  const groups = Array.from({ length: 9 }, (_, index) => index + 1)
  const table: [string, HardenOptions, Conditions, object][] = [
    [
      'an unknown word',
      { ...alone, privileges: 'basic, net_privadr' },
      {},
      { code: 'ERR_HARDEN_PRIVILEGES', found: 'net_privadr', message: /at character 8 / },
    ],
    [
      'too many groups',
      { ...alone, supplementalGroups: groups },
      { groups: 8 },
      { code: 'ERR_INVALID_ARG_VALUE', option: 'supplementalGroups', remedy: /takes 8 / },
    ],
    [
      'no proc_chroot',
      { chroot: '/', privileges: 'basic' },
      { uid: 990 },
      { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'chroot', syscall: 'chroot', errno: -1, message: /lacks proc_chroot/ },
    ],
    [
      'chroot',
      { ...alone, chroot: '/' },
      { fail: 'chroot=1' },
      { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'chroot', syscall: 'chroot', errno: -1 },
    ],
    [
      'chroot, and its privilege retained',
      { ...alone, chroot: '/', privileges: 'basic proc_chroot' },
      {},
      { code: 'ERR_HARDEN_CHROOT_ESCAPE' },
    ],
    [
      'another user, and not root',
      alone,
      { uid: 17 },
      { code: 'ERR_HARDEN_NOT_PERMITTED', message: /lacks proc_setid/ },
    ],
    ['no user', {}, {}, { code: 'ERR_HARDEN_USER_REQUIRED' }],
    [
      'an id as a string, which could be a name that no directory answers for',
      { ...alone, user: '4711' },
      {},
      { code: 'ERR_HARDEN_LOOKUP_FAILED', option: 'user', errno: -2, remedy: /numeric ids/ },
    ],
    [
      'all, in a zone',
      { ...alone, privileges: 'all' },
      { zone: 'exclusive' },
      { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'permitted', remedy: /^write 'zone' rather than 'all'/ },
    ],
    [
      'a port of NFS',
      { ...alone, rehearse: { bind: [2049] } },
      {},
      { code: 'ERR_HARDEN_ACCESS', step: 'bind', found: '2049', remedy: /^retain sys_nfs/ },
    ],
    [
      'a port of root alone',
      { ...alone, privileges: 'basic', rehearse: { bind: [25] } },
      {},
      { code: 'ERR_HARDEN_ACCESS', step: 'bind', found: '25', remedy: /net_privaddr/ },
    ],
    [
      'a file, without a basic privilege',
      { ...alone, privileges: 'net_privaddr', rehearse: { read: ['/etc/passwd'] } },
      {},
      { code: 'ERR_HARDEN_ACCESS', step: 'read', found: '/etc/passwd', remedy: /retain file_read/ },
    ],
    [
      'setuid(0) that comes back',
      alone,
      { fail: 'child:setuid 0=lie' },
      { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'regain', message: /could take root back/ },
    ],
  ]
  for (const [title, options, conditions, expected] of table) {
    const { answers, calls, status } = ask([['harden', options], ['audit']], conditions)
    t.ok(isModel(calls))
    t.equal(status, 0)
    t.match(answers[0]?.error, expected, title)
    t.strictSame(changes(calls), [held, held], title)
    t.match(answers[1]?.answer, { promise: null, threads: [{ user: only(conditions.uid ?? 0) }] }, title)
  }
})

live('none, and the default', ['cc'], async (t) => {
  for (const privileges of [undefined, 'none', '']) {
    const { answers, calls, status } = ask([['harden', { ...alone, privileges }], ['audit']])
    t.ok(isModel(calls))
    t.equal(status, 0)
    t.match(answers[0]?.answer.privileges, { permitted: [], limit: [], effective: [], inheritable: basic })
    t.match(answers[0]?.answer.findings, [{ code: 'HARDEN_BASIC_GONE', level: 'note' }])
    t.strictSame(answers[1]?.answer.discrepancies, [])
  }
})

live('starts other than root', ['cc'], async (t) => {
  const { answers, calls } = ask([['harden', { privileges: 'basic -proc_exec' }], ['audit']], { uid: 990 })
  t.ok(isModel(calls))
  const names = basic.filter((name) => name !== 'proc_exec')
  t.match(answers[0]?.answer.privileges, { permitted: names, limit: names, effective: names, inheritable: basic })
  t.strictSame(answers[0]?.answer.user, only(990))
  t.notOk(changes(calls).some((call) => /^set(uid|gid|groups)/.test(call)))
  t.strictSame(answers[1]?.answer.discrepancies, [])
})

live('user root keeps what it has, and all means all: bits without a name, too', ['cc'], async (t) => {
  for (const options of [
    { user: 0, group: 0 },
    { user: 0, group: 0, privileges: 'all' },
    { user: 'smtp', group: 991, privileges: 'all' },
  ]) {
    const { answers, calls } = ask([['harden', options], ['audit']])
    t.ok(isModel(calls))
    t.equal(answers[0]?.answer.privileges?.permitted.length, 85)
    t.notOk(
      calls.some((call) => call.startsWith('setppriv') || call.startsWith('child setppriv Limit')),
      'no set is written',
    )
    t.strictSame(answers[1]?.answer.discrepancies, [])
  }
  const [kept] = ask([['harden', { user: 0, group: 0 }]], { zone: 'shared' }).answers
  t.equal(kept?.answer.privileges?.permitted.length, 41)
  t.match(kept?.answer.findings, [{ code: 'HARDEN_USER_ROOT', level: 'danger' }])
})

live('started by pfexec', ['cc'], async (t) => {
  const { answers, calls } = ask([['harden', { privileges: 'basic' }], ['audit']], { uid: 990, flags: 0x180 })
  t.ok(isModel(calls))
  t.match(answers[0]?.answer.findings, [{ code: 'HARDEN_GROUPS_KEPT' }, { code: 'HARDEN_PROCESS_FLAGS' }])
  const cleared = ['setpflags 0x2 1', 'setpflags 0x80 0', 'setpflags 0x100 0']
  t.strictSame(
    changes(calls).filter((call) => call.startsWith('setpflags') && !call.includes('0x8 ')),
    cleared,
  )
  t.strictSame(answers[1]?.answer.discrepancies, [])
})

live('past the line a failure ends the process', ['cc'], async (t) => {
  const { answers, calls, signal, stderr } = ask([['harden', alone], ['audit']], { fail: 'parent:setuid=11' })
  t.ok(isModel(calls))
  t.equal(signal, 'SIGABRT')
  t.match(stderr, /^privdrop: fatal: step 'setuid' /)
  t.strictSame(answers, [])

  const lie = ask([['harden', alone]], { fail: 'parent:setppriv Limit=lie' })
  t.equal(lie.signal, 'SIGABRT')
  t.match(
    lie.stderr,
    /^privdrop: fatal: step 'read back' \(ucred_get\) in thread \d+: wanted limit file_link_any,.*, found limit contract_event,/,
  )
})

live('the tables', ['cc'], async (t) => {
  const rows = (call: 'plan' | 'harden') => {
    const { answers, calls } = ask([[call, alone]])
    t.ok(isModel(calls))
    return answers[0]?.table.split('\n').map((row) => row.slice(0, 22).trimEnd())
  }
  const sets = ['permitted', 'limit', 'effective', 'inheritable']
  const credentials = ['user', 'group', 'supplementary groups', ...sets, 'root directory']
  t.strictSame(rows('plan'), [...credentials, 'steps', 'verdict'])
  t.strictSame(rows('harden'), ['threads', ...credentials])
})
