/** Promise: what takes from the worth of a plan is named, with a remedy, and what vanishes or is hidden does no harm. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs, { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Credentials, ThreadState } from '../lib/audit'
import { closeRoot, openRoot } from '../lib/chroot'
import { findHazards as findRealHazards } from '../lib/hazards'
import { foreignFiles } from '../lib/hazards/notes'
import { native, type OpenDescriptor } from '../lib/native'
import type { Plan } from '../lib/platform/linux/plan'
import type { Finding } from '../lib/report'
import { only, nothing as wanted } from './states'

const before: ThreadState = { ...wanted, tid: 1, name: 'node', user: only(0), group: only(0), noNewPrivileges: false }
const plan: Plan = { wanted, steps: [], boundingDrop: 0n, attempts: [], findings: [] }
const root = { path: '/srv/smtp', descriptor: 9, place: '1:2', stat: 10 }
const cap = (number: number) => 1n << BigInt(number)
const listens: OpenDescriptor = { descriptor: 3, kind: 'listens' }

const failure = (code: string, errno: number) => Object.assign(new Error(code), { code, errno, syscall: 'open' })
const gone = failure('ENOENT', -2)

/** Text of a file, the end of a link, names in a folder, mode and owner of either, a file system; an Error is thrown. */
type Entry = string | string[] | { uid: number; mode: number } | { type: number } | Error

const DIRECTORY = 0o40755
const MINE = process.pid

/** A process with one thread, and nothing to find. */
const plain: Record<string, Entry> = {
  '/proc/self/task': [`${MINE}`],
  [`/proc/self/task/${MINE}/children`]: '',
  '/proc/self/stat': `${MINE} (a) (b)) R 1 1 1 0 -1 4194304`,
  '/proc/self/limits': 'Max processes             unlimited            unlimited            processes \n',
}

interface World {
  entries?: Record<string, Entry>
  isWorker?: boolean
  plan?: Partial<Plan>
  before?: Partial<ThreadState>
  descriptors?: readonly OpenDescriptor[]
}

let world = plain
const cluster = { isWorker: false }

/** Of `world`, by a number that no descriptor of this process has. */
const open = new Map<number, string>()
const NO_DESCRIPTOR = 1_000_000

/** What waitid(2) says. */
let hasChildren = true

/** lib/hazards with another /proc, which is `world`: by path, or by call and path where two calls ask for the same path. */
function load(): typeof import('../lib/hazards') {
  const look = (call: string, path: string): unknown => {
    const entry = world[`${call} ${path}`] ?? world[path] ?? gone
    if (entry instanceof Error) throw entry
    return entry
  }
  const names = ['readdirSync', 'readlinkSync', 'statSync', 'statfsSync'] as const
  const instead = names.map((name) => {
    const real = fs[name] as (...args: unknown[]) => unknown
    const ours = (path: unknown, ...more: unknown[]) =>
      typeof path === 'string' && `${path}/`.startsWith('/proc/') ? look(name, path) : real(path, ...more)
    return [name, ours]
  })
  return t.mockRequire('../lib/hazards', {
    '../lib/native': { native: () => ({ ...native(), hasChildren: () => hasChildren }) },
    'node:fs': {
      ...fs,
      ...Object.fromEntries(instead),
      openSync: (path: string) => {
        look('openSync', path)
        const descriptor = NO_DESCRIPTOR + open.size
        open.set(descriptor, path)
        return descriptor
      },
      readFileSync: (descriptor: number) => look('readFileSync', open.get(descriptor) ?? 'closed'),
      closeSync: (descriptor: number) => {
        if (!open.delete(descriptor)) throw failure('EBADF', -9)
      },
    },
    'node:cluster': cluster,
  })
}

const { findHazards } = load()

function find({ entries = {}, isWorker = false, ...rest }: World = {}): Finding[] {
  world = { ...plain, ...entries }
  cluster.isWorker = isWorker
  const descriptors = 'descriptors' in rest ? rest.descriptors : [listens]
  const found = findHazards({ ...plan, ...rest.plan }, { ...before, ...rest.before }, descriptors)
  if (open.size > 0) throw new Error(`left open: ${[...open.values()]}`)
  return found
}

const codes = (world?: World) => find(world).map(({ code }) => code)

