/** Promise: what the kernel says is read exactly or not at all, and every difference is found, excess and lack alike. */
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import {
  type Credentials,
  compare,
  compareWords,
  type Discrepancy,
  describe as describeDifference,
  inWords,
  parseReading,
  parseStatus,
  parseTask,
  type Seen,
  type ThreadState,
  type Words,
} from '../lib/audit'
import type { TaskText } from '../lib/native'
import { nothing, only } from './states'

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
const state: ThreadState = {
  tid: 4719,
  name: 'libuv-worker',
  user: { real: 990, effective: 991, saved: 992, fs: 993 },
  group: { real: 890, effective: 891, saved: 892, fs: 893 },
  groups: [4, 27, 100, 100000, 4294967294],
  inheritable: 0x400n,
  permitted: 0x1fffeffffffn,
  effective: 0xa420n,
  bounding: 0x1ffffffffffn,
  ambient: 0x8000000000000001n,
  securebits: 47,
  noNewPrivileges: true,
  jailed: true,
}
const text = (status: string): TaskText => ({ tid: 4719, status, securebits: 47, jailed: true })
const parse = (status: string): ThreadState => parseTask(text(status))
const withLine = (name: string, line: string): string => captured.replace(new RegExp(`^${name}:.*\n`, 'm'), line)
const fields = ['Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs']

t.test('a captured text', async (t) => {
  t.strictSame(parse(captured), state)
  const times = { parkMicroseconds: 0, applyMicroseconds: 0, readMicroseconds: 0 }
  const other = withLine('CapBnd', 'CapBnd:\t0000000000000400\n').replace('libuv-worker', 'node')
  const tasks = [
    text(captured),
    { tid: 4720, status: captured, securebits: 0, jailed: false },
    { ...text(other), tid: 4721 },
    { ...text(captured), tid: 4722 },
  ]
  t.strictSame(parseReading({ dumpable: 0, foreign: [], ...times, tasks }), [
    state,
    { ...state, tid: 4720, securebits: 0, jailed: false },
    { ...state, tid: 4721, name: 'node', bounding: 0x400n },
    { ...state, tid: 4722 },
  ])
})

t.test('without the securebits, of which the text does not tell', async (t) => {
  const { securebits: _, ...rest } = state
  for (const jailed of [true, false]) {
    const found = parseStatus({ tid: 4719, status: captured, jailed })
    t.strictSame(found, { ...rest, jailed })
    t.notOk('securebits' in found, 'unknown is not none')
  }
  t.throws(() => parseStatus({ tid: 4719, status: withLine('CapBnd', ''), jailed: false }), {
    name: 'Error',
    message: 'the status of thread 4719 has no line CapBnd',
  })
})

t.test('other values', async (t) => {
  const table: [string, Partial<ThreadState>][] = [
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
    t.strictSame(
      parse(withLine(line.slice(0, line.indexOf(':')), line)),
      { ...state, ...changed },
      JSON.stringify(line),
    )
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
  const names = [
    '',
    ' ',
    'a b',
    '(x) S 1',
    'Uid:\t0\t0\t0\t0',
    '\\nUid:\t0\t0',
    '\\\\',
    'CapPrm:',
    '\xe9\xff',
    '__proto__',
  ]
  for (const name of names)
    t.strictSame(parse(withLine('Name', `Name:\t${name}\n`)), { ...state, name }, JSON.stringify(name))
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
  t.strictSame(parse(captured.slice(0, end)), state)
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
      { name: 'Error', message: new RegExp(`4719.*${name}`) },
      `${name}: ${text}`,
    )
})

