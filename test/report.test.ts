/** Promise: the report is what the kernel said, for programs as JSON and for logs as a table. */
import t from 'tap'
import type { Committed, Finding, Plan } from '../lib/contract'
import { HardenError } from '../lib/errors'
import { linux } from '../lib/platform/linux'
import {
  credentialRows,
  findingRows,
  kindRows,
  makeReport,
  refusalRow,
  reportCredentials,
  type Wording,
} from '../lib/report'
import type { Ids, State } from '../lib/state'
import { type Row, rowText } from '../lib/table'
import { allFour, type Masked, nothing, opened, plan, stateOf } from './states'

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
const accounts: Wording['accounts'] = {
  user: new Map([
    [0, 'root'],
    [990, 'smtp'],
  ]),
  group: new Map([[27, 'sudo']]),
}
const rootWithout = stateOf({ ...nothing, user: allFour(0), group: allFour(0), noNewPrivileges: false })
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
  return makeReport(linux, { ...plan, root, accounts: () => accounts }, rehearsal, committed, first, found)
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
      user: allFour(0),
      group: allFour(0),
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

t.test('the table: dangers first, notes last', async (t) => {
  t.strictSame(String(full()).split('\n'), [
    'danger                HARDEN_TIOCSTI: one is bad.',
    '                      Remedy: mend it.',
    'threads               2, all alike',
    'user                  real smtp (990), effective 991, saved 992, file system 993',
    'group                 real 890, effective 891, saved 892, file system 893',
    'supplementary groups  4, sudo (27)',
    'permitted             cap_net_bind_service cap_net_raw',
    'effective             cap_net_bind_service',
    'inheritable           cap_net_raw',
    'bounding              cap_chown 63',
    'ambient               cap_setuid',
    'no_new_privs          1',
    'securebits            0x2f',
    'root directory        /srv/mail',
    'note                  HARDEN_NPROC: two is not.',
    '                      Remedy: leave it.',
  ])
  t.strictSame(String(reportOf(rootWithout)).split('\n'), [
    'threads               1, all alike',
    'user                  root (0), real, effective, saved and file system',
    'group                 0, real, effective, saved and file system',
    'supplementary groups  none',
    'permitted             none',
    'effective             none',
    'inheritable           none',
    'bounding              none',
    'ambient               none',
    'no_new_privs          0',
    'securebits            0x0',
    'root directory        as before',
  ])
})

t.test('the table of a process that is still root', async (t) => {
  const all = linux.allNames()
  const last = all.at(-1) as string
  const { sets } = main
  const state = { ...main, sets: { ...sets, permitted: all, effective: all.slice(0, -1), bounding: [...all, '63'] } }
  const table = String(reportOf(state))
  t.match(table, '\npermitted             all\n')
  t.match(table, `\neffective             all but ${last}\n`)
  t.match(table, '\nbounding              all\n')
})

t.test('child processes that are root: the first finding', async (t) => {
  const report = reportOf(main, { rootChildren: [4194305, 4194306] }, findings)
  t.equal(report.findings.length, 3)
  t.match(report.findings[0], {
    code: 'HARDEN_CHILDREN_ROOT',
    level: 'danger',
    message: /stay root: 4194305, 4194306$/,
  })
  t.strictSame(report.findings.slice(1), findings)
})

