/** Promise: audit() shows each thread as it was seen, and says whatever is not as harden() made it. */
import t, { type Test } from 'tap'
import type { AuditReport } from '../lib/audit'
import type { Kind, Look, Promised } from '../lib/contract'
import { inWords } from '../lib/state'
import { type Masked, only, stateOf } from './states'

const PID = 4711
const masked: Masked = {
  user: only(990),
  group: only(991),
  groups: [8, 12],
  permitted: 1n << 10n,
  effective: 1n << 10n,
  inheritable: 0n,
  bounding: 1n << 13n,
  ambient: 0n,
  securebits: undefined,
  noNewPrivileges: true,
  jailed: false,
}
const promised: Promised = {
  words: inWords(stateOf({ ...masked, securebits: 5 })),
  root: undefined,
  allowInspector: false,
}
const main = { tid: PID, name: 'node' }
const worker = { tid: 4712, name: 'libuv-worker' }
const oddOne = { tid: 4713, name: 'odd one' }
const kind = (threads: Kind['threads'], changed: Partial<Masked> = {}): Kind => ({
  state: stateOf({ ...masked, ...changed }),
  threads,
})
const odd = kind([oddOne], { groups: [], user: { ...only(990), saved: 0 } })
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

interface World {
  promised?: Promised | undefined
  inspector?: string
  sigusr1?: Look['sigusr1']
  isMainThread?: boolean
}

function auditOf(t: Test, kinds: readonly Kind[], world: World = {}): AuditReport {
  const { inspector, sigusr1 = 'ignored', isMainThread = true } = world
  const asked: unknown[] = []
  const { audit } = t.mockRequire<typeof import('../lib/audit')>('../lib/audit', {
    'node:worker_threads': { isMainThread },
    '../lib/inspector': { inspectorUrl: () => inspector },
    '../lib/promise': { readPromise: () => ('promised' in world ? world.promised : promised) },
    '../lib/platform': {
      platform: {
        name: 'linux',
        addon: () => undefined,
        look: (root: unknown): Look => {
          asked.push(root)
          return { source: 'proc', kinds, sigusr1 }
        },
      },
    },
  })
  t.intercept(process, 'pid', { value: PID })
  const report = audit()
  t.strictSame(asked, [('promised' in world ? world.promised : promised)?.root], 'where the new root is')
  return report
}
const plain = (report: AuditReport) => JSON.parse(JSON.stringify(report))
const promise = Object.fromEntries(promised.words)

t.test('from /proc, which does not tell of the securebits', async (t) => {
  const report = auditOf(t, [kind([main, worker])])
  const data = {
    source: 'proc',
    threads: [
      { ...main, ...shown },
      { ...worker, ...shown },
    ],
    promise,
    discrepancies: [],
  }
  t.strictSame({ ...report }, data)
  t.strictSame(plain(report), data, 'as JSON')
  t.notOk(report.threads.some((thread) => 'securebits' in thread))
})

t.test('first the main thread, then the others by number', async (t) => {
  const { threads } = auditOf(t, [kind([oddOne, worker]), kind([{ tid: 9, name: 'first' }, main], { groups: [8] })])
  t.strictSame(
    threads.map(({ tid }) => tid),
    [PID, 9, 4712, 4713],
  )
})

t.test('every discrepancy, of whatever thread', async (t) => {
  for (const kinds of [
    [kind([main]), odd, kind([worker])],
    [odd, kind([main])],
    [kind([main]), odd],
  ])
    t.strictSame(auditOf(t, kinds).discrepancies, differences)
  const jailed = { ...promised, words: inWords(stateOf({ ...masked, jailed: true })), root: '8:2' }
  t.match(auditOf(t, [kind([main])], { promised: jailed }).discrepancies, [
    { tid: PID, field: 'jailed', wanted: 'true', found: 'false' },
  ])
  const securebits = auditOf(t, [kind([main]), kind([worker], { securebits: 0 })])
  t.strictSame(securebits.discrepancies, [{ ...worker, field: 'securebits', wanted: '5', found: '0' }])
})

t.test('before harden() nothing was promised: that is not "nothing differs"', async (t) => {
  const report = auditOf(t, [kind([main]), odd], { promised: undefined, inspector: 'ws://x', sigusr1: 'default' })
  t.equal(report.promise, null)
  t.equal(report.discrepancies, undefined)
  t.equal(report.threads.length, 2)
  t.notOk('discrepancies' in plain(report))
  t.match(String(report).split('\n').at(-1), /^promise +harden\(\) has not been called, or/)
})

t.test('an inspector that is open, unless it was accepted', async (t) => {
  const inspector = 'ws://127.0.0.1:9229/0f936c39'
  const found = { ...main, field: 'inspector', wanted: 'closed', found: inspector }
  t.strictSame(auditOf(t, [kind([main])], { inspector }).discrepancies, [found])
  t.strictSame(
    auditOf(t, [odd], { inspector }).discrepancies,
    [...differences, found],
    'of a main thread that has ended',
  )
  const accepted = { ...promised, allowInspector: true }
  t.strictSame(auditOf(t, [kind([main])], { inspector, promised: accepted }).discrepancies, [])
})

t.test('what SIGUSR1 does', async (t) => {
  const found = (sigusr1: Look['sigusr1'], isMainThread = true) =>
    auditOf(t, [kind([main])], { sigusr1, isMainThread }).discrepancies?.map(({ field, wanted, found }) => [
      field,
      wanted,
      found,
    ])
  t.strictSame(found('ignored'), [])
  t.strictSame(found('default'), [['SIGUSR1', 'ignored', 'default']])
  t.strictSame(found('caught'), [['SIGUSR1', 'ignored', 'caught']], 'by another handler than the application has')
  t.strictSame(found('caught', false), [], 'a Worker does not know whether the main thread listens')
  t.strictSame(found('default', false), [['SIGUSR1', 'ignored', 'default']])
  const listener = () => {}
  process.on('SIGUSR1', listener)
  t.teardown(() => process.removeListener('SIGUSR1', listener))
  t.strictSame(found('caught'), [], 'a listener of the application')
})

t.test('what could not be looked at is no report', async (t) => {
  const mine = new RangeError('mine')
  const { audit } = t.mockRequire<typeof import('../lib/audit')>('../lib/audit', {
    '../lib/promise': { readPromise: () => undefined },
    '../lib/platform': {
      platform: {
        addon: () => undefined,
        look: () => {
          throw mine
        },
      },
    },
  })
  t.throws(audit, mine)
})

t.test('it is frozen, all the way down', async (t) => {
  const seen: object[] = []
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    seen.push(value)
    for (const part of Object.values(value)) walk(part)
  }
  walk(auditOf(t, structuredClone([kind([main]), odd])))
  t.ok(seen.length > 20)
  t.ok(seen.every(Object.isFrozen))
})

t.test('the table: threads that are alike are shown together', async (t) => {
  const rows = (...kinds: Kind[]) =>
    String(auditOf(t, kinds))
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
  t.strictSame(rows(kind([main, worker])), [['threads', '4711 (node), 4712 (libuv-worker)'], user, ...others])
  t.strictSame(rows(kind([main, worker]), odd), [
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
  t.strictSame(rows(), [['', '']])
})
