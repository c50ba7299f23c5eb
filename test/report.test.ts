/** Promise: the report is what the kernel said, for programs as JSON and for logs as a table. */
import t from 'tap'
import type { Ids, ThreadState } from '../lib/audit'
import { type Finding, makeReport } from '../lib/report'

const only = (id: number): Ids => ({ real: id, effective: id, saved: id, fs: id })
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
const nothing: ThreadState = {
  ...main,
  user: only(0),
  group: only(0),
  groups: [],
  permitted: 0n,
  effective: 0n,
  inheritable: 0n,
  bounding: 0n,
  ambient: 0n,
  securebits: 0,
  noNewPrivileges: false,
  jailed: false,
}
const steps = [
  { name: 'resolve', us: 7 },
  { name: 'park', us: 0 },
]
const findings: Finding[] = [
  { code: 'HARDEN_ONE', level: 'danger', message: 'one is bad', remedy: 'mend it' },
  { code: 'HARDEN_TWO', level: 'note', message: 'two is not', remedy: 'leave it' },
]
/** What a report takes from a plan. */
const ofPlan = { findings, root: { path: '/srv/mail', descriptor: 7 } }
const ofNone = { findings: [] }

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
  const report = makeReport([main, worker], steps, ofPlan)
  t.strictSame({ ...report }, data)
  t.strictSame(JSON.parse(JSON.stringify(report)), data, 'as JSON')
  t.strictSame(Object.keys(report).sort(), Object.keys(data).sort(), 'and nothing beside it')
  const { chroot: _, ...others } = data
  t.strictSame(
    { ...makeReport([nothing], [], ofNone) },
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
})

t.test('it is frozen, all the way down', async (t) => {
  const seen: object[] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    seen.push(value)
    for (const part of Object.values(value)) walk(part)
  }
  walk(makeReport([main, worker], structuredClone(steps), structuredClone(ofPlan)))
  t.ok(seen.length > 15)
  t.ok(seen.every(Object.isFrozen))
})

t.test('the table', async (t) => {
  const rows = (text: string) => new Map(text.split('\n').map((row) => [row.slice(0, 22).trimEnd(), row.slice(22)]))
  const full = rows(String(makeReport([main, worker], steps, ofPlan)))
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
    ['securebits', /^0x2f$/],
    ['no_new_privs', /^1$/],
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

  const empty = rows(String(makeReport([nothing], [], ofNone)))
  for (const name of ['supplementary groups', 'permitted', 'effective', 'inheritable', 'bounding', 'ambient'])
    t.equal(empty.get(name), 'none', name)
  t.equal(empty.get('no_new_privs'), '0')
  t.equal(empty.get('securebits'), '0x0')
  t.equal(empty.get('root directory'), 'as before')
  t.notOk(empty.has('danger') || empty.has('note'))
})

t.test('no thread, no report', async (t) => {
  t.throws(() => makeReport([], steps, ofPlan), { message: /thread/ })
})
