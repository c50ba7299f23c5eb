/** Promise: the report is what the kernel said, for programs as JSON and for logs as a table. */
import t from 'tap'
import type { Committed, Finding, Plan } from '../lib/contract'
import { linux } from '../lib/platform/linux'
import { credentialRows, findingRows, finish, makeReport, type Row, reportCredentials } from '../lib/report'
import type { State } from '../lib/state'
import { type Masked, nothing, only, opened, plan, stateOf } from './states'

const masked: Masked = {
  user: { real: 990, effective: 991, saved: 992, fs: 993 },
  group: { real: 890, effective: 891, saved: 892, fs: 893 },
  groups: [4, 27],
  permitted: (1n << 10n) | (1n << 13n),
  effective: 1n << 10n,
  inheritable: 1n << 13n,
  bounding: (1n << 0n) | (1n << 63n),
  ambient: 1n << 7n,
  securebits: 47,
  noNewPrivileges: true,
  jailed: true,
}
const main = stateOf(masked)
const rootWithout = stateOf({ ...nothing, user: only(0), group: only(0), noNewPrivileges: false })
const timings = [
  { name: 'resolve', us: 7 },
  { name: 'park', us: 0 },
]
const node = { tid: 4711, name: 'node' }
const worker = { tid: 4712, name: 'libuv-worker' }

/** The first timing is of before the commit, the others are of the commit. */
function reportOf(state: State, done: Partial<Committed> = {}, found: readonly Finding[] = [], root?: Plan['root']) {
  const [first = [], ...rest] = (done.timings ?? []).map((timing) => [timing])
  const rehearsal = {
    ...{ state, text: '', answers: [], dumpable: 0, inside: new ArrayBuffer(0) },
    avoid: { kcmp: false, regain: false },
  }
  const committed = { threads: [node], rootChildren: [], ...done, timings: rest.flat() }
  return makeReport(linux, { ...plan, root }, rehearsal, committed, first, found)
}
const full = () => reportOf(main, { threads: [node, worker], timings }, findings, opened)
const findings: Finding[] = [
  { code: 'HARDEN_TIOCSTI', level: 'danger', message: 'one is bad', remedy: 'mend it' },
  { code: 'HARDEN_NPROC', level: 'note', message: 'two is not', remedy: 'leave it' },
]

const data = {
  platform: 'linux',
  user: { real: 990, effective: 991, saved: 992, fs: 993 },
  group: { real: 890, effective: 891, saved: 892, fs: 893 },
  groups: [4, 27],
  capabilities: {
    permitted: ['cap_net_bind_service', 'cap_net_raw'],
    effective: ['cap_net_bind_service'],
    inheritable: ['cap_net_raw'],
    bounding: ['cap_chown', '63'],
    ambient: ['cap_setuid'],
  },
  securebits: 47,
  noNewPrivileges: true,
  chroot: '/srv/mail',
  threads: [node, worker],
  timings,
  findings,
}

t.test('its data', async (t) => {
  const report = full()
  t.strictSame({ ...report }, data)
  t.strictSame(JSON.parse(JSON.stringify(report)), data, 'as JSON')
  t.strictSame(Object.keys(report).sort(), Object.keys(data).sort(), 'and nothing beside it')
  const { chroot: _, ...others } = data
  t.strictSame(
    { ...reportOf(rootWithout) },
    {
      ...others,
      user: only(0),
      group: only(0),
      groups: [],
      capabilities: { permitted: [], effective: [], inheritable: [], bounding: [], ambient: [] },
      securebits: 0,
      noNewPrivileges: false,
      threads: [node],
      timings: [],
      findings: [],
    },
  )
  t.notOk('chroot' in reportOf(main))
})

t.test('it is frozen, all the way down', async (t) => {
  const seen: object[] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    seen.push(value)
    for (const part of Object.values(value)) walk(part)
  }
  walk(full())
  t.ok(seen.length > 15)
  t.ok(seen.every(Object.isFrozen))
})

t.test('the table', async (t) => {
  const rows = (text: string) => new Map(text.split('\n').map((row) => [row.slice(0, 22).trimEnd(), row.slice(22)]))
  const whole = rows(String(full()))
  const expected: [string, RegExp][] = [
    ['threads', /^2\b/],
    ['user', /990.*991.*992.*993/],
    ['group', /890.*891.*892.*893/],
    ['supplementary groups', /^4 27$/],
    ['permitted', /^cap_net_bind_service cap_net_raw$/],
    ['effective', /^cap_net_bind_service$/],
    ['inheritable', /^cap_net_raw$/],
    ['bounding', /^cap_chown 63$/],
    ['ambient', /^cap_setuid$/],
    ['no_new_privs', /^1$/],
    ['securebits', /^0x2f$/],
    ['root directory', /^\/srv\/mail$/],
    ['danger', /HARDEN_TIOCSTI.*one is bad.*mend it/],
    ['note', /HARDEN_NPROC.*two is not.*leave it/],
  ]
  t.strictSame(
    [...whole.keys()],
    expected.map(([name]) => name),
    'its rows',
  )
  for (const [name, pattern] of expected) t.match(whole.get(name), pattern, name)

  const empty = rows(String(reportOf(rootWithout)))
  for (const name of ['supplementary groups', 'permitted', 'effective', 'inheritable', 'bounding', 'ambient'])
    t.equal(empty.get(name), 'none', name)
  t.equal(empty.get('no_new_privs'), '0')
  t.equal(empty.get('securebits'), '0x0')
  t.equal(empty.get('root directory'), 'as before')
  t.notOk(empty.has('danger') || empty.has('note'))
})