interface Expected extends Pick<Finding, 'code' | 'level'> {
  message: string | RegExp
  remedy: string | RegExp
}

/** There is this finding, and no other. */
function alone(t: Test, found: Finding[], finding: Expected, title: string = finding.code): void {
  t.match(found, [finding], title)
  t.equal(found.length, 1, title)
}

function setEnvironment(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

t.beforeEach((t) => {
  for (const name of ['HOME', 'USER', 'LOGNAME', 'NODE_OPTIONS']) {
    const was = process.env[name]
    t.teardown(() => setEnvironment(name, was))
    delete process.env[name]
  }
  t.intercept(process, 'execArgv', { value: [] })
  t.intercept(process, 'connected', { value: true, configurable: true })
})

/** With everything there is to find, for a process that listens and for one that does not. */
const worst: World = {
  entries: {
    [`/proc/self/task/${MINE}/children`]: '11',
    '/proc/11/status': 'Name:\tnode\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\n',
    [`/proc/${process.ppid}/status`]: 'Name:\tnode\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\n',
    '/proc/self/stat': `${MINE} (a) R 1 1 1 34816 -1`,
    '/proc/sys/fs/suid_dumpable': '1\n',
    '/proc/self/limits': 'Max processes             7                    7                    processes \n',
    '/proc/self/fd/9/proc': { type: 0x9fa0 },
    'readlinkSync /proc/self/fd/9': '/srv/smtp',
    'statSync /proc/self/fd/9': { uid: 7, mode: DIRECTORY },
  },
  plan: { wanted: { ...wanted, permitted: cap(0), groups: [0] }, root },
  descriptors: [{ descriptor: 4, kind: 'raw' }],
}

/** What is looked at without being opened. */
const links = (entry: Entry) => ({ 'readlinkSync /proc/self/fd/9': entry, '/proc/self/fd/9/proc': entry })

t.test('nothing to find', async (t) => {
  t.same(find(), [])
  t.same(codes({ isWorker: true, descriptors: [] }), [], 'in a worker')
})

t.test('everything at once: dangers first', async (t) => {
  process.env.HOME = '/root'
  process.execArgv.push('--heapsnapshot-signal=SIGUSR2')
  const common = {
    dangers: ['CAPABILITY_IS_ROOT', 'CHILDREN_ROOT', 'TIOCSTI', 'SUID_DUMPABLE', 'SIGNAL_REPORT'],
    notes: ['SOCKETS', 'NPROC', 'PROC_IN_CHROOT', 'WRITABLE_ANCESTOR', 'ENVIRONMENT', 'GROUP_ROOT'],
  }
  for (const [isWorker, dangers, notes] of [
    [false, [...common.dangers, 'NOT_LISTENING'], common.notes],
    [true, common.dangers, ['PRIMARY_ROOT', ...common.notes]],
  ] as const) {
    const found = find({ ...worst, isWorker })
    t.same(
      found.map(({ code, level }) => `${code} ${level}`),
      [...dangers.map((name) => `HARDEN_${name} danger`), ...notes.map((name) => `HARDEN_${name} note`)],
    )
    for (const finding of found) {
      t.strictSame(Object.keys(finding), ['code', 'level', 'message', 'remedy'])
      for (const sentence of [finding.message, finding.remedy]) t.notMatch(sentence, /[.]$|undefined|NaN|\n|^$/)
    }
  }
})

t.test('what cannot be read is no finding', async (t) => {
  const { entries = {}, ...rest } = worst
  for (const error of [gone, failure('EACCES', -13), failure('ESRCH', -3), failure('EMFILE', -24), new Error('odd')]) {
    const hidden = Object.fromEntries(Object.keys({ ...plain, ...entries }).map((path) => [path, error]))
    const opened = Object.keys({ ...plain, ...entries }).map((path) => [`readFileSync ${path}`, error])
    for (const isWorker of [true, false])
      for (const [title, unread] of [
        ['not to be opened', hidden],
        ['opened, and not to be read', { ...entries, ...Object.fromEntries(opened), ...links(error) }],
      ] as const)
        t.same(
          codes({ ...rest, entries: { ...unread, '/proc': error }, isWorker, descriptors: undefined }),
          ['HARDEN_CAPABILITY_IS_ROOT', 'HARDEN_GROUP_ROOT'],
          `${error.message}, ${title}: what the plan itself says remains`,
        )
  }
})

t.test('this very process, for the kernel as it is', async (t) => {
  const openDescriptors = readdirSync('/proc/self/fd').length
  const found = findRealHazards({ ...plan, wanted: { ...wanted, groups: [0] } }, before, [])
  t.equal(readdirSync('/proc/self/fd').length, openDescriptors, 'nothing is left open')
  for (const { code, level, message, remedy } of found) {
    t.match(code, /^HARDEN_[A-Z_]+$/)
    t.match(level, /^(danger|note)$/)
    for (const sentence of [message, remedy]) t.notMatch(sentence, /[.]$|undefined|NaN|\n|^$/)
  }
  for (const code of ['HARDEN_NOT_LISTENING', 'HARDEN_GROUP_ROOT']) t.ok(found.some((finding) => finding.code === code))
})

t.test('capabilities that amount to root', async (t) => {
  const retain = (set: Partial<Credentials>) => find({ plan: { wanted: { ...wanted, ...set } } })
  const code = 'HARDEN_CAPABILITY_IS_ROOT'
  for (const [number, name] of [
    [0, 'cap_chown'],
    [1, 'cap_dac_override'],
    [2, 'cap_dac_read_search'],
    [3, 'cap_fowner'],
    [6, 'cap_setgid'],
    [7, 'cap_setuid'],
    [16, 'cap_sys_module'],
    [17, 'cap_sys_rawio'],
    [19, 'cap_sys_ptrace'],
    [21, 'cap_sys_admin'],
    [22, 'cap_sys_boot'],
    [27, 'cap_mknod'],
    [31, 'cap_setfcap'],
  ] as const)
    for (const set of ['permitted', 'inheritable']) {
      const message = new RegExp(`by what it retains: ${name} \\([a-z][^()]*\\)$`)
      const remedy = new RegExp(`^leave ${name} out of 'capabilities'`)
      alone(t, retain({ [set]: cap(number) }), { code, level: 'danger', message, remedy }, `${set} ${name}`)
    }
  alone(t, retain({ permitted: cap(38) | cap(0), inheritable: cap(39) }), {
    code,
    level: 'danger',
    message: /: cap_chown \([^()]*\), cap_perfmon cap_bpf \(reads? all memory\)$/,
    remedy: /^leave cap_chown, cap_perfmon cap_bpf out of/,
  })
  let rest = 0n
  for (const number of [
    4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 18, 20, 23, 24, 25, 26, 28, 29, 30, 32, 33, 34, 35, 36, 37, 38, 40,
  ])
    rest |= cap(number)
  t.same(retain({ permitted: rest, inheritable: rest }), [], 'all others, cap_perfmon without cap_bpf')
  t.same(retain({ permitted: cap(39) }), [], 'cap_bpf alone')
  t.same(retain({ permitted: cap(0), user: only(0) }), [], 'user root')
})

t.test('children', async (t) => {
  const status = (uid: string, state = 'S (sleeping)') =>
    `Name:\tchild\nState:\t${state}\nUid:\t${uid}\nGid:\t0\t0\t0\t0\n`
  const entries: Record<string, Entry> = {
    // no zombie, though it calls itself so
    '/proc/11/status': status('0\t0\t0\t0').replace('child', 'x\rState:\tZ'),
    '/proc/12/status': status('1000\t1000\t0\t1000'),
    '/proc/13/status': status('1000\t1000\t1000\t1000'),
    '/proc/14/status': status('0\t0\t0\t0', 'Z (zombie)'),
    '/proc/16/status': status('10\t100\t20\t1000'),
  }
  const found = (...pids: number[]) => ({
    code: 'HARDEN_CHILDREN_ROOT',
    level: 'danger' as const,
    message: new RegExp(`: ${pids.join(', ')}$`),
    remedy: /^end them, or start them after harden\(\)/,
  })
  const own = (pids: Entry) => ({ [`/proc/self/task/${MINE}/children`]: pids })
  alone(t, find({ entries: { ...entries, ...own('11 12 13 14 15 16 ') } }), found(11, 12))
  t.same(codes({ entries: { ...entries, ...own('13 14 15 16 ') } }), [], 'other users, a zombie, one that has ended')

  const both = { '/proc/self/task': [`${MINE}`, '7'], ...own('11 '), '/proc/self/task/7/children': '12' }
  alone(t, find({ entries: { ...entries, ...both } }), found(11, 12), 'of two threads')
  alone(t, find({ entries: { ...entries, ...both, ...own(gone) } }), found(12), 'one of which has ended')
  alone(t, find({ entries: { ...entries, ...both, ...own('') } }), found(12), 'one of which has none')

  const all = {
    '/proc': ['11', '12', '13', '15', '17', '18', 'self', '1x', 'x1'],
    '/proc/11/stat': `11 (a) S 1) S ${MINE} 1 1 0`,
    '/proc/12/stat': `12 (a) S ${MINE} 1 1 0`,
    '/proc/13/stat': `13 (a) S ${MINE} 1 1 0`,
    '/proc/17/stat': '17 (a) S 1 1 1 0',
    '/proc/17/status': status('0\t0\t0\t0'),
    '/proc/18/stat': `18 (a) S ${MINE}1 ${MINE} 1 0`,
    '/proc/18/status': status('0\t0\t0\t0'),
    '/proc/1x/stat': `1 (a) S ${MINE} 1 1 0`,
    '/proc/1x/status': status('0\t0\t0\t0'),
    '/proc/x1/stat': `1 (a) S ${MINE} 1 1 0`,
    '/proc/x1/status': status('0\t0\t0\t0'),
  }
  alone(t, find({ entries: { ...entries, ...all, ...own(gone) } }), found(11, 12), 'without CONFIG_PROC_CHILDREN')
  t.same(find({ entries: { ...entries, ...all } }), [], 'with it, that is not looked at')
  hasChildren = false
  t.same(find({ entries: { ...entries, ...both } }), [], 'nobody is looked at who is none, says waitid(2)')
  hasChildren = true
})

t.test('a child for the kernel as it is', async (t) => {
  const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] })
  const exit = once(child, 'exit')
  const found = findRealHazards(plan, before, []).find(({ code }) => code === 'HARDEN_CHILDREN_ROOT')
  child.stdin.end()
  await exit
  const pids: string[] = found?.message.match(/\d+/g) ?? []
  t.equal(pids.includes(`${child.pid}`), process.getuid?.() === 0, 'it is found if it is root')
})

