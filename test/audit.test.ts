/** Promise: audit() shows each thread as it was read, and reports whatever is not as harden() left it. */
import t, { type Test } from 'tap'
import type { AuditReport } from '../lib/audit'
import type { Kind, Promised, Threads } from '../lib/contract'
import { type Accounts, noAccounts } from '../lib/databases'
import { inWords } from '../lib/state'
import { allFour, type Masked, stateOf } from './states'

const PID = 4711
const masked: Masked = {
  user: allFour(990),
  group: allFour(991),
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
const odd = kind([oddOne], { groups: [], user: { ...allFour(990), saved: 0 } })
const shown = {
  user: allFour(990),
  group: allFour(991),
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
  sigusr1?: Threads['sigusr1']
  isMainThread?: boolean
  source?: Threads['source']
}

const accounts: Accounts = {
  user: new Map([
    [0, 'root'],
    [990, 'smtp'],
  ]),
  group: new Map([[8, 'mail']]),
}

function auditOf(t: Test, kinds: readonly Kind[], world: World = {}): AuditReport {
  const { inspector, sigusr1 = 'ignored', isMainThread = true, source = 'proc' } = world
  const asked: unknown[] = []
  const { audit } = t.mockRequire<typeof import('../lib/audit')>('../lib/audit', {
    'node:worker_threads': { isMainThread },
    '../lib/databases': { accountsOf: () => accounts, noAccounts },
    '../lib/inspector': { inspectorUrl: () => inspector },
    '../lib/promise': { readPromise: () => ('promised' in world ? world.promised : promised) },
    '../lib/platform': {
      platform: {
        name: 'linux',
        addon: () => undefined,
        allNames: () => [],
        readThreads: (root: unknown): Threads => {
          asked.push(root)
          return { source, kinds, sigusr1 }
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
  t.equal(
    String(report).split('\n').at(-1),
    'verdict               2 threads of 2 kinds; harden() has not been called, or what it has promised is not known here',
  )
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
  const found = (sigusr1: Threads['sigusr1'], isMainThread = true) =>
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

t.test('what could not be read is no report', async (t) => {
  const mine = new RangeError('mine')
  const { audit } = t.mockRequire<typeof import('../lib/audit')>('../lib/audit', {
    '../lib/promise': { readPromise: () => undefined },
    '../lib/platform': {
      platform: {
        addon: () => undefined,
        readThreads: () => {
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

t.test('the table: threads that are alike are shown together, the verdict last', async (t) => {
  const rows = (kinds: readonly Kind[], world: World = {}) => String(auditOf(t, kinds, world)).split('\n')
  const first = [
    'user                  smtp (990), real, effective, saved and file system',
    'group                 991, real, effective, saved and file system',
    'supplementary groups  mail (8), 12',
    'permitted             cap_net_bind_service',
    'effective             cap_net_bind_service',
    'inheritable           none',
    'bounding              cap_net_raw',
    'ambient               none',
    'no_new_privs          1',
  ]
  t.strictSame(rows([kind([main, worker])]), [
    'threads               2, all alike: 4711 (node), 4712 (libuv-worker)',
    ...first,
    'verdict               2 threads, all alike, as harden() left them',
  ])
  t.strictSame(rows([kind([main, worker]), odd]), [
    'discrepancy           4713 (odd one): user: wanted 990 990 990 990, found 990 990 0 990',
    'discrepancy           4713 (odd one): groups: wanted 8 12, found none',
    'threads               2 of 3: 4711 (node), 4712 (libuv-worker)',
    ...first,
    'differs               1 of 3: 4713 (odd one)',
    'user                  real smtp (990), effective smtp (990), saved root (0), file system smtp (990)',
    'supplementary groups  none',
    'verdict               3 threads of 2 kinds, not as harden() left them: 2 discrepancies',
  ])
  t.strictSame(rows([]), ['verdict               0 threads, all alike, as harden() left them'])
  const escaped = rows([kind([{ ...main, name: '\x1b[31m\n' }])])
  t.match(escaped[0], '1, all alike: 4711 (\\u{1b}[31m\\u{a})')
})

t.test('what differs in several threads alike is said once', async (t) => {
  const all = kind([main, worker], { ambient: 1n << 13n })
  const lines = String(auditOf(t, [all], { sigusr1: 'default' })).split('\n')
  t.strictSame(lines.slice(0, 2), [
    'discrepancy           4711 (node), 4712 (libuv-worker): ambient: wanted none, found cap_net_raw',
    'discrepancy           4711 (node): SIGUSR1: wanted ignored, found default',
  ])
  t.equal(lines.at(-1), 'verdict               2 threads, all alike, not as harden() left them: 3 discrepancies')
  const [one] = String(auditOf(t, [kind([main])], { sigusr1: 'default' }))
    .split('\n')
    .slice(-1)
  t.equal(one, 'verdict               1 thread, all alike, not as harden() left them: 1 discrepancy')
})

t.test('in a chroot, where the new user may decide what a file says, there are no names', async (t) => {
  const jailed = { ...promised, words: inWords(stateOf({ ...masked, jailed: true })), root: '8:2' }
  const table = String(auditOf(t, [kind([main], { jailed: true })], { promised: jailed }))
  t.match(table, /^user +990, real, effective, saved and file system$/m)
  t.match(table, /^supplementary groups +8, 12$/m)
  t.match(table, /^verdict +1 thread, all alike, as harden\(\) left them$/m)
})

t.test('on Solaris the process stands for all of its threads', async (t) => {
  const [first, second, ...others] = String(auditOf(t, [kind([main])], { source: 'process' })).split('\n')
  t.equal(first, 'threads               all, by the credentials of the process')
  t.match(second, /^user /)
  t.equal(others.at(-1), 'verdict               all threads, as harden() left them')
})
