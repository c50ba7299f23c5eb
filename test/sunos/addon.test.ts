/** Promise: the prebuild for Solaris and illumos keeps to the rules of that system; by a model of it, not on it. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { live } from '../live/live'
import { changes, errno, Zone } from './zone'

const steps = ['setgroups', 'setgid', 'setpflags', 'setuid', 'permitted', 'limit', 'effective']
const wanted = 'net_access,net_privaddr,proc_fork'
const plan = {
  steps,
  uid: 990,
  gid: 991,
  groups: [8, 12],
  permitted: wanted,
  limit: wanted,
  effective: 'net_access,net_privaddr',
  root: -1,
  keepSigusr1: false,
  attempts: [] as { step: string; path: string; port: number }[],
}
const path = (step: string, path: string) => ({ step, path, port: 0 })
const port = (port: number) => ({ step: 'bind', path: '', port })
const hardened = {
  user: [990, 990, 990],
  group: [991, 991, 991],
  groups: [8, 12],
  privileges: {
    permitted: wanted.split(','),
    limit: wanted.split(','),
    effective: ['net_access', 'net_privaddr'],
    inheritable: [
      'file_link_any',
      'file_read',
      'file_write',
      'net_access',
      'proc_exec',
      'proc_fork',
      'proc_info',
      'proc_secflags',
      'proc_session',
    ],
  },
  flags: ['PRIV_AWARE'],
  protected: true,
  sigusr1Ignored: true,
  groupsMax: 16,
}
const failure = (step: string, syscall: string, fields = {}) => ({
  ...{ step, syscall, errno: 0, signal: 0, tid: 0, item: 0 },
  ...fields,
})
const order = [
  'sigaction 10',
  'setpflags 0x8 1',
  'setgroups 2 8 12',
  'setgid 991',
  'setpflags 0x2 1',
  'setuid 990',
  `setppriv Permitted ${wanted}`,
  `setppriv Limit ${wanted}`,
  'setppriv Effective net_access,net_privaddr',
]

let made: Zone | undefined
function zone(): Zone {
  made ??= new Zone(t)
  return made
}

live('observe', ['cc'], async (t) => {
  const { answers, calls } = zone().ask([['observe']])
  t.match(answers[0], {
    ...{ user: [0, 0, 0], group: [0, 0, 0], groups: [0, 12], flags: [], protected: false, sigusr1Ignored: false },
    groupsMax: 16,
  })
  t.ok(calls.includes('ucred_get'))
  const { permitted, limit, effective, inheritable } = (answers[0] as typeof hardened).privileges
  t.strictSame(permitted, limit)
  t.strictSame(permitted, effective)
  t.ok(['net_privaddr', 'sys_net_config', 'proc_setid'].every((name) => permitted.includes(name)))
  t.strictSame(inheritable, hardened.privileges.inheritable)

  const [plain] = zone().ask([['observe']], { uid: 990, groups: 1024 }).answers
  t.match(plain, { user: [990, 990, 990], groupsMax: 1024, privileges: { permitted: inheritable } })
  const [shared] = zone().ask([['observe']], { zone: 'shared' }).answers as (typeof hardened)[]
  t.notOk(shared?.privileges.limit.some((name) => name === 'net_rawaccess' || name === 'sys_net_config'))
  const [exclusive] = zone().ask([['observe']], { zone: 'exclusive' }).answers as (typeof hardened)[]
  t.ok(exclusive?.privileges.limit.includes('net_rawaccess'))
  t.strictSame(
    [permitted, shared?.privileges.limit, exclusive?.privileges.limit].map((names) => names?.length),
    [85, 41, 45],
    'as many as illumos has, and as its zones have by default',
  )
  const [more] = zone().ask([['observe']], { zone: 'shared,net_rawaccess' }).answers as (typeof hardened)[]
  t.ok(more?.privileges.limit.includes('net_rawaccess'))
})

live('observe: what cannot be read is no answer', ['cc'], async (t) => {
  const table: [string, number][] = [
    ['sysconf=22', errno.EINVAL],
    ['ucred_get=12', errno.ENOMEM],
    ['ucred_getsuid=22', 0],
    ['ucred_getgroups=22', errno.EOVERFLOW],
    ['getppriv Limit=22', errno.EINVAL],
    ['getpflags 0x2=22', errno.EINVAL],
    ['getpflags 0x100=14', 14],
    ['priv_allocset=12', errno.ENOMEM],
    ['priv_set_to_str=12', errno.ENOMEM],
  ]
  for (const [fail, number] of table) {
    const { answers } = zone().ask([['observe']], { fail })
    t.match(answers[0], { step: 'observe', syscall: 'ucred_get', ...(number && { errno: number }) }, fail)
  }
})

live('privilegesFromText', ['cc'], async (t) => {
  const basic = hardened.privileges.inheritable
  const table: [string, unknown][] = [
    ['', []],
    ['none', []],
    [' ,\t\r\n', []],
    ['net_privaddr', ['net_privaddr']],
    ['PRIV_Net_PrivAddr', ['net_privaddr']],
    ['proc_fork,net_access net_access', ['net_access', 'proc_fork']],
    ['basic', basic],
    ['basic,-proc_fork !proc_exec', basic.filter((name) => name !== 'proc_fork' && name !== 'proc_exec')],
    ['net_privaddr none +proc_fork', ['proc_fork']],
    ['net_privadr', 0],
    ['basic net_privaddr,  nonsense', 21],
    ['-basic', 0],
    ['basic -', 6],
  ]
  const { answers } = zone().ask(table.map(([text]) => ['privilegesFromText', text]))
  for (const [index, [text, found]] of table.entries()) t.strictSame(answers[index], found, JSON.stringify(text))
  const [all] = zone().ask([['privilegesFromText', 'all']]).answers as string[][]
  const [inZone] = zone().ask([['privilegesFromText', 'zone']], { zone: 'shared' }).answers as string[][]
  t.ok(all?.includes('sys_net_config'))
  t.notOk(inZone?.includes('sys_net_config'))
  for (const fail of ['priv_str_to_set=12', 'priv_set_to_str=12'])
    t.strictSame(zone().ask([['privilegesFromText', 'net_privaddr']], { fail }).answers, [-errno.ENOMEM], fail)
})

live('setsHeld: every bit counts, with a name or without', ['cc'], async (t) => {
  const [names] = zone().ask([['privilegesFromText', 'all']]).answers as string[][]
  const held = (text: string, conditions = {}) => zone().ask([['setsHeld', text]], conditions).answers[0]
  const [basic, every] = [hardened.privileges.inheritable.join(), ['permitted', 'limit', 'effective']]
  t.strictSame(held('all'), every)
  t.strictSame(held(names?.join() ?? ''), [], 'the 85 names are not all of it')
  t.strictSame(held('zone', { zone: 'shared' }), every)
  t.strictSame(held('basic', { uid: 990 }), ['permitted', 'effective'])
  t.strictSame(held(basic, { uid: 990 }), ['permitted', 'effective'])
  for (const fail of ['priv_str_to_set=12', 'priv_allocset=12', 'getppriv Limit=12'])
    t.equal(held('all', { fail }), -errno.ENOMEM, fail)
})

live('what is kept is kept whole', ['cc'], async (t) => {
  const kept = { permitted: null, limit: null, effective: null }
  const { answers, calls } = zone().ask([['commit', { ...plan, ...kept, steps: ['effective'] }, 'verify']])
  t.match(answers, [{ state: { privileges: { effective: { length: 85 } } } }])
  t.ok(calls.includes('setppriv Effective all'), 'with the 11 bits that have no name')
  t.strictSame(zone().ask([['commit', { ...plan, ...kept }, 'verify']], { fail: 'getppriv Permitted=12' }).answers, [
    failure('memory', 'mmap', { errno: errno.ENOMEM }),
  ])
})

live('flags', ['cc'], async (t) => {
  const both = { flags: 0x180 }
  t.match(zone().ask([['observe']], both).answers, [{ flags: ['PRIV_XPOLICY', 'PRIV_PFEXEC'] }])
  t.match(zone().ask([['observe']], { ...both, fail: 'getpflags 0x80=22' }).answers, [{ flags: ['PRIV_PFEXEC'] }])
  const clearing = { ...plan, steps: ['setpflags', 'xpolicy', 'pfexec'] }
  const { answers, calls } = zone().ask([['commit', clearing, 'verify']], both)
  t.match(answers, [{ state: { flags: ['PRIV_AWARE'] } }])
  t.strictSame(changes(calls).slice(-3), ['setpflags 0x2 1', 'setpflags 0x80 0', 'setpflags 0x100 0'])
})

live('accounts, memory, children, descriptors', ['cc'], async (t) => {
  const { answers, ...outcome } = zone().ask([
    ['userByName', 'smtp'],
    ['userByName', 'nobody there'],
    ['userByName', 'broken'],
    ['userById', 990],
    ['userById', 17],
    ['groupByName', 'mail'],
    ['groupByName', 'nobody there'],
    ['groupByName', 'broken'],
    ['recall'],
    ['remember', 'what was wanted: é'],
    ['worker', ['recall']],
    ['hasChildren'],
    ['descriptors', -1],
    ['listen'],
    ['descriptors', -1],
  ])
  t.match(outcome, { status: 0, signal: null, stderr: '' })
  t.strictSame(answers.slice(0, 8), [
    { uid: 990, gid: 991 },
    undefined,
    errno.EIO,
    { gid: 991 },
    undefined,
    { gid: 8 },
    undefined,
    errno.EIO,
  ])
  t.strictSame(answers.slice(8, 13), [undefined, undefined, 'what was wanted: é', false, []])
  t.match(answers[13], [{ descriptor: Number, kind: 'listens' }])
  t.strictSame(zone().ask([['descriptors', -1]], { fail: 'fdwalk=12' }).answers, [
    failure('descriptors', 'fdwalk', { errno: errno.ENOMEM }),
  ])
  t.strictSame(zone().ask([['descriptors', '/tmp']]).answers, [[]], 'the new root itself')
  t.match(
    zone().ask([
      ['open', '/usr'],
      ['descriptors', '/tmp'],
    ]).answers[1],
    { ...failure('open directory', 'open'), item: Number },
  )
})

live('an id is no name that was not found: nscd says the same of a directory that is down', ['cc'], async (t) => {
  const { answers } = zone().ask([
    ['userByName', '4711'],
    ['groupByName', '4711'],
    ['userByName', '4711x'],
  ])
  t.strictSame(answers, [errno.ENOENT, errno.ENOENT, undefined])
})

live('descriptors: bounded without /proc, and what has gone stale is passed over', ['cc'], async (t) => {
  const noProc = 'access /proc/self/fd=2'
  const look = (conditions: object) => zone().ask([['listen'], ['descriptors', -1]], conditions)
  const { answers, calls } = look({ fail: noProc, files: 65537 })
  t.strictSame(answers, [failure('proc', 'access', { errno: errno.ENOENT })])
  t.notOk(calls.includes('fdwalk'), 'which would try 65537 numbers')
  t.match(look({ fail: noProc, files: 65536 }).answers, [[{ kind: 'listens' }]])
  t.match(look({ files: 1_000_000 }).answers, [[{ kind: 'listens' }]])
  t.strictSame(look({ fail: 'fstat=116' }).answers, [[]], 'ESTALE')
  t.match(look({ fail: 'fstat=5' }).answers, [
    { ...failure('descriptors', 'fstat', { errno: errno.EIO }), item: Number },
  ])
})

live('rehearse: all of it happens in a child', ['cc'], async (t) => {
  const attempts = [port(25), port(2525)]
  const { answers, calls } = zone().ask([['observe'], ['rehearse', { ...plan, attempts }], ['observe']])
  t.match(answers[1], { state: hardened, jailed: false, foreign: [] })
  t.strictSame((answers[1] as { state: unknown }).state, hardened)
  t.strictSame(answers[2], answers[0], 'nothing has changed')
  t.strictSame(changes(calls), [])
  const child = changes(calls, true)
  t.strictSame(child.slice(0, order.length), order)
  t.strictSame(
    child.slice(order.length).map((call) => call.slice(0, 18)),
    ['setuid 0', 'setgid 0', 'setgroups 1 0', 'setppriv Permitted'],
    'and then what must not succeed',
  )
  t.ok(calls.includes('forkx 3'), 'no SIGCHLD, and no wait for any child finds it')
})

live('rehearse: what is refused, and where', ['cc'], async (t) => {
  const rehearse = (changed: object, conditions = {}) =>
    zone().ask([['rehearse', { ...plan, ...changed }]], conditions).answers[0]
  const basic = { permitted: `${wanted},file_read`, limit: `${wanted},file_read`, effective: `${wanted},file_read` }
  const { EPERM, EINVAL, EACCES, ENOENT } = errno
  const table: [object, object, object][] = [
    [{}, { uid: 17 }, failure('setgroups', 'setgroups', { errno: EPERM })],
    [{ steps: steps.slice(1) }, { uid: 17 }, failure('setgid', 'setgid', { errno: EPERM })],
    [{ steps: steps.slice(2) }, { uid: 17 }, failure('setuid', 'setuid', { errno: EPERM })],
    [{ steps: steps.slice(4) }, { uid: 990 }, failure('permitted', 'setppriv', { errno: EPERM })],
    [{ groups: [1, 2, 3] }, { groups: 2 }, failure('setgroups', 'setgroups', { errno: EINVAL })],
    [{ permitted: 'net_rawaccess' }, { zone: 'shared' }, failure('permitted', 'setppriv', { errno: EPERM })],
    [{ limit: 'sys_net_config' }, { zone: 'exclusive' }, failure('limit', 'setppriv', { errno: EPERM })],
    [{ effective: 'proc_setid' }, {}, failure('effective', 'setppriv', { errno: EPERM })],
    [{ attempts: [path('read', '/etc/passwd')] }, {}, failure('read', 'open', { errno: EACCES })],
    [{ ...basic, attempts: [path('read', '/no/such')] }, {}, failure('read', 'open', { errno: ENOENT })],
    [{ attempts: [port(80), path('write', '/tmp')] }, {}, failure('write', 'access', { errno: EACCES, item: 1 })],
    [{ attempts: [path('write', '/no/such')] }, {}, failure('write', 'access', { errno: ENOENT })],
    [
      { permitted: 'net_access', effective: 'net_access', attempts: [port(25)] },
      {},
      failure('bind', 'bind', { errno: EACCES }),
    ],
    [{ attempts: [port(2049)] }, {}, failure('bind', 'bind', { errno: EACCES })],
  ]
  for (const [changed, conditions, answer] of table)
    t.strictSame(rehearse(changed, conditions), answer, JSON.stringify([changed, conditions]))
  t.match(rehearse({ ...basic, attempts: [path('read', '/etc/passwd')] }), { state: { uid: undefined } })
  t.match(
    rehearse({
      permitted: 'file_write',
      effective: 'file_write',
      attempts: [path('write', '/tmp'), path('write', '/dev/null')],
    }),
    { jailed: false },
  )
})

live('rehearse: a kernel that says yes to what must not be', ['cc'], async (t) => {
  for (const fail of [
    'child:setuid 0=lie',
    'child:setgid 0=lie',
    'child:setgroups 1 0=lie',
    'child:setppriv Permitted all=lie',
  ])
    t.strictSame(zone().ask([['rehearse', plan]], { fail }).answers, [failure('regain', 'setuid')], fail)
  const retained = { permitted: 'proc_setid', limit: 'proc_setid', effective: 'proc_setid' }
  t.match(
    zone().ask([['rehearse', { ...plan, ...retained }]]).answers,
    [{ jailed: false }],
    'what the plan itself allows',
  )
})

live('rehearse: the child', ['cc'], async (t) => {
  const rehearse = (fail: string) => zone().ask([['rehearse', plan], ['hasChildren']], { fail }).answers
  const { EPERM, ENOMEM, EINVAL } = errno
  const table: [string, object][] = [
    ['forkx=12', failure('rehearsal child', 'forkx', { errno: ENOMEM })],
    ['mmap=12', failure('memory', 'mmap', { errno: ENOMEM })],
    ['priv_str_to_set=12', failure('memory', 'mmap', { errno: ENOMEM })],
    ['pthread_sigmask=22', failure('rehearsal child', 'forkx', { errno: EINVAL })],
    ['child:getppriv Permitted=22', failure('observe', 'ucred_get', { errno: EINVAL })],
    ['child:sigaction=22', failure('SIGUSR1', 'sigaction', { errno: EINVAL })],
    ['child:setpflags 0x8=22', failure('protect', 'setpflags', { errno: EINVAL })],
    ['child:setpflags 0x2=1', failure('setpflags', 'setpflags', { errno: EPERM })],
    ['child:ucred_get=12', failure('read back', 'ucred_get', { errno: ENOMEM })],
    ['child:setuid=kill', failure('setuid', 'setuid', { signal: 9 })],
  ]
  for (const [fail, answer] of table) t.strictSame(rehearse(fail), [answer, false], fail)
})

live('a child that hangs', ['cc'], async (t) => {
  t.strictSame(zone().ask([['rehearse', plan], ['hasChildren']], { fail: 'child:setuid=hang' }).answers, [
    failure('setuid', 'setuid', { errno: errno.ETIMEDOUT }),
    false,
  ])
})

live('commit', ['cc'], async (t) => {
  const { answers, calls, status } = zone().ask([['commit', plan, 'verify'], ['observe']])
  t.equal(status, 0)
  t.strictSame(changes(calls), order)
  t.match(answers[0], {
    state: hardened,
    jailed: false,
    foreign: [],
    applyMicroseconds: Number,
    readMicroseconds: Number,
  })
  t.strictSame(answers[1], hardened)

  const listening = zone().ask([['commit', { ...plan, keepSigusr1: true }, 'verify']])
  t.match(listening.answers, [{ state: { sigusr1Ignored: false } }])
  t.notOk(changes(listening.calls).includes('sigaction 10'))

  const none = { permitted: '', limit: '', effective: '' }
  t.match(zone().ask([['commit', { ...plan, ...none }, 'verify']]).answers, [
    { state: { privileges: { permitted: [], limit: [], effective: [] } } },
  ])
})

live('commit: a step whose state already holds is left out', ['cc'], async (t) => {
  const basic = 'net_access,proc_fork'
  const kept = { steps: steps.filter((step) => step !== 'setuid' && step !== 'setgid' && step !== 'setgroups') }
  const sets = { permitted: basic, limit: basic, effective: basic, groups: [] }
  const { answers, calls } = zone().ask([['commit', { ...plan, ...kept, ...sets }, 'verify']], { uid: 990 })
  t.match(answers[0], {
    state: { user: [990, 990, 990], groups: [12, 990], privileges: { permitted: basic.split(',') } },
  })
  t.notOk(calls.some((call) => /^set(uid|gid|groups)/.test(call)))
})

live('chroot', ['cc'], async (t) => {
  const root = join(zone().folder, 'jail')
  mkdirSync(root, { mode: 0o755 })
  const jail = {
    ...plan,
    steps: ['setgroups', 'setgid', 'chroot', 'setpflags', 'setuid', 'permitted', 'limit', 'effective'],
  }
  const { answers, calls } = zone().ask([['commit', { ...jail, root }, 'verify']])
  t.match(answers, [{ jailed: true, state: hardened }])
  t.strictSame(changes(calls), [...order.slice(0, 4), 'fchdir', 'chroot .', 'chdir /', ...order.slice(4)])
  t.match(zone().ask([['rehearse', { ...jail, root }]]).answers, [{ jailed: true }])

  // inside of it: the path of the attempt is not that of here
  const outside = { ...jail, root, permitted: 'file_write', effective: 'file_write', attempts: [path('write', root)] }
  t.match(zone().ask([['rehearse', outside]]).answers, [failure('write', 'access', { errno: errno.ENOENT })])
  const open: [string, unknown][] = [['open', '/usr']]
  t.match(zone().ask([...open, ['commit', { ...jail, root }, 'verify'], ['observe']]).answers, [
    undefined,
    { ...failure('open directory', 'open'), item: Number },
    { user: [0, 0, 0] },
  ])
  for (const [fail, syscall] of [
    ['fchdir=13', 'fchdir'],
    ['chroot=1', 'chroot'],
    ['chdir=13', 'chdir'],
  ] as const)
    t.match(zone().ask([['rehearse', { ...jail, root }]], { fail }).answers, [{ step: 'chroot', syscall }])
  t.match(zone().ask([['rehearse', { ...jail, root }]], { uid: 17 }).answers, [{ step: 'setgroups' }])
})

live('commit: before the line nothing has changed', ['cc'], async (t) => {
  for (const [fail, answer] of [
    ['priv_str_to_set=12', failure('memory', 'mmap', { errno: errno.ENOMEM })],
    ['sysconf=22', failure('memory', 'mmap', { errno: errno.EINVAL })],
    ['pthread_sigmask=22', failure('signal mask', 'pthread_sigmask', { errno: errno.EINVAL })],
    ['fdwalk=12', failure('descriptors', 'fdwalk', { errno: errno.ENOMEM })],
  ] as const) {
    const { answers, calls } = zone().ask([['commit', plan, 'verify']], { fail })
    t.strictSame(answers, [answer], fail)
    t.strictSame(changes(calls), [], fail)
  }
})

live('past the line every failure ends the process', ['cc'], async (t) => {
  const table: [string, string][] = [
    ['sigaction 10=22', "'SIGUSR1' (sigaction): wanted success, found errno 22"],
    ['setpflags 0x8=22', "'protect' (setpflags): wanted success, found errno 22"],
    ['setgroups=22', "'setgroups' (setgroups): wanted success, found errno 22"],
    ['setgid=1', "'setgid' (setgid): wanted success, found errno 1"],
    ['setpflags 0x2=1', "'setpflags' (setpflags): wanted success, found errno 1"],
    ['setpflags 0x80=1', "'xpolicy' (setpflags): wanted success, found errno 1"],
    ['setpflags 0x100=1', "'pfexec' (setpflags): wanted success, found errno 1"],
    ['setuid=11', "'setuid' (setuid): wanted success, found errno 11"],
    ['setppriv Permitted=1', "'permitted' (setppriv): wanted success, found errno 1"],
    ['setppriv Limit=1', "'limit' (setppriv): wanted success, found errno 1"],
    ['setppriv Effective=1', "'effective' (setppriv): wanted success, found errno 1"],
    ['ucred_get=12', "'read back' (ucred_get): wanted success, found errno 12"],
  ]
  for (const [fail, line] of table) {
    const every = [...steps.slice(0, 4), 'xpolicy', 'pfexec', ...steps.slice(4)]
    const { signal, stdout, stderr } = zone().ask([['commit', { ...plan, steps: every }, 'verify']], { fail })
    t.equal(signal, 'SIGABRT', fail)
    t.equal(stdout, '', fail)
    t.equal(stderr, `privdrop: fatal: step ${line}; the process ends because it would be half privileged\n`, fail)
  }
})

live('so does whatever keeps verify from returning', ['cc'], async (t) => {
  for (const [verify, line] of [
    ['throw', /^privdrop: fatal: not what was asked for\n$/],
    ['throw something', /^privdrop: fatal: the kernel's answer could not be compared with the plan\n$/],
    ['throw a lot', /^privdrop: fatal: x{400,494}\n$/],
  ] as const) {
    const { signal, stderr } = zone().ask([['commit', plan, verify]])
    t.equal(signal, 'SIGABRT', verify)
    t.match(stderr, line)
    t.ok(stderr.length <= 512)
  }
})