t.test('the primary', async (t) => {
  const primary = (uid: string, state = 'S') => ({
    [`/proc/${process.ppid}/status`]: `Name:\tnode\nState:\t${state}\nUid:\t${uid}\n`,
  })
  const isRoot = primary('0\t0\t0\t0')
  alone(t, find({ isWorker: true, entries: isRoot }), {
    code: 'HARDEN_PRIMARY_ROOT',
    level: 'note',
    message: new RegExp(`process ${process.ppid}, is still root`),
    remedy: /^call harden\(\) in the primary, too/,
  })
  t.same(codes({ isWorker: true, entries: primary('1\t1\t1\t1') }), [])
  t.same(codes({ isWorker: true, entries: primary('0\t0\t0\t0', 'Z') }), [], 'a zombie')
  t.same(codes({ isWorker: true }), [], 'hidden')
  t.same(codes({ entries: isRoot }), [], 'no cluster')
  t.intercept(process, 'connected', { value: false, configurable: true })
  t.same(codes({ isWorker: true, entries: isRoot }), [], 'it has ended, or let go of its worker')
})

t.test('the terminal', async (t) => {
  const own = { '/proc/self/stat': `${MINE} (a) 0 0 0 0 0) R 1 1 1 34816 -1` }
  const legacy = '/proc/sys/dev/tty/legacy_tiocsti'
  const finding = {
    code: 'HARDEN_TIOCSTI',
    level: 'danger' as const,
    message: /controlling terminal that accepts TIOCSTI/,
    remedy: /setsid\(1\), or set sysctl dev\.tty\.legacy_tiocsti=0$/,
  }
  alone(t, find({ entries: own }), finding, 'before Linux 6.2')
  alone(t, find({ entries: { ...own, [legacy]: '1\n' } }), finding)
  t.same(codes({ entries: { ...own, [legacy]: '0\n' } }), [])
  t.same(codes({ entries: { [legacy]: '1\n' } }), [], 'none')
  t.same(codes({ entries: { '/proc/self/stat': gone, [legacy]: '1\n' } }), [])
})

