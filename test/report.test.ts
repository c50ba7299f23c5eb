/** Promise: the report is what the kernel said, for programs as JSON and for logs as a table. */
import t from 'tap'
import type { ThreadState } from '../lib/audit'
import {
  credentialRows,
  type Finding,
  findingRows,
  finish,
  makeReport,
  type Row,
  reportCredentials,
} from '../lib/report'
import { nothing, only } from './states'

const main: ThreadState = {
  tid: 4711,
  name: 'node',
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
const worker: ThreadState = { ...main, tid: 4712, name: 'libuv-worker' }
const rootWithout: ThreadState = { ...main, ...nothing, user: only(0), group: only(0), noNewPrivileges: false }
const steps = [
  { name: 'resolve', us: 7 },
  { name: 'park', us: 0 },
]
const findings: Finding[] = [
  { code: 'HARDEN_ONE', level: 'danger', message: 'one is bad', remedy: 'mend it' },
  { code: 'HARDEN_TWO', level: 'note', message: 'two is not', remedy: 'leave it' },
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
  threads: [
    { tid: 4711, name: 'node' },
    { tid: 4712, name: 'libuv-worker' },
  ],
  steps,
  findings,
}

t.test('its data', async (t) => {
  const report = makeReport([main, worker], steps, findings, '/srv/mail')
  t.strictSame({ ...report }, data)
  t.strictSame(JSON.parse(JSON.stringify(report)), data, 'as JSON')
  t.strictSame(Object.keys(report).sort(), Object.keys(data).sort(), 'and nothing beside it')
  const { chroot: _, ...others } = data
  t.strictSame(
    { ...makeReport([rootWithout], [], [], undefined) },
    {
      ...others,
      user: only(0),
      group: only(0),
      groups: [],
      capabilities: { permitted: [], effective: [], inheritable: [], bounding: [], ambient: [] },
      securebits: 0,
      noNewPrivileges: false,
      threads: [{ tid: 4711, name: 'node' }],
      steps: [],
      findings: [],
    },
  )
  t.notOk('chroot' in makeReport([main], [], [], undefined))
  t.equal(makeReport([main], [], [], '').chroot, '', 'a path of whatever kind is one')
})

t.test('it is frozen, all the way down', async (t) => {
  const seen: object[] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    seen.push(value)
    for (const part of Object.values(value)) walk(part)
  }
  walk(makeReport([main, worker], structuredClone(steps), structuredClone(findings), '/srv/mail'))
  t.ok(seen.length > 15)
  t.ok(seen.every(Object.isFrozen))
})

t.test('the table', async (t) => {
  const rows = (text: string) => new Map(text.split('\n').map((row) => [row.slice(0, 22).trimEnd(), row.slice(22)]))
  const full = rows(String(makeReport([main, worker], steps, findings, '/srv/mail')))
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
    ['danger', /HARDEN_ONE.*one is bad.*mend it/],
    ['note', /HARDEN_TWO.*two is not.*leave it/],
  ]
  t.strictSame(
    [...full.keys()],
    expected.map(([name]) => name),
    'its rows',
  )
  for (const [name, pattern] of expected) t.match(full.get(name), pattern, name)

  const empty = rows(String(makeReport([rootWithout], [], [], undefined)))
  for (const name of ['supplementary groups', 'permitted', 'effective', 'inheritable', 'bounding', 'ambient'])
    t.equal(empty.get(name), 'none', name)
  t.equal(empty.get('no_new_privs'), '0')
  t.equal(empty.get('securebits'), '0x0')
  t.equal(empty.get('root directory'), 'as before')
  t.notOk(empty.has('danger') || empty.has('note'))
})

t.test('no thread, no report', async (t) => {
  t.throws(() => makeReport([], steps, findings, '/srv/mail'), {
    name: 'Error',
    message: 'there is no thread to report',
  })
})

const { securebits: _securebits, ...inProc } = main
const credentials = {
  user: data.user,
  group: data.group,
  groups: data.groups,
  capabilities: data.capabilities,
  noNewPrivileges: true,
}

t.test('the credentials alone', async (t) => {
  t.strictSame(reportCredentials(main), credentials)
  t.strictSame(reportCredentials(inProc), credentials, 'the securebits need not be known')
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
  t.strictSame(credentialRows(reportCredentials(main)), rows)
  t.strictSame(findingRows(findings), [
    ['danger', 'HARDEN_ONE: one is bad (mend it)'],
    ['note', 'HARDEN_TWO: two is not (leave it)'],
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