t.test('child processes that are root: the first finding', async (t) => {
  const report = reportOf(main, { rootChildren: [11, 12] }, findings)
  t.equal(report.findings.length, 3)
  t.match(report.findings[0], { code: 'HARDEN_CHILDREN_ROOT', level: 'danger', message: /stay root: 11, 12$/ })
  t.strictSame(report.findings.slice(1), findings)
})

t.test('of Solaris', async (t) => {
  const sets = { permitted: ['proc_exec'], effective: [], inheritable: ['proc_fork'], limit: ['net_privaddr'] }
  const state: State = { ...main, sets: { ...sets, bounding: undefined, ambient: undefined }, noNewPrivileges: false }
  const solaris = { ...linux, name: 'sunos' as const, rootChildren: () => undefined }
  const rehearsal = {
    state: { ...state, securebits: undefined, flags: [] },
    text: '',
    answers: [],
    dumpable: undefined,
  }
  const rest = { inside: new ArrayBuffer(0), avoid: { kcmp: false, regain: false } }
  const done = { threads: [{ tid: 7, name: 'all threads' }], rootChildren: [], timings: [] }
  const report = makeReport(solaris, plan, { ...rehearsal, ...rest }, done, [], [])
  t.strictSame(JSON.parse(JSON.stringify(report)), {
    platform: 'sunos',
    user: data.user,
    group: data.group,
    groups: data.groups,
    privileges: sets,
    noNewPrivileges: false,
    threads: done.threads,
    timings: [],
    findings: [],
  })
  const rows = String(report).split('\n')
  t.match(rows[0], /^threads +all, by the credentials of the process$/)
  t.strictSame(
    rows.slice(4).map((row) => row.split(/ {2,}/)),
    [
      ['permitted', 'proc_exec'],
      ['limit', 'net_privaddr'],
      ['effective', 'none'],
      ['inheritable', 'proc_fork'],
      ['root directory', 'as before'],
    ],
  )
})

const credentials = {
  user: data.user,
  group: data.group,
  groups: data.groups,
  capabilities: data.capabilities,
  noNewPrivileges: true,
}

t.test('the credentials alone', async (t) => {
  t.strictSame(reportCredentials(linux, main), credentials)
  const inProc = { ...main, securebits: undefined }
  t.strictSame(reportCredentials(linux, inProc), credentials, 'the securebits need not be known')
})

t.test('rows, for all reports', async (t) => {
  const rows: Row[] = [
    ['user', 'real 990, effective 991, saved 992, file system 993'],
    ['group', 'real 890, effective 891, saved 892, file system 893'],
    ['supplementary groups', '4 27'],
    ['permitted', 'cap_net_bind_service cap_net_raw'],
    ['effective', 'cap_net_bind_service'],
    ['inheritable', 'cap_net_raw'],
    ['bounding', 'cap_chown 63'],
    ['ambient', 'cap_setuid'],
    ['no_new_privs', '1'],
  ]
  t.strictSame(credentialRows(reportCredentials(linux, main)), rows)
  t.strictSame(findingRows(findings), [
    ['danger', 'HARDEN_TIOCSTI: one is bad (mend it)'],
    ['note', 'HARDEN_NPROC: two is not (leave it)'],
  ])
  t.strictSame(findingRows([]), [])
})

t.test('a finished report', async (t) => {
  const report = { one: [{ two: null }], three: 3 }
  let asked = 0
  const finished = finish(report, () => {
    asked++
    return [
      ['one', 'two'],
      ['x'.repeat(22), 'three'],
    ]
  })
  t.equal(finished, report)
  t.equal(asked, 0, 'the table is made when it is wanted')
  t.equal(String(finished), `one${' '.repeat(19)}two\n${'x'.repeat(22)}three`)
  t.equal(asked, 1)
  t.strictSame(Object.keys(finished), ['one', 'three'], 'how it is shown is no data')
  t.equal(JSON.stringify(finished), '{"one":[{"two":null}],"three":3}')
  t.ok([finished, finished.one, finished.one[0]].every(Object.isFrozen))
  t.equal(String(finish({}, () => [])), '')
})