t.test('suid_dumpable', async (t) => {
  for (const value of ['0\n', '2\n', '10\n', gone])
    t.same(codes({ entries: { '/proc/sys/fs/suid_dumpable': value } }), [])
  alone(t, find({ entries: { '/proc/sys/fs/suid_dumpable': '1\n' } }), {
    code: 'HARDEN_SUID_DUMPABLE',
    level: 'danger',
    message: /^fs\.suid_dumpable is 1: /,
    remedy: 'set sysctl fs.suid_dumpable=0',
  })
})

t.test('reports by signal', async (t) => {
  const found = (options: string | undefined, execArgv: string[], reportOnSignal = false) => {
    setEnvironment('NODE_OPTIONS', options)
    t.intercept(process, 'execArgv', { value: execArgv })
    t.intercept(process, 'report', { value: { reportOnSignal } })
    return find()
  }
  const finding = (names: string) => ({
    code: 'HARDEN_SIGNAL_REPORT',
    level: 'danger' as const,
    message: new RegExp(`by a signal: ${names}$`),
    remedy: new RegExp(
      `^start Node without ${names} \\(NODE_OPTIONS, too\\), or set process\\.report\\.reportOnSignal`,
    ),
  })
  alone(t, found(undefined, [], true), finding('--report-on-signal'))
  for (const option of ['--heapsnapshot-signal=SIGUSR2', '--heapsnapshot_signal=SIGUSR2', '--heapsnapshot-signal']) {
    alone(t, found(undefined, ['--no-warnings', option]), finding('--heapsnapshot-signal'), option)
    for (const options of [option, `--no-warnings  "${option}"`, `${option}\t--no-warnings`])
      alone(t, found(options, []), finding('--heapsnapshot-signal'), `NODE_OPTIONS: ${options}`)
  }
  const both = finding('--report-on-signal and --heapsnapshot-signal')
  alone(t, found('', ['--heapsnapshot-signal=SIGUSR2'], true), both)
  for (const option of ['--heapsnapshot-near-heap-limit=1', '--report-signal=SIGUSR2', '--heapsnapshot-signals'])
    for (const [options, execArgv] of [
      [option, []],
      ['', [option]],
    ] as const)
      t.same(found(options, [...execArgv]), [], option)
})