t.test('this process, as its own kernel has it', async (t) => {
  const read = (path: string) => parseTask({ ...text(readFileSync(path, 'latin1')), tid: 1 })
  const { user, group, groups, permitted, effective, ambient } = read('/proc/self/status')
  t.match(user, { real: process.getuid?.(), effective: process.geteuid?.(), fs: process.geteuid?.() })
  t.match(group, { real: process.getgid?.(), effective: process.getegid?.(), fs: process.getegid?.() })
  // Node's list has the effective group in any case
  t.strictSame([...new Set([...groups, group.effective])].sort(), [...new Set(process.getgroups?.())].sort())
  t.equal((effective | ambient) & ~permitted, 0n)

  const own = readFileSync('/proc/self/comm', 'latin1').trimEnd()
  t.teardown(() => writeFileSync('/proc/self/comm', own))
  const before = read('/proc/self/status')
  for (const name of ['a b', '\nUid:\t0\t0\t0', 'Uid:\t9\t9\t9\t9', '\\', '\n\n\n', '\tCapPrm:\t0\n', 'iou-sqp-1']) {
    writeFileSync('/proc/self/comm', name)
    const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
    t.strictSame(read('/proc/self/status'), { ...before, name: escaped }, JSON.stringify(name))
  }
})

/** One of everything, so that there is something to lack. */
const wanted: Credentials = {
  user: { real: 1000, effective: 1000, saved: 1000, fs: 1000 },
  group: { real: 100, effective: 100, saved: 100, fs: 100 },
  groups: [8, 12],
  permitted: 0x401n,
  effective: 0x400n,
  inheritable: 0x400n,
  bounding: 0x401n,
  ambient: 0x400n,
  securebits: 5,
  noNewPrivileges: true,
  jailed: true,
}
const thread: ThreadState = { ...wanted, tid: 4711, name: 'node' }

t.test('no difference', async (t) => {
  t.strictSame(compare(wanted, [thread, { ...thread, tid: 4712, name: 'other' }]), [])
})

t.test('every difference of every field', async (t) => {
  const set = (mask: string) => `0x${mask.padStart(16, '0')}`
  type Row = [field: string, changed: Partial<Credentials>, wanted: string, found: string]
  const table: Row[] = [
    ...(['real', 'effective', 'saved', 'fs'] as const).flatMap((which, index): Row[] => {
      const but = (id: number, other: number) =>
        Array.from({ length: 4 }, (_, at) => (at === index ? other : id)).join(' ')
      return [
        ['user', { user: { ...wanted.user, [which]: 0 } }, '1000 1000 1000 1000', but(1000, 0)],
        ['user', { user: { ...wanted.user, [which]: 4294967295 } }, '1000 1000 1000 1000', but(1000, 4294967295)],
        ['group', { group: { ...wanted.group, [which]: 0 } }, '100 100 100 100', but(100, 0)],
        ['group', { group: { ...wanted.group, [which]: 101 } }, '100 100 100 100', but(100, 101)],
      ]
    }),
    ['groups', { groups: [] }, '8 12', ''],
    ['groups', { groups: [8] }, '8 12', '8'],
    ['groups', { groups: [0, 8, 12] }, '8 12', '0 8 12'],
    ['groups', { groups: [8, 12, 12] }, '8 12', '8 12 12'],
    ['groups', { groups: [812] }, '8 12', '812'],
    ...(['permitted', 'bounding'] as const).flatMap((field): Row[] => [
      [field, { [field]: 0n }, set('401'), set('0')],
      [field, { [field]: 0x400n }, set('401'), set('400')],
      [field, { [field]: 0x403n }, set('401'), set('403')],
      [field, { [field]: 0x8000000000000401n }, set('401'), set('8000000000000401')],
    ]),
    ...(['effective', 'inheritable', 'ambient'] as const).flatMap((field): Row[] => [
      [field, { [field]: 0n }, set('400'), set('0')],
      [field, { [field]: 0x401n }, set('400'), set('401')],
      [field, { [field]: 0x1fffffffffn }, set('400'), set('1fffffffff')],
    ]),
    ['securebits', { securebits: 0 }, '5', '0'],
    ['securebits', { securebits: 21 }, '5', '21'],
    ['noNewPrivileges', { noNewPrivileges: false }, 'true', 'false'],
    ['jailed', { jailed: false }, 'true', 'false'],
  ]
  t.strictSame([...new Set(table.map(([field]) => field))].sort(), Object.keys(wanted).sort(), 'no field is left out')

  for (const [field, changed, inPlan, inKernel] of table) {
    const title = `${field}: ${inKernel || 'none'}`
    const expected = { tid: 4711, name: 'node', field }
    t.strictSame(
      compare(wanted, [{ ...thread, ...changed }]),
      [{ ...expected, wanted: inPlan, found: inKernel }],
      title,
    )
    // and the other way round: excess becomes lack
    t.strictSame(compare({ ...wanted, ...changed }, [thread]), [{ ...expected, wanted: inKernel, found: inPlan }])
  }
})

