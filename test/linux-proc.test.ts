/** Promise: what the kernel says is parsed exactly or not at all, and every difference is found, excess and lack
 * alike. */
import fs, { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import * as addon from '../lib/native'
import { lineOf, listMounts, nameIn, parseStatus, readKinds, readText, typeOfMount } from '../lib/platform/linux/proc'
import { placeOf } from '../lib/root'
import { type Masked, stateOf } from './states'

/** /proc/PID/task/TID/status without most lines about memory and processors; no two values of it are alike. */
const captured = `Name:	libuv-worker
Umask:	0022
State:	S (sleeping)
Tgid:	4711
Ngid:	0
Pid:	4719
PPid:	4700
TracerPid:	0
Uid:	990	991	992	993
Gid:	890	891	892	893
FDSize:	64
Groups:	4 27 100 100000 4294967294 
NStgid:	4711
NSpid:	4719
NSpgid:	4711
NSsid:	4700
VmPeak:	  614980 kB
Threads:	7
SigQ:	1/96365
SigPnd:	0000000000000000
ShdPnd:	0000000000000000
SigBlk:	0000000000000000
SigIgn:	0000000001001000
SigCgt:	0000000188004202
CapInh:	0000000000000400
CapPrm:	000001fffeffffff
CapEff:	000000000000a420
CapBnd:	000001ffffffffff
CapAmb:	8000000000000001
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
Speculation_Store_Bypass:	vulnerable
Cpus_allowed_list:	0-1
voluntary_ctxt_switches:	12
`
const masked: Masked = {
  user: { real: 990, effective: 991, saved: 992, fs: 993 },
  group: { real: 890, effective: 891, saved: 892, fs: 893 },
  groups: [4, 27, 100, 100000, 4294967294],
  inheritable: 0x400n,
  permitted: 0x1fffeffffffn,
  effective: 0xa420n,
  bounding: 0x1ffffffffffn,
  ambient: 0x8000000000000001n,
  securebits: undefined,
  noNewPrivileges: true,
  jailed: false,
}
/** What the text tells of a state, and the name of the thread. */
function told(changed: Partial<Masked> = {}, name = 'libuv-worker') {
  const { securebits: _, jailed: _jailed, ...state } = stateOf({ ...masked, ...changed })
  return { ...state, name }
}
const parse = (status: string) => ({ ...parseStatus(status), name: nameIn(status) })
const withLine = (name: string, line: string): string => captured.replace(new RegExp(`^${name}:.*\n`, 'm'), line)
const fields = ['Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs']

t.test('a captured text', async (t) => {
  t.strictSame(parse(captured), told())
  t.strictSame(parse(withLine('CapBnd', 'CapBnd:\t0000000000000400\n').replace('libuv-worker', 'node')), {
    ...told({ bounding: 0x400n }),
    name: 'node',
  })
  const found = parseStatus(captured)
  t.notOk(Object.hasOwn(found, 'securebits') || Object.hasOwn(found, 'jailed'), 'of which it does not tell')
})

t.test('a line of it', async (t) => {
  t.equal(lineOf(captured, 'NStgid'), '4711', 'of the process, not of the thread')
  t.equal(lineOf('Name:\tnode\nNStgid:\t4711\t7\n', 'NStgid'), '4711\t7')
  t.equal(lineOf('Name:\tnode\nNStgid:\t\n', 'NStgid'), '')
  t.equal(lineOf(captured, 'Seccomp'), '2', 'and not that of Seccomp_filters')
  t.equal(lineOf(captured, 'Seccomp_filters'), '1')
  t.equal(lineOf(captured, 'NStg'), undefined)
  t.equal(lineOf('Name:\tNStgid:\t1\n', 'NStgid'), undefined, 'the name of a thread is no line')
})

t.test('other values', async (t) => {
  const table: [string, Partial<Masked>][] = [
    ['Groups:\t \n', { groups: [] }],
    ['Groups:\t\n', { groups: [] }],
    ['Groups:\t0 \n', { groups: [0] }],
    ['Groups:\t7\n', { groups: [7] }],
    ['NoNewPrivs:\t0\n', { noNewPrivileges: false }],
    ['CapEff:\tffffffffffffffff\n', { effective: 2n ** 64n - 1n }],
    ['CapEff:\t0000000000000000\n', { effective: 0n }],
    ['CapEff:\t00000000ffffffff\n', { effective: 0xffffffffn }],
    ['Uid:\t0\t0\t0\t0\n', { user: { real: 0, effective: 0, saved: 0, fs: 0 } }],
    [
      'Gid:\t4294967295\t4294967294\t65534\t0\n',
      { group: { real: 4294967295, effective: 4294967294, saved: 65534, fs: 0 } },
    ],
  ]
  for (const [line, changed] of table)
    t.strictSame(parse(withLine(line.slice(0, line.indexOf(':')), line)), told(changed), JSON.stringify(line))
})

t.test('as many groups as the kernel has', async (t) => {
  const groups = Array.from({ length: 65536 }, (_, index) => index * 65535)
  t.strictSame(parse(withLine('Groups', `Groups:\t${groups.join(' ')} \n`)).groups, groups)
})

t.test('groups in an order of the kernel', async (t) => {
  // of a user namespace whose map is not monotonic: the kernel sorts by what it maps to
  const { groups } = parse(withLine('Groups', 'Groups:\t1000 5 27 \n'))
  t.strictSame(groups, [5, 27, 1000], 'by number, not by letter')
})

t.test('names of threads that look like something else', async (t) => {
  // the kernel writes a newline as \n and a backslash as \\, and leaves all else as it is (proc_pid_status(5))
  const names = ['', ' ', 'a b', '(x) S 1', 'Uid:\t0\t0\t0\t0', '\\nUid:\t0\t0', '\\\\', 'CapPrm:', '__proto__']
  for (const name of names)
    t.strictSame(parse(withLine('Name', `Name:\t${name}\n`)), told({}, name), JSON.stringify(name))
})

t.test('the name of a thread is bytes, which mostly are UTF-8', async (t) => {
  const own = readFileSync('/proc/self/comm', 'utf8').trimEnd()
  t.teardown(() => writeFileSync('/proc/self/comm', own))
  for (const [bytes, name] of [
    [Buffer.from('größe'), 'größe'],
    [Buffer.of(0x61, 0xe9, 0xff), 'a\ufffd\ufffd'],
    [Buffer.of(0x61, 0xc3), 'a\ufffd'],
  ] as const) {
    writeFileSync('/proc/self/comm', bytes)
    t.match(readKinds('self', undefined)[0]?.threads[0], { tid: process.pid, name })
  }
})

t.test('what is missing is not assumed', async (t) => {
  for (const name of fields) {
    t.throws(() => parse(withLine(name, '')), { name: 'Error' }, `no ${name}`)
    t.throws(() => parse(withLine(name, `${name}s:\t0\n`)), { name: 'Error' }, `${name}s is another`)
    t.throws(() => parse(withLine(name, `x${name}:\t0\t0\t0\t0\n`)), { name: 'Error' }, `x${name} is another`)
    t.throws(() => parse(withLine(name, `${name}: 0\n`)), { name: 'Error' }, `${name} without a tab`)
  }
  t.throws(() => parse(''))
})

t.test('nor is what is cut off', async (t) => {
  const end = captured.indexOf('\nSeccomp:') + 1
  for (let length = 0; length < end; length++)
    if (doesNotThrow(() => parse(captured.slice(0, length)))) return t.fail(`a text of ${length} characters`)
  t.strictSame(parse(captured.slice(0, end)), told())
})

function doesNotThrow(call: () => unknown): boolean {
  try {
    call()
    return true
  } catch {
    return false
  }
}

t.test('malformed numbers', async (t) => {
  const ids = [
    '',
    '0',
    '0\t0\t0',
    'x\t0\t0\t0',
    '0\t0\t0\tx',
    '0\t0.5\t0\t0',
    '0\tNaN\t0\t0',
    '0\tInfinity\t0\t0',
    '0\t0\t0,0\t0',
  ]
  for (const name of ['Uid', 'Gid'])
    for (const text of ids) t.throws(() => parse(withLine(name, `${name}:\t${text}\n`)), JSON.stringify([name, text]))
  for (const text of ['x', '4 x', '4,27', '4.5', '4 NaN', '0x', '1e999'])
    t.throws(() => parse(withLine('Groups', `Groups:\t${text} \n`)), JSON.stringify(['Groups', text]))
  for (const name of fields.filter((field) => field.startsWith('Cap')))
    for (const text of ['', ' ', 'x', '-1', '0x0', '00000000 00000000', '00000000,00000000', '1n', '0.5', '1_0'])
      t.throws(() => parse(withLine(name, `${name}:\t${text}\n`)), JSON.stringify([name, text]))
})

t.test('numbers that the kernel does not write', async (t) => {
  const table = [
    ['Uid', '-1\t0\t0\t0'],
    ['Uid', '0x10\t0\t0\t0'],
    ['Uid', '1e3\t0\t0\t0'],
    ['Uid', '0\t0\t0\t0\t0'],
    ['Uid', '+1\t0\t0\t0'],
    ['Uid', '0\t0\t0\t0\tx'],
    ['Gid', '0\t0\t0\t0\t0'],
    ['Groups', '-1'],
    ['Groups', '4 0x10'],
    ['Groups', '1e3'],
    ['NoNewPrivs', ''],
    ['NoNewPrivs', 'x'],
    ['NoNewPrivs', '2'],
    ['NoNewPrivs', '10'],
    ['NoNewPrivs', '1 1'],
    ['NoNewPrivs', '0 1'],
    ['NoNewPrivs', '-1'],
  ]
  for (const [name, text] of table)
    t.throws(
      () => parse(withLine(`${name}`, `${name}:\t${text}\n`)),
      { name: 'Error', message: `the status of the thread has an odd line ${name}` },
      `${name}: ${text}`,
    )
})

t.test('this process, as its own kernel has it', async (t) => {
  const read = (path: string) => parse(readFileSync(path, 'utf8'))
  const { user, group, groups, sets } = read('/proc/self/status')
  t.match(user, { real: process.getuid?.(), effective: process.geteuid?.(), fs: process.geteuid?.() })
  t.match(group, { real: process.getgid?.(), effective: process.getegid?.(), fs: process.getegid?.() })
  // Node's list has the effective group in any case
  t.strictSame([...new Set([...groups, group.effective])].sort(), [...new Set(process.getgroups?.())].sort())
  const { permitted, effective, ambient = [] } = sets
  t.ok([...effective, ...ambient].every((name) => permitted.includes(name)))

  const own = readFileSync('/proc/self/comm', 'utf8').trimEnd()
  t.teardown(() => writeFileSync('/proc/self/comm', own))
  const before = read('/proc/self/status')
  for (const name of ['a b', '\nUid:\t0\t0\t0', 'Uid:\t9\t9\t9\t9', '\\', '\n\n\n', '\tCapPrm:\t0\n', 'iou-sqp-1']) {
    writeFileSync('/proc/self/comm', name)
    const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
    t.strictSame(read('/proc/self/status'), { ...before, name: escaped }, JSON.stringify(name))
  }
})

/** The text of a thread of this name. */
function textOf(name: string): string {
  return `Name:\t${name}
NSpid:\t4711
Uid:\t990\t991\t992\t993
Gid:\t890\t891\t892\t893
Groups:\t8 12${' '}
CapInh:\t0000000000000001
CapPrm:\t0000000000000002
CapEff:\t0000000000000004
CapBnd:\t0000000000000008
CapAmb:\t0000000000000010
NoNewPrivs:\t1
Seccomp:\t0
`
}
const kindOf = (jailed: boolean, threads: [tid: number, name: string][], changed: Partial<Masked> = {}) => ({
  state: stateOf({
    user: { real: 990, effective: 991, saved: 992, fs: 993 },
    group: { real: 890, effective: 891, saved: 892, fs: 893 },
    groups: [8, 12],
    inheritable: 1n,
    permitted: 2n,
    effective: 4n,
    bounding: 8n,
    ambient: 16n,
    securebits: undefined,
    noNewPrivileges: true,
    jailed,
    ...changed,
  }),
  threads: threads.map(([tid, name]) => ({ tid, name })),
  extra: '',
})

/** What a path of /proc gives: a text, the target of a link, a place, a listing; a code is an error. */
type Answers = Record<string, string | { code: string } | { dev: bigint; ino: bigint } | string[]>

/** readKinds() where /proc has this, and nothing else is asked for. */
function on(t: Test, answers: Answers) {
  const asked: string[] = []
  const ask = (path: string) => {
    asked.push(path)
    const answer = answers[path]
    if (answer === undefined) throw new Error(`${path} was not expected`)
    if (typeof answer === 'object' && 'code' in answer) throw Object.assign(new Error(answer.code), answer)
    return answer
  }
  const { readKinds } = t.mockRequire<typeof import('../lib/platform/linux/proc')>('../lib/platform/linux/proc', {
    '../lib/native': addon, // it would look for its file there
    'node:fs': {
      ...fs,
      readdirSync: ask,
      openSync: (path: string) => path,
      readFileSync: ask,
      closeSync: () => {},
      readlinkSync: ask,
      statSync: (path: string, options: unknown) => {
        t.strictSame(options, { bigint: true })
        return ask(path)
      },
    },
  })
  return { readKinds: (root?: string, pid: number | 'self' = 'self') => readKinds(pid, root), asked }
}

const folder = '/proc/self/task'
const two = { [folder]: ['4711', '4712'], [`${folder}/4711/status`]: textOf('node') }
const other = { [`${folder}/4712/status`]: textOf('libuv-worker') }

t.test('no chroot: nobody is asked for a root', async (t) => {
  const { readKinds, asked } = on(t, { ...two, ...other })
  const both = kindOf(false, [
    [4711, 'node'],
    [4712, 'libuv-worker'],
  ])
  t.strictSame(readKinds(), [both])
  t.strictSame(asked, [folder, `${folder}/4711/status`, `${folder}/4712/status`])
})

t.test('first the main thread, then the others by number', async (t) => {
  const listed = ['1005', String(process.pid), '976', '99']
  const texts = listed.map((tid) => [`${folder}/${tid}/status`, textOf('node')])
  const { readKinds } = on(t, { [folder]: listed, ...Object.fromEntries(texts) })
  t.strictSame(
    readKinds().flatMap(({ threads }) => threads.map(({ tid }) => tid)),
    [process.pid, 99, 976, 1005],
  )
})

t.test('a chroot: each one is in it with root and working directory', async (t) => {
  const inside = { root: { dev: 8n, ino: 2n }, cwd: '/' }
  const table: [title: string, other: Partial<{ root: { dev: bigint; ino: bigint }; cwd: string }>, jailed: boolean][] =
    [
      ['inside', {}, true],
      ['deeper', { cwd: '/var/spool' }, true],
      ['another root', { root: { dev: 8n, ino: 3n } }, false],
      ['another device', { root: { dev: 9n, ino: 2n } }, false],
      ['numbers that only run together alike', { root: { dev: 82n, ino: 2n } }, false],
      ['a working directory outside', { cwd: '(unreachable)/home' }, false],
    ]
  for (const [title, changed, jailed] of table) {
    const { root, cwd } = { ...inside, ...changed }
    const { readKinds } = on(t, {
      ...two,
      ...other,
      [`${folder}/4711/root`]: inside.root,
      [`${folder}/4711/cwd`]: inside.cwd,
      [`${folder}/4712/root`]: root,
      [`${folder}/4712/cwd`]: cwd,
    })
    const first: [number, string] = [4711, 'node']
    const second: [number, string] = [4712, 'libuv-worker']
    t.strictSame(
      readKinds('8:2'),
      jailed ? [kindOf(true, [first, second])] : [kindOf(true, [first]), kindOf(false, [second])],
      `${title}: each by its own`,
    )
  }
})

t.test('a thread that ends meanwhile is none', async (t) => {
  const place = { dev: 8n, ino: 2n }
  const first = { ...two, [`${folder}/4711/root`]: place, [`${folder}/4711/cwd`]: '/' }
  const links = { [`${folder}/4712/root`]: place, [`${folder}/4712/cwd`]: '/' }
  for (const code of ['ENOENT', 'ESRCH'])
    for (const file of ['status', 'root', 'cwd']) {
      const { readKinds } = on(t, { ...first, ...other, ...links, [`${folder}/4712/${file}`]: { code } })
      t.strictSame(readKinds('8:2'), [kindOf(true, [[4711, 'node']])], `${file}: ${code}`)
    }
})

t.test('what cannot be read, or not understood, is thrown', async (t) => {
  const place = { dev: 8n, ino: 2n }
  const first = { ...two, [`${folder}/4711/root`]: place, [`${folder}/4711/cwd`]: '/' }
  const links = { [`${folder}/4712/root`]: place, [`${folder}/4712/cwd`]: '/' }
  for (const code of ['EACCES', 'EPERM', 'EMFILE', 'EIO'])
    for (const file of ['4712/status', '4712/root', '4712/cwd']) {
      const { readKinds } = on(t, { ...first, ...other, ...links, [`${folder}/${file}`]: { code } })
      t.throws(() => readKinds('8:2'), { code }, `${file}: ${code}`)
    }
  for (const code of ['ENOENT', 'EACCES', 'EMFILE'])
    t.throws(() => on(t, { [folder]: { code } }).readKinds(), { code }, 'not even who there is')
  const odd = textOf('odd one').replace(/^CapBnd.*\n/m, '')
  const { readKinds } = on(t, { ...two, [`${folder}/4712/status`]: odd })
  t.throws(() => readKinds(), { name: 'Error', message: 'the status of the thread has no line CapBnd' })
})

t.test(
  'threads that are alike, together: what is of their credentials tells them apart, and nothing else',
  async (t) => {
    const same = textOf('same').replace('NSpid:\t4711', 'NSpid:\t4712').replace('Seccomp:\t0', 'Seccomp:\t2')
    const alike = on(t, { ...two, [`${folder}/4712/status`]: same })
    t.strictSame(alike.readKinds(), [
      kindOf(false, [
        [4711, 'node'],
        [4712, 'same'],
      ]),
    ])
    const table: [string, string, Partial<Masked>][] = [
      ['Uid:\t990\t991', 'Uid:\t990\t0', { user: { real: 990, effective: 0, saved: 992, fs: 993 } }],
      ['Gid:\t890', 'Gid:\t0', { group: { real: 0, effective: 891, saved: 892, fs: 893 } }],
      ['Groups:\t8 12', 'Groups:\t8', { groups: [8] }],
      ['CapInh:\t0000000000000001', 'CapInh:\t0000000000000000', { inheritable: 0n }],
      ['CapPrm:\t0000000000000002', 'CapPrm:\t0000000000000000', { permitted: 0n }],
      ['CapEff:\t0000000000000004', 'CapEff:\t0000000000000000', { effective: 0n }],
      ['CapBnd:\t0000000000000008', 'CapBnd:\t0000000000000000', { bounding: 0n }],
      ['CapAmb:\t0000000000000010', 'CapAmb:\t0000000000000000', { ambient: 0n }],
      ['NoNewPrivs:\t1', 'NoNewPrivs:\t0', { noNewPrivileges: false }],
    ]
    for (const [line, instead, changed] of table) {
      const { readKinds } = on(t, {
        [folder]: ['4711', '4712', '4713'],
        [`${folder}/4711/status`]: textOf('node'),
        [`${folder}/4712/status`]: textOf('odd one').replace(line, instead),
        [`${folder}/4713/status`]: textOf('last'),
      })
      const first = kindOf(false, [
        [4711, 'node'],
        [4713, 'last'],
      ])
      t.strictSame(readKinds(), [first, kindOf(false, [[4712, 'odd one']], changed)], instead)
    }
  },
)

t.test('what the caller asks for tells threads apart, too', async (t) => {
  const kinds = readKinds('self', undefined, (status) => `${nameIn(status)}!`)
  t.ok(kinds.every(({ extra, threads }) => threads.every(({ name }) => extra === `${name}!`)))
})

t.test('of another process: first the thread of its number', async (t) => {
  const status = (tid: number) => ({ [`/proc/77/task/${tid}/status`]: textOf(`${tid}`) })
  const { readKinds } = on(t, { '/proc/77/task': ['12', '77', '80'], ...status(12), ...status(77), ...status(80) })
  t.strictSame(
    readKinds(undefined, 77).flatMap(({ threads }) => threads.map(({ tid }) => tid)),
    [77, 12, 80],
  )
})

t.test('the threads of this process', async (t) => {
  const status = readFileSync(`/proc/self/task/${process.pid}/status`, 'utf8')
  const known = new Set(readdirSync('/proc/self/task'))
  const [first, ...more] = readKinds('self', undefined)
  t.ok([first, ...more].every((kind) => kind?.threads.every(({ tid }) => known.has(`${tid}`))))
  t.equal(first?.threads[0]?.tid, process.pid)
  t.strictSame(first?.state, { ...parseStatus(status), securebits: undefined, jailed: false })

  // the root of this process is a root that it might have been asked to have; its working directory is inside
  const root = placeOf(statSync('/', { bigint: true }))
  t.ok(readKinds('self', root).every(({ state }) => state.jailed))
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-proc-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  t.notOk(readKinds('self', placeOf(statSync(folder, { bigint: true }))).some(({ state }) => state.jailed))
})

/** listMounts() and typeOfMount() where the kernel says this of mounts. */
function withMounts(t: Test, mountinfo: string | Error) {
  return t.mockRequire<typeof import('../lib/platform/linux/proc')>('../lib/platform/linux/proc', {
    '../lib/native': addon,
    'node:fs': {
      ...fs,
      openSync: (path: string) => path,
      closeSync: () => {},
      readFileSync: (path: string, encoding: BufferEncoding) => {
        t.equal(path, '/proc/self/mountinfo')
        if (mountinfo instanceof Error) throw mountinfo
        return Buffer.from(mountinfo).toString(encoding)
      },
    },
  })
}

t.test('mounts', async (t) => {
  const line = (place: string, type: string) =>
    `26 25 0:24 / ${place} rw,nosuid shared:5 master:1 - ${type} source rw\n`
  const { listMounts, typeOfMount } = withMounts(
    t,
    line('/', 'ext4') +
      line('/mnt/a\\040b', 'fuse.sshfs') +
      line('/mnt/a\\134b', 'nfs4') +
      line('/größe', 'fuse') +
      line('/mnt', 'tmpfs') +
      line('/mnt', 'xfs'),
  )
  t.strictSame(listMounts(), [
    { path: '/', type: 'ext4' },
    { path: '/mnt/a b', type: 'fuse.sshfs' },
    { path: '/mnt/a\\b', type: 'nfs4' },
    { path: '/größe', type: 'fuse' },
    { path: '/mnt', type: 'tmpfs' },
    { path: '/mnt', type: 'xfs' },
  ])
  for (const [path, type] of [
    ['/', 'ext4'],
    ['/etc/key.pem', 'ext4'],
    ['/mnt/a b', 'fuse.sshfs'],
    ['/mnt/a b/c', 'fuse.sshfs'],
    ['/mnt/a\\b/c', 'nfs4'],
    ['/größe/c', 'fuse'],
    ['/mnt/a bc', 'tmpfs'],
    ['/mntx', 'ext4'],
  ] as const)
    t.equal(typeOfMount(path), type, path)
  t.equal(withMounts(t, line('/srv', 'ext4')).typeOfMount('/etc'), '', 'nothing is above it')
  t.equal(withMounts(t, new Error('ENOENT')).typeOfMount('/'), '', 'unknown')
  t.throws(() => withMounts(t, new RangeError('hidden')).listMounts(), { message: 'hidden' })
  t.strictSame(withMounts(t, '7\n').listMounts(), [{ path: '', type: '' }], 'an odd line')
})

t.test('a text is closed, whether it can be read or not', async (t) => {
  const open = readdirSync('/proc/self/fd').length
  t.equal(readText('/proc/self/comm'), readFileSync('/proc/self/comm', 'utf8'))
  t.throws(() => readText('/proc'), { code: 'EISDIR', syscall: 'read' })
  t.throws(() => readText('/proc/0'), { code: 'ENOENT', syscall: 'open' })
  t.equal(readdirSync('/proc/self/fd').length, open)
})

t.test('the mounts of this process', async (t) => {
  t.ok(listMounts().some(({ path, type }) => path === '/proc' && type === 'proc'))
  t.equal(typeOfMount('/proc/self/status'), 'proc')
})
