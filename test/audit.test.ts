/** Promise: audit() shows each thread as it was seen, and says whatever is not as harden() made it. */
import t, { type Test } from 'tap'
import { inWords, type Seen, type ThreadState } from '../lib/audit'
import type { AuditReport } from '../lib/audit-report'
import type { Look } from '../lib/platform/index'

const only = (id: number) => ({ real: id, effective: id, saved: id, fs: id })
const main: ThreadState = {
  tid: 4711,
  name: 'node',
  user: only(990),
  group: only(991),
  groups: [8, 12],
  permitted: 1n << 10n,
  effective: 1n << 10n,
  inheritable: 0n,
  bounding: 1n << 13n,
  ambient: 0n,
  securebits: 5,
  noNewPrivileges: true,
  jailed: false,
}
const wanted = inWords(main)
const worker: ThreadState = { ...main, tid: 4712, name: 'libuv-worker' }
const odd: ThreadState = { ...main, tid: 4713, name: 'odd one', groups: [], user: { ...only(990), saved: 0 } }
/** As /proc has it. */
function inProc({ securebits: _, ...state }: ThreadState): Seen<ThreadState> {
  return state
}
const shown = {
  user: only(990),
  group: only(991),
  groups: [8, 12],
  capabilities: {
    permitted: ['cap_net_bind_service'],
    effective: ['cap_net_bind_service'],
    inheritable: [],
    bounding: ['cap_net_raw'],
    ambient: [],
  },
  noNewPrivileges: true,
}
const differences = [
  { tid: 4713, name: 'odd one', field: 'user', wanted: '990 990 990 990', found: '990 990 0 990' },
  { tid: 4713, name: 'odd one', field: 'groups', wanted: '8 12', found: '' },
]

function auditOf(t: Test, look: () => Look): AuditReport {
  const { audit } = t.mockRequire<typeof import('../lib/audit-report')>('../lib/audit-report', {
    '../lib/platform': { platform: { look } }, // nothing else is asked of it
  })
  return audit()
}
const plain = (report: AuditReport) => JSON.parse(JSON.stringify(report))

t.test('from /proc, which does not tell of the securebits', async (t) => {
  const report = auditOf(t, () => ({ source: 'proc', threads: [main, worker].map(inProc), wanted }))
  const data = {
    source: 'proc',
    threads: [
      { tid: 4711, name: 'node', ...shown },
      { tid: 4712, name: 'libuv-worker', ...shown },
    ],
    discrepancies: [],
  }
  t.strictSame({ ...report }, data)
  t.strictSame(plain(report), data, 'as JSON')
  t.notOk(report.threads.some((thread) => 'securebits' in thread))
})

t.test('from the threads themselves, which do', async (t) => {
  const other = { ...worker, securebits: 0 }
  const report = auditOf(t, () => ({ source: 'threads', threads: [main, other], wanted }))
  t.strictSame(plain(report), {
    source: 'threads',
    threads: [
      { tid: 4711, name: 'node', ...shown, securebits: 5 },
      { tid: 4712, name: 'libuv-worker', ...shown, securebits: 0 },
    ],
    discrepancies: [{ tid: 4712, name: 'libuv-worker', field: 'securebits', wanted: '5', found: '0' }],
  })
})

t.test('every discrepancy, of whatever thread', async (t) => {
  for (const threads of [
    [main, odd, worker],
    [odd, main],
    [inProc(main), inProc(odd)],
  ])
    t.strictSame([...auditOf(t, () => ({ source: 'proc', threads, wanted })).discrepancies], differences)
  const jailed = inWords({ ...main, jailed: true })
  t.match(auditOf(t, () => ({ source: 'proc', threads: [main], wanted: jailed })).discrepancies, [
    { tid: 4711, field: 'jailed', wanted: 'true', found: 'false' },
  ])
})

t.test('before harden() nothing was wanted, so there is none', async (t) => {
  for (const before of [{}, { wanted: undefined }]) {
    const report = auditOf(t, () => ({ source: 'proc', threads: [main, odd], ...before }))
    t.strictSame([...report.discrepancies], [])
    t.equal(report.threads.length, 2)
  }
})

t.test('what could not be looked at is no report', async (t) => {
  const mine = new RangeError('mine')
  const look = () => {
    throw mine
  }
  t.throws(() => auditOf(t, look), mine)
})

t.test('it is frozen, all the way down', async (t) => {
  const seen: object[] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    seen.push(value)
    for (const part of Object.values(value)) walk(part)
  }
  walk(auditOf(t, () => ({ source: 'threads', threads: structuredClone([main, odd]), wanted })))
  t.ok(seen.length > 20)
  t.ok(seen.every(Object.isFrozen))
})

t.test('the table: threads that are alike are shown together', async (t) => {
  const rows = (threads: Seen<ThreadState>[]) =>
    String(auditOf(t, () => ({ source: 'proc', threads, wanted })))
      .split('\n')
      .map((row) => [row.slice(0, 22).trimEnd(), row.slice(22)])
  const others = [
    ['group', 'real 991, effective 991, saved 991, file system 991'],
    ['supplementary groups', '8 12'],
    ['permitted', 'cap_net_bind_service'],
    ['effective', 'cap_net_bind_service'],
    ['inheritable', 'none'],
    ['bounding', 'cap_net_raw'],
    ['ambient', 'none'],
    ['no_new_privs', '1'],
  ]
  const user = ['user', 'real 990, effective 990, saved 990, file system 990']
  t.strictSame(rows([main, worker]), [['threads', '4711 (node), 4712 (libuv-worker)'], user, ...others])
  t.strictSame(rows([main, odd, worker]), [
    ['threads', '4711 (node), 4712 (libuv-worker)'],
    user,
    ...others,
    ['threads', '4713 (odd one)'],
    ['user', 'real 990, effective 990, saved 0, file system 990'],
    others[0],
    ['supplementary groups', 'none'],
    ...others.slice(2),
    ['discrepancy', 'thread 4713 (odd one): user: wanted 990 990 990 990, found 990 990 0 990'],
    ['discrepancy', 'thread 4713 (odd one): groups: wanted 8 12, found none'],
  ])
  t.strictSame(
    rows([main, { ...worker, securebits: 0 }]).filter(([name]) => name === 'threads'),
    [
      ['threads', '4711 (node)'],
      ['threads', '4712 (libuv-worker)'],
    ],
    'what differs in the securebits alone is not alike',
  )
  t.strictSame(rows([]), [['', '']])
})