t.test('all of them, of all threads', async (t) => {
  const other: ThreadState = {
    ...nothing,
    ...{ tid: 4713, name: 'odd one', user: only(0), group: only(0), noNewPrivileges: false },
  }
  const differences = compare(wanted, [thread, other, { ...thread, tid: 4714, groups: [8] }])
  t.strictSame(
    differences.map(({ tid, name, field }) => `${tid} ${name} ${field}`).sort(),
    [...Object.keys(wanted).map((field) => `4713 odd one ${field}`), '4714 node groups'].sort(),
  )
})

const plain: Words = {
  user: '1000 1000 1000 1000',
  group: '100 100 100 100',
  groups: '8 12',
  permitted: '0x0000000000000401',
  effective: '0x0000000000000400',
  inheritable: '0x0000000000000400',
  bounding: '0x0000000000000401',
  ambient: '0x0000000000000400',
  securebits: '5',
  noNewPrivileges: 'true',
  jailed: 'true',
}

t.test('a state in words', async (t) => {
  t.strictSame(inWords(wanted), plain)
  t.strictSame(inWords(thread), plain, 'neither the number nor the name of a thread')
  t.strictSame(JSON.parse(JSON.stringify(inWords(wanted))), plain, 'they can be kept as JSON')
  t.strictSame(
    inWords({
      ...wanted,
      user: { real: 1, effective: 2, saved: 3, fs: 4 },
      group: { real: 5, effective: 6, saved: 7, fs: 8 },
      groups: [],
      permitted: 1n,
      effective: 2n,
      inheritable: 4n,
      bounding: 8n,
      ambient: 2n ** 63n,
      securebits: 0,
      noNewPrivileges: false,
      jailed: false,
    }),
    {
      user: '1 2 3 4',
      group: '5 6 7 8',
      groups: '',
      permitted: '0x0000000000000001',
      effective: '0x0000000000000002',
      inheritable: '0x0000000000000004',
      bounding: '0x0000000000000008',
      ambient: '0x8000000000000000',
      securebits: '0',
      noNewPrivileges: 'false',
      jailed: 'false',
    },
  )
  const { securebits: _, ...others } = plain
  t.strictSame(inWords({ ...wanted, securebits: undefined }), others, 'what is not known is left out')
})

t.test('words that were kept', async (t) => {
  const { securebits: _, ...inProc }: Seen<ThreadState> = thread
  t.strictSame(compareWords(plain, [thread, inProc]), [], 'what could not be seen is no difference')
  t.strictSame(compareWords(plain, [{ ...thread, securebits: 0 }]), [
    { tid: 4711, name: 'node', field: 'securebits', wanted: '5', found: '0' },
  ])
  t.strictSame(compareWords(plain, [inProc, { ...inProc, tid: 4712, name: 'odd one', groups: [0, 8, 12] }]), [
    { tid: 4712, name: 'odd one', field: 'groups', wanted: '8 12', found: '0 8 12' },
  ])
  t.strictSame(compareWords(plain, []), [])
  const { ambient: _ambient, ...less } = plain
  t.strictSame(
    compareWords(less, [thread]),
    [{ tid: 4711, name: 'node', field: 'ambient', wanted: 'nothing', found: '0x0000000000000400' }],
    'a field that nobody has named is not taken for equal',
  )
})

t.test('a difference in words', async (t) => {
  const difference: Discrepancy = { tid: 4711, name: 'node', field: 'groups', wanted: '8 12', found: '' }
  for (const word of ['4711', 'node', 'groups', '8 12', 'none']) t.match(describeDifference(difference), word)
  t.match(describeDifference({ ...difference, wanted: '', found: '0' }), /none.*0/)
})