t.test('of Solaris', async (t) => {
  const all = ['net_privaddr', 'proc_exec', 'proc_fork']
  const sets = { permitted: ['proc_exec'], effective: [], inheritable: ['proc_fork', 'proc_exec'], limit: all }
  const state: State = { ...main, sets: { ...sets, bounding: undefined, ambient: undefined }, noNewPrivileges: false }
  const solaris = {
    ...linux,
    name: 'sunos' as const,
    rootChildren: () => undefined,
    allNames: () => ['net_privaddr', 'proc_exec', 'proc_fork'],
  }
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
      ['limit', 'all'],
      ['effective', 'none'],
      ['inheritable', 'all but net_privaddr'],
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

const wording: Wording = { accounts, all: [] }
const four = (change: Partial<Ids>) => {
  const [[, text] = []] = credentialRows({ ...credentials, user: { ...allFour(990), ...change } }, wording)
  return text
}

t.test('ids: equal ones are one', async (t) => {
  t.equal(four({}), 'smtp\u00a0(990), real, effective, saved and file system')
  for (const [name, text] of [
    ['real', 'real root (0), effective smtp (990), saved smtp (990), file system smtp (990)'],
    ['effective', 'real smtp (990), effective root (0), saved smtp (990), file system smtp (990)'],
    ['saved', 'real smtp (990), effective smtp (990), saved root (0), file system smtp (990)'],
    ['fs', 'real smtp (990), effective smtp (990), saved smtp (990), file system root (0)'],
  ] as const)
    t.equal(four({ [name]: 0 })?.replaceAll('\u00a0', ' '), text)
})

t.test('a name that could be taken for more is in quotes', async (t) => {
  const shown = (name: string) => {
    const user = new Map([[990, name]])
    const [row = ['']] = credentialRows(
      { ...credentials, user: allFour(990) },
      { ...wording, accounts: { ...accounts, user } },
    )
    return rowText(row).slice(22).replace(', real, effective, saved and file system', '')
  }
  for (const name of ['smtp', '_apt', 'host$', 'DOM\\user', 'user@dom.example', 'a-b.c+d'])
    t.equal(shown(name), `${name} (990)`)
  for (const [name, text] of [
    ['0', "'0' (990)"],
    ['root (0), real', "'root (0), real' (990)"],
    ['a b', "'a b' (990)"],
    ['smtp\x1b[31m', "'smtp\\x1B[31m' (990)"],
    ['\u202esmtp', "'\\u{202e}smtp' (990)"],
    ['a\nverdict would be done', "'a\\nverdict would be done' (990)"],
  ] as const)
    t.equal(shown(name), text)
  t.ok(shown('x'.repeat(1_000_000)).length < 100)
})

t.test('sets: all, and nearly all', async (t) => {
  const shown = (bounding: readonly string[], all: readonly string[]) =>
    credentialRows({ ...credentials, capabilities: { ...data.capabilities, bounding } }, { ...wording, all })[6]
  for (const [held, all, text] of [
    [[], ['a', 'b', 'c'], 'none'],
    [['a'], ['a', 'b', 'c'], 'a'],
    [['b', 'c'], ['a', 'b', 'c'], 'all but a'],
    [['a', 'b'], ['a', 'b', 'c', 'd'], 'a b'],
    [['a', 'b', 'c'], ['a', 'b', 'c'], 'all'],
    [['a', 'b', 'c', '63'], ['a', 'b', 'c'], 'all'],
    [['a'], [], 'a'],
  ] as const)
    t.strictSame(shown(held, all), ['bounding', text])
})

t.test('findings and refusals: two lines, and those of a file', async (t) => {
  t.strictSame(findingRows(findings, 'danger'), [['danger', 'HARDEN_TIOCSTI: one is bad.', 'Remedy: mend it.']])
  t.strictSame(findingRows(findings, 'note'), [['note', 'HARDEN_NPROC: two is not.', 'Remedy: leave it.']])
  t.strictSame(findingRows([], 'note'), [])
  for (const remedy of ['mend it', "write '$&$1'", '$`'])
    for (const excerpt of [undefined, '\tuser = x\n\t       ^']) {
      const error = new HardenError({ code: 'ERR_HARDEN_ACCESS', message: 'no', remedy, ...(excerpt && { excerpt }) })
      const more = excerpt?.split('\n') ?? []
      t.strictSame(refusalRow(error), ['refused', 'ERR_HARDEN_ACCESS: no.', `Remedy: ${remedy}.`, ...more])
    }
})

t.test('threads that are alike together', async (t) => {
  const rows: Row[] = [
    ['user', '990'],
    ['ambient', 'none'],
  ]
  const list = (...kinds: Parameters<typeof kindRows>[0]) => kindRows(kinds).map((row) => rowText(row).split(/ {2,}/))
  t.strictSame(list(), [])
  t.strictSame(list({ threads: [node, worker], rows }), [
    ['threads', '2, all alike: 4711 (node), 4712 (libuv-worker)'],
    ...rows,
  ])
  const other: Row = ['ambient', 'cap_setuid']
  t.strictSame(
    list({ threads: [node], rows }, { threads: [worker], rows: [rows[0] as Row, other] }, { threads: [node], rows }),
    [
      ['threads', '1 of 3: 4711 (node)'],
      ...rows,
      ['differs', '1 of 3: 4712 (libuv-worker)'],
      other,
      ['differs', '1 of 3: 4711 (node)'],
    ],
  )
})
