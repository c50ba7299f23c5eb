/** Promise: what weakens a plan is named, with a remedy; what vanishes or is hidden does no harm. */
import fs, { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { Finding, Plan, Scene } from '../lib/contract'
import type { LinuxAddon, OpenDescriptor } from '../lib/native'
import * as addon from '../lib/native'
import { linux as platform } from '../lib/platform/linux'
import * as linux from '../lib/platform/linux/hazards'
import { allFour, plan as anyPlan, descriptorOf, type Masked, observed, stateOf, nothing as wanted } from './states'

const plan: Plan = { ...anyPlan, wanted: stateOf(wanted), accountGroups: [] }
const root = { path: '/srv/smtp', descriptor: 9, place: '1:2' }
const cap = (number: number) => 1n << BigInt(number)
const listens = descriptorOf(3, 'listens')

const failure = (code: string, errno: number) => Object.assign(new Error(code), { code, errno, syscall: 'open' })
const gone = failure('ENOENT', -2)

/** Text of a file; an Error is thrown. */
type Entry = string | Error

const MINE = process.pid

/** A process with one thread, and nothing to find. */
const plain: Record<string, Entry> = {
  '/proc/self/stat': `${MINE} (a) (b)) R 1 1 1 0 -1 4194304`,
  '/proc/self/limits': 'Max processes             unlimited            unlimited            processes \n',
  '/proc/sys/fs/suid_dumpable': '0\n',
}

interface World {
  entries?: Record<string, Entry>
  isWorker?: boolean
  root?: Plan['root']
  wanted?: Partial<Masked>
  before?: Partial<Masked>
  descriptors?: readonly OpenDescriptor[]
  steps?: Plan['steps']
}

let world = plain
const cluster = { isWorker: false }

/** Of `world`, by a number that no descriptor of this process has. */
const open = new Map<number, string>()
const NO_DESCRIPTOR = 1_000_000

/** What the native code answers. */
let session: number[] | number = []
let fileMask = 0n
const fake = {
  ...addon.native<LinuxAddon>(),
  sessionRoot: () => session,
  fileCapabilities: () => fileMask,
}

/** The hazards with another /proc, which is `world`: by path, or by call and path. */
function load(): typeof import('../lib/platform/linux/hazards') {
  const look = (call: string, path: string): string => {
    const entry = world[`${call} ${path}`] ?? world[path] ?? gone
    if (entry instanceof Error) throw entry
    return entry
  }
  const proc = t.mockRequire<typeof import('../lib/platform/linux/proc')>('../lib/platform/linux/proc', {
    'node:fs': {
      ...fs,
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
  })
  return t.mockRequire('../lib/platform/linux/hazards', {
    '../lib/platform/linux/proc': proc,
    '../lib/native': { ...addon, native: () => fake },
    'node:cluster': cluster,
  })
}

const { hazards, rootChildren, waysToRoot } = load()

function find({ entries = {}, isWorker = false, root, steps = plan.steps, ...rest }: World = {}): Finding[] {
  world = { ...plain, ...entries }
  cluster.isWorker = isWorker
  const descriptors = 'descriptors' in rest ? rest.descriptors : [listens]
  const ofPlan: Plan = {
    ...plan,
    ...{
      wanted: stateOf({ ...wanted, ...rest.wanted }),
      before: observed({ groups: [], ...rest.before }),
      root,
      steps,
    },
  }
  const scene: Scene = { platform, plan: ofPlan, descriptors, unread: new Set() }
  const found = hazards.flatMap((hazard) => hazard(scene) ?? [])
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
    [`/proc/${process.ppid}/status`]: 'Name:\tnode\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\n',
    '/proc/12/stat': '12 (a) S 1 1 1',
    '/proc/1/stat': '1 (init) S 0 1 1',
    '/proc/self/stat': `${MINE} (a) R 1 1 1 34816 -1`,
    '/proc/self/limits': 'Max processes             7                    7                    processes \n',
    '/proc/self/mountinfo': '26 25 0:24 / /srv/smtp/proc rw,relatime - proc proc rw\n',
  },
  wanted: { permitted: cap(0), groups: [0] },
  root,
  descriptors: [descriptorOf(4, 'raw')],
}

t.test('nothing to find', async (t) => {
  t.same(find(), [])
  t.same(codes({ isWorker: true, descriptors: [] }), [], 'in a worker')
})

t.test('everything at once: dangers first', async (t) => {
  process.env.HOME = '/root'
  process.execArgv.push('--heapsnapshot-signal=SIGUSR2')
  session = [12]
  fileMask = cap(10)
  t.teardown(() => {
    session = []
    fileMask = 0n
  })
  const first = ['CAPABILITY_IS_ROOT danger', 'GROUP_ZERO danger', 'TIOCSTI danger', 'SIGNAL_REPORT danger']
  const last = ['SOCKETS', 'SESSION_ROOT', 'FILE_CAPABILITIES', 'NPROC', 'PROC_IN_CHROOT', 'ENVIRONMENT']
  for (const [isWorker, own] of [
    [false, 'NOT_LISTENING'],
    [true, 'PRIMARY_ROOT'],
  ] as const) {
    const found = find({ ...worst, isWorker })
    t.same(
      found.map(({ code, level }) => `${code} ${level}`),
      [...first, ...[own, ...last].map((name) => `${name} note`)].map((name) => `HARDEN_${name}`),
    )
    for (const finding of found) {
      t.strictSame(Object.keys(finding), ['code', 'level', 'message', 'remedy'])
      for (const sentence of [finding.message, finding.remedy]) t.notMatch(sentence, /[.]$|undefined|NaN|\n|^$/)
    }
  }
})

t.test('what cannot be read: not there is no finding, there and refused is said', async (t) => {
  const { entries = {}, ...rest } = worst
  const isThere = ({ message }: Error) => message !== 'ENOENT' && message !== 'ESRCH'
  for (const error of [gone, failure('EACCES', -13), failure('ESRCH', -3), failure('EMFILE', -24), new Error('odd')]) {
    const hidden = Object.fromEntries(Object.keys({ ...plain, ...entries }).map((path) => [path, error]))
    const opened = Object.keys({ ...plain, ...entries }).map((path) => [`readFileSync ${path}`, error])
    for (const isWorker of [true, false])
      for (const [title, unread] of [
        ['not to be opened', hidden],
        ['opened, and not to be read', { ...entries, ...Object.fromEntries(opened) }],
      ] as const)
        t.same(
          codes({ ...rest, entries: unread, isWorker, descriptors: undefined, steps: ['capset'] }),
          ['HARDEN_CAPABILITY_IS_ROOT', 'HARDEN_GROUP_ZERO', ...(isThere(error) ? ['HARDEN_NOT_EXAMINED'] : [])],
          `${error.message}, ${title}: what the plan itself says remains`,
        )
  }
})

t.test('this very process, for the kernel as it is', async (t) => {
  const openDescriptors = readdirSync('/proc/self/fd').length
  const ofPlan = { ...plan, wanted: stateOf({ ...wanted, groups: [0] }) }
  const scene: Scene = { platform, plan: ofPlan, descriptors: [], unread: new Set() }
  const found = linux.hazards.flatMap((hazard) => hazard(scene) ?? [])
  t.equal(readdirSync('/proc/self/fd').length, openDescriptors, 'nothing is left open')
  for (const { code, level, message, remedy } of found) {
    t.match(code, /^HARDEN_[A-Z_]+$/)
    t.match(level, /^(danger|note)$/)
    for (const sentence of [message, remedy]) t.notMatch(sentence, /[.]$|undefined|NaN|\n|^$/)
  }
  for (const code of ['HARDEN_NOT_LISTENING', 'HARDEN_GROUP_ZERO']) t.ok(found.some((finding) => finding.code === code))
})

t.test('capabilities that amount to root', async (t) => {
  const retain = (set: Partial<Masked>) => find({ wanted: set })
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
  t.same(retain({ permitted: cap(0), user: allFour(0) }), [], 'user root')
})

t.test('ways to root', async (t) => {
  t.strictSame(waysToRoot(['cap_bpf', 'cap_chown', 'cap_kill', 'cap_perfmon']), [
    ['cap_chown', 'owns any file'],
    ['cap_perfmon cap_bpf', 'read all memory'],
  ])
  t.strictSame(waysToRoot(['toString', '__proto__', 'cap_kill', 'cap_bpf']), [])
})

t.test('children that were found root by the commit', async (t) => {
  t.equal(rootChildren([]), undefined)
  world = { ...plain, '/proc/12/status': 'Name:\tsmtpd\nState:\tS\n' }
  t.match(rootChildren([11, 12]), {
    code: 'HARDEN_CHILDREN_ROOT',
    level: 'danger',
    message: /: 11, 12 \(smtpd\)$/,
    remedy: /^end them, or start them after harden\(\)/,
  })
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
  const manager = process.env.pm_id
  t.teardown(() => setEnvironment('pm_id', manager))
  process.env.pm_id = '0'
  t.match(find({ isWorker: true, entries: isRoot }), [{ code: 'HARDEN_PRIMARY_ROOT', remedy: /fork mode of pm2/ }])
  setEnvironment('pm_id', manager)
  t.same(codes({ isWorker: true, entries: primary('1\t1\t1\t1') }), [])
  t.same(codes({ isWorker: true, entries: primary('0\t0\t0\t0', 'Z') }), [], 'a zombie')
  t.same(codes({ isWorker: true, entries: primary('10\t100\t20\t1000') }), [], 'ids that only contain a 0')
  t.same(codes({ isWorker: true, entries: primary('1000\t1000\t0\t1000') }), ['HARDEN_PRIMARY_ROOT'], 'one of the ids')
  const named = { [`/proc/${process.ppid}/status`]: 'Name:\tx\rState:\tZ\nState:\tS\nUid:\t0\t0\t0\t0\n' }
  t.same(codes({ isWorker: true, entries: named }), ['HARDEN_PRIMARY_ROOT'], 'no zombie, though it calls itself so')
  t.same(codes({ isWorker: true }), [], 'hidden')
  t.same(codes({ entries: isRoot }), [], 'no cluster')
  t.intercept(process, 'connected', { value: false, configurable: true })
  t.same(codes({ isWorker: true, entries: isRoot }), [], 'it has ended, or let go of its worker')
})

t.test('the terminal', async (t) => {
  const own = { '/proc/self/stat': `${MINE} (a) 0 0 0 0 0) R 1 1 1 34816 -1` }
  const legacy = '/proc/sys/dev/tty/legacy_tiocsti'
  const finding = {
    code: 'HARDEN_TIOCSTI' as const,
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
  const refusing = (value: Entry, steps: Plan['steps']) => () =>
    codes({ entries: { '/proc/sys/fs/suid_dumpable': value }, steps })
  for (const value of ['0\n', '2\n', '10\n']) t.same(refusing(value, ['setresuid'])(), [])
  for (const hidden of [gone, failure('EACCES', -13)]) {
    alone(t, find({ entries: { '/proc/sys/fs/suid_dumpable': hidden }, steps: ['setresuid'] }), {
      code: 'HARDEN_NOT_EXAMINED',
      level: 'note',
      message: /: \/proc\/sys\/fs\/suid_dumpable$/,
      remedy: /ProcSubset=all/,
    })
    t.same(refusing(hidden, ['capset'])(), [], 'nobody asks')
  }
  for (const step of ['setresuid', 'setresgid'] as const)
    t.throws(refusing('1\n', [step, 'capset']), {
      ...{ code: 'ERR_HARDEN_SUID_DUMPABLE', wanted: '0 or 2', found: '1' },
      message: /^fs\.suid_dumpable is 1: /,
      remedy: /^set sysctl fs\.suid_dumpable=0 \(.+\), or 2 /,
    })
  t.same(refusing('1\n', ['setgroups', 'capset', 'no_new_privs'])(), [], 'no id changes')
})

t.test('sockets', async (t) => {
  const finding = (sockets: string) => ({
    code: 'HARDEN_SOCKETS' as const,
    level: 'note' as const,
    message: `these sockets keep the access they were opened with: ${sockets}`,
    remedy: /^close them before harden\(\)/,
  })
  for (const kind of ['raw', 'packet', 'netlink'] as const)
    alone(t, find({ descriptors: [listens, descriptorOf(8, kind)] }), finding(`descriptor 8 (${kind})`))
  const both = [descriptorOf(8, 'packet'), listens, descriptorOf(19, 'netlink')]
  alone(t, find({ descriptors: both }), finding('descriptor 8 (packet), descriptor 19 (netlink)'))
  const peer = descriptorOf(8, 'peer', { name: '/run/dbus/sock' })
  alone(t, find({ descriptors: [listens, peer] }), finding("descriptor 8 (connected to '/run/dbus/sock')"))
  for (const kind of ['file', 'datagram', 'listens'] as const)
    t.same(codes({ descriptors: [listens, descriptorOf(8, kind)] }), [], kind)
  t.same(codes({ descriptors: [listens, { ...peer, descriptor: 2 }] }), [], 'standard error')
  const channel = process.env.NODE_CHANNEL_FD
  t.teardown(() => setEnvironment('NODE_CHANNEL_FD', channel))
  process.env.NODE_CHANNEL_FD = '8'
  t.same(codes({ descriptors: [listens, peer] }), [], 'the channel to a parent')
  setEnvironment('NODE_CHANNEL_FD', channel)
  t.same(codes({ descriptors: both, isWorker: true }), ['HARDEN_SOCKETS'], 'in a cluster, too')
  t.same(codes({ descriptors: undefined }), [], 'unknown')
})

t.test('root in the same session', async (t) => {
  t.teardown(() => {
    session = []
  })
  session = [11, 12]
  const note = {
    code: 'HARDEN_SESSION_ROOT',
    level: 'note',
    remedy: /^end them if they are helpers of an earlier start/,
  } as const
  alone(t, find({ entries: { '/proc/11/status': 'Name:\thelper\nUid:\t0\t0\t0\t0\n' } }), {
    ...note,
    message: /are root, and not ancestors of this process: 11 \(helper\), 12$/,
  })

  session = Array.from({ length: 7 }, (_, index) => 11 + index)
  alone(t, find(), { ...note, message: /: 11, 12, 13, 14, 15 and 2 more$/ })
  session = 24
  const unread = { code: 'HARDEN_NOT_EXAMINED', level: 'note', message: /: \/proc \(EMFILE\)$/, remedy: /./ } as const
  alone(t, find(), unread)
  session = [11, 12]

  const childOf = (parent: number) => `11 (a) 1 (b) S ${parent} 1 1`
  const fellows = (primary: string, parent = process.ppid) => ({
    '/proc/1/stat': '1 (init) S 0 1 1',
    [`/proc/${process.ppid}/status`]: `Name:\tnode\nState:\tS\nUid:\t${primary}\n`,
    '/proc/11/stat': childOf(parent),
    '/proc/12/stat': childOf(parent),
  })
  const [root, nobody] = ['0\t0\t0\t0', '1\t1\t1\t1']
  t.same(codes({ isWorker: true, entries: fellows(root) }), ['HARDEN_PRIMARY_ROOT'], 'workers of one root primary')
  t.same(codes({ isWorker: true, entries: fellows(nobody) }), ['HARDEN_SESSION_ROOT'], 'left behind by a primary')
  t.same(codes({ isWorker: false, entries: fellows(root) }), ['HARDEN_SESSION_ROOT'], 'no cluster')
  const others = ['HARDEN_PRIMARY_ROOT', 'HARDEN_SESSION_ROOT']
  t.same(codes({ isWorker: true, entries: fellows(root, 1) }), others, 'of another parent')
  const further = { ...fellows(root, 13), '/proc/13/stat': `13 (a) S ${process.ppid} 1 1` }
  t.same(codes({ isWorker: true, entries: further }), ['HARDEN_PRIMARY_ROOT'], 'what a fellow worker has started')
})

t.test('file capabilities of node', async (t) => {
  t.teardown(() => {
    fileMask = 0n
  })
  fileMask = cap(10) | cap(13)
  alone(t, find({ wanted: { bounding: cap(10) } }), {
    code: 'HARDEN_FILE_CAPABILITIES',
    level: 'note',
    message: /has file capabilities that no child may have any more: cap_net_raw; fork\(\)/,
    remedy: `remove them: setcap -r ${process.execPath}`,
  })
  t.same(codes({ wanted: { bounding: cap(10) | cap(13) } }), [], 'all may still be had')
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
  t.same(codes({ entries: limits('7'), before: { user: allFour(1000) } }), [], 'the same user as before')
  const another = { ...allFour(1000), real: 1001 }
  t.same(codes({ entries: limits('7'), before: { user: another } }), ['HARDEN_NPROC'], 'the real one counts')
  t.same(codes({ entries: { '/proc/self/limits': gone } }), [])
})

t.test('/proc in the chroot', async (t) => {
  const mount = (place: string, type = 'proc') => `26 25 0:24 / ${place} rw,nosuid shared:5 - ${type} proc rw\n`
  const others = mount('/') + mount('/proc') + mount('/srv/smtp', 'ext4')
  const within = (root: Plan['root'], lines: string) =>
    find({ root, entries: { '/proc/self/mountinfo': mount('/', 'ext4') + lines } })
  alone(t, within(root, mount('/srv/smtp/proc')), {
    code: 'HARDEN_PROC_IN_CHROOT',
    level: 'note',
    message: /^\/proc is mounted in the chroot '\/srv\/smtp': /,
    remedy: /^unmount it there/,
  })
  for (const [title, path, lines, found] of [
    ['wherever it is', '/srv/smtp', mount('/srv/smtp/a/b'), true],
    ['in a folder with a space', '/srv/a b', mount('/srv/a\\040b/proc'), true],
    ['with a backslash', '/srv/a\\b', mount('/srv/a\\134b/proc'), true],
    ['the root itself', '/', mount('/proc'), true],
    ['another file system', '/srv/smtp', mount('/srv/smtp/proc', 'ext4'), false],
    ['one that is called so', '/srv/smtp', mount('/srv/smtp/proc', 'fuse.proc'), false],
    ['outside', '/srv/smtp', others, false],
    ['beside', '/srv/smtp', mount('/srv/smtp2/proc') + mount('/srv'), false],
    ['odd lines', '/srv/smtp', '\n7\n - proc\n', false],
  ] as const)
    t.equal(within({ ...root, path }, lines).length > 0, found, title)
  t.same(codes({ root }), [], 'it cannot be read')
  t.same(within(undefined, mount('/srv/smtp/proc')), [], 'no chroot')
})