t.test('listening', async (t) => {
  const not = ['HARDEN_NOT_LISTENING']
  const raw: OpenDescriptor = { descriptor: 4, kind: 'raw' }
  for (const [title, descriptors, found] of [
    ['one', [listens], []],
    ['two', [listens, { ...listens, descriptor: 4 }], []],
    ['one of several', [raw, listens], ['HARDEN_SOCKETS']],
    ['a raw one', [raw], [...not, 'HARDEN_SOCKETS']],
    ['a packet one', [{ ...raw, kind: 'packet' }], [...not, 'HARDEN_SOCKETS']],
    ['one for netlink', [{ ...raw, kind: 'netlink' }], [...not, 'HARDEN_SOCKETS']],
    ['none', [], not],
    ['nobody knows', undefined, []],
  ] as const)
    t.same(codes({ descriptors }), found, title)
  t.same(codes({ descriptors: [], isWorker: true }), [], 'in a cluster the primary does')
  alone(t, find({ descriptors: [] }), {
    code: 'HARDEN_NOT_LISTENING',
    level: 'danger',
    message: /^no socket of this process is listening yet/,
    remedy: `call harden() when the server has emitted 'listening'`,
  })
})

t.test('sockets', async (t) => {
  const finding = (sockets: string) => ({
    code: 'HARDEN_SOCKETS',
    level: 'note' as const,
    message: `what these sockets were opened for they stay able to do: ${sockets}`,
    remedy: /^close them before harden\(\)/,
  })
  for (const kind of ['raw', 'packet', 'netlink'] as const)
    alone(t, find({ descriptors: [listens, { descriptor: 8, kind }] }), finding(`descriptor 8 (${kind})`))
  const both = [{ descriptor: 8, kind: 'packet' } as const, listens, { descriptor: 19, kind: 'netlink' } as const]
  alone(t, find({ descriptors: both }), finding('descriptor 8 (packet), descriptor 19 (netlink)'))
  t.same(codes({ descriptors: both, isWorker: true }), ['HARDEN_SOCKETS'], 'in a cluster, too')
  t.same(codes({ descriptors: undefined }), [], 'nobody knows')
})

t.test('RLIMIT_NPROC', async (t) => {
  const limits = (soft: string) => ({
    '/proc/self/limits': `Limit\nMax core file size        0                    0                    bytes\nMax processes             ${soft.padEnd(20)} 96365                processes \nMax open files            5 5\n`,
  })
  for (const limit of ['0', '7', '1024'])
    alone(t, find({ entries: limits(limit) }), {
      code: 'HARDEN_NPROC',
      level: 'note',
      message: new RegExp(`of user 1000 together may have ${limit} threads`),
      remedy: /RLIMIT_NPROC: ulimit -u, LimitNPROC=/,
    })
  for (const limit of ['1025', '96365', 'unlimited']) t.same(codes({ entries: limits(limit) }), [], limit)
  t.same(codes({ entries: limits('7'), before: { user: only(1000) } }), [], 'the same user as before')
  const another = { ...only(1000), real: 1001 }
  t.same(codes({ entries: limits('7'), before: { user: another } }), ['HARDEN_NPROC'], 'the real one counts')
  t.same(codes({ entries: { '/proc/self/limits': gone } }), [])
})

t.test('/proc in the chroot', async (t) => {
  const proc = '/proc/self/fd/9/proc'
  alone(t, find({ plan: { root }, entries: { [proc]: { type: 0x9fa0 } } }), {
    code: 'HARDEN_PROC_IN_CHROOT',
    level: 'note',
    message: /^\/proc is mounted in the chroot '\/srv\/smtp': /,
    remedy: /^unmount it there/,
  })
  t.same(codes({ plan: { root }, entries: { [proc]: { type: 0xef53 } } }), [], 'another file system')
  t.same(codes({ plan: { root } }), [], 'no such folder')
  t.same(codes({ entries: { '/proc/self/fd/-1/proc': { type: 0x9fa0 }, [proc]: { type: 0x9fa0 } } }), [], 'no chroot')
})

t.test('ancestors of the chroot', async (t) => {
  const own = '/proc/self/fd/9'
  const suspects = (...stats: ([uid: number, mode: number] | Error)[]) => {
    const entries: Record<string, Entry> = { [`readlinkSync ${own}`]: '/srv/smtp' }
    for (const [level, entry] of stats.entries())
      entries[`statSync ${own}${'/..'.repeat(level)}`] =
        entry instanceof Error ? entry : { uid: entry[0], mode: entry[1] }
    const [found, ...more] = find({ plan: { root }, entries })
    t.same(more, [])
    if (found)
      t.match(found, { code: 'HARDEN_WRITABLE_ANCESTOR', level: 'note', remedy: 'chown them to root, and chmod go-w' })
    return found?.message.split(': ')[1]
  }
  const good: [number, number] = [0, DIRECTORY]
  t.equal(suspects(good, good, good), undefined)
  t.equal(suspects([0, 0o40775], good, good), "'/srv/smtp'", 'its group may write')
  t.equal(suspects([0, 0o40757], good, good), "'/srv/smtp'", 'all may write')
  t.equal(suspects([0, 0o41777], good, good), "'/srv/smtp'", 'sticky is not enough there')
  t.equal(suspects([7, DIRECTORY], good, good), "'/srv/smtp'", "somebody else's")
  t.equal(suspects(good, [0, 0o40775], good), "'/srv'")
  t.equal(suspects(good, [0, 0o41777], good), undefined, 'sticky')
  t.equal(suspects(good, [7, 0o41777], good), "'/srv'", "sticky, and somebody else's")
  t.equal(suspects(good, good, [0, 0o40757]), "'/'")
  t.equal(suspects([7, DIRECTORY], [7, DIRECTORY], good), "'/srv/smtp', '/srv'")
  t.equal(suspects(good, good, good, [7, DIRECTORY]), undefined, 'there is nothing above /')
  t.equal(suspects(good), undefined, 'ancestors that cannot be seen')
  t.equal(suspects(gone, gone, [7, DIRECTORY]), "'/'", 'do not hide those above')
  t.same(codes({ plan: { root } }), [], 'nor its path')
  const outside = { [`readlinkSync ${own}`]: '(unreachable)/a', [`statSync ${own}`]: { uid: 7, mode: DIRECTORY } }
  t.same(codes({ plan: { root }, entries: outside }), [], 'outside of the root of the process')
  const top = { [`readlinkSync ${own}`]: '/', [`statSync ${own}`]: { uid: 7, mode: DIRECTORY } }
  alone(t, find({ plan: { root }, entries: top }), {
    code: 'HARDEN_WRITABLE_ANCESTOR',
    level: 'note',
    message: /^others than root can change what is in the chroot, or exchange it: '\/'$/,
    remedy: 'chown them to root, and chmod go-w',
  })
})

t.test('a chroot for the kernel as it is', async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'privdrop-hazards-')))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'jail'))
  chmodSync(join(folder, 'jail'), 0o777)
  const found = (path: string, code: string) => {
    const opened = openRoot(path)
    const findings = findRealHazards({ ...plan, root: opened }, before, [listens])
    closeRoot(opened)
    return findings.find((finding) => finding.code === code)
  }
  const writable = found(join(folder, 'jail'), 'HARDEN_WRITABLE_ANCESTOR')?.message ?? ''
  t.match(writable, `exchange it: '${folder}/jail'`)
  t.equal(writable.includes(`'${folder}'`), process.getuid?.() !== 0, 'the folder itself is of whoever runs this')
  t.match(found('/', 'HARDEN_PROC_IN_CHROOT')?.message, "the chroot '/'")
  t.equal(found(folder, 'HARDEN_PROC_IN_CHROOT'), undefined)
})

t.test('the environment', async (t) => {
  const found = (environment: NodeJS.ProcessEnv, uid = 1000) => {
    for (const name of ['HOME', 'USER', 'LOGNAME']) delete process.env[name]
    Object.assign(process.env, environment)
    return find({ plan: { wanted: { ...wanted, user: only(uid) } } })
  }
  const all = { HOME: '/root', USER: 'root', LOGNAME: 'root' }
  const finding = { code: 'HARDEN_ENVIRONMENT', level: 'note' as const }
  alone(t, found(all), {
    ...finding,
    message: /^HOME, USER, LOGNAME in the environment are root's still/,
    remedy: 'set or delete process.env.HOME, process.env.USER, process.env.LOGNAME',
  })
  for (const name of ['HOME', 'USER', 'LOGNAME'] as const)
    alone(t, found({ [name]: all[name] }), {
      ...finding,
      message: new RegExp(`^${name} in the environment is root's still`),
      remedy: `set or delete process.env.${name}`,
    })
  t.same(found({ HOME: '/', USER: 'mail', LOGNAME: '' }), [])
  t.same(found({ HOME: 'root', USER: '/root', LOGNAME: '0' }), [])
  t.same(found(all, 0), [], 'user root')
})

t.test('group 0', async (t) => {
  const found = (set: Partial<Credentials>) => find({ plan: { wanted: { ...wanted, ...set } } })
  const finding = { code: 'HARDEN_GROUP_ROOT', level: 'note' as const, remedy: /'supplementalGroups'$/ }
  alone(t, found({ group: only(0) }), { ...finding, message: /^group 0, root's, is the group of the process$/ })
  const message = /^group 0, root's, is among the supplementary groups of the process$/
  alone(t, found({ groups: [0, 8] }), { ...finding, message })
  t.same(found({ groups: [8] }), [])
  t.same(found({ group: only(0), groups: [0], user: only(0) }), [], 'user root')
})

t.test('files that the new user could not open', async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'privdrop-hazards-')))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const odd = openSync(join(folder, "mail\n'log'"), 'w')
  const device = openSync('/dev/null', 'r')
  t.teardown(() => [odd, device].map((descriptor) => closeSync(descriptor)))
  alone(t, [foreignFiles([device, odd, 1_000_000])], {
    code: 'HARDEN_DESCRIPTORS',
    level: 'note',
    message: `goes on using: descriptor ${device} ('/dev/null'), descriptor ${odd} ("${folder}/mail\\n'log'"), descriptor 1000000 (closed by now)`,
    remedy: /^give the files to the new user if they are to be opened again/,
  })
})
