/** Promise: the prebuild for Solaris and illumos keeps to the rules of that system; by a model of it, not on it. */
import { chmodSync, chownSync, mkdirSync, symlinkSync } from 'node:fs'
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
  questions: [] as { kind: string; path: string; number: number }[],
}
const path = (kind: string, path: string) => ({ kind, path, number: 0 })
const port = (number: number) => ({ kind: 'bind', path: '', number })
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
  sigusr1: 'ignored',
  groupsMax: 16,
  text: [
    'user 990 990 990\ngroup 991 991 991\ngroups 8 12\nflags 2',
    `permitted ${wanted}\nlimit ${wanted}\neffective net_access,net_privaddr`,
    'inheritable file_link_any,file_read,file_write,net_access,proc_exec,proc_fork,proc_info,proc_secflags,proc_session\n',
  ].join('\n'),
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
    ...{ user: [0, 0, 0], group: [0, 0, 0], groups: [0, 12], flags: [], sigusr1: 'caught', groupsMax: 16 },
    text: /^user 0 0 0\ngroup 0 0 0\ngroups 0 12\nflags 0\npermitted contract_event,.*,xvm_control and more\nlimit /,
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
  const same = { ...plan, ...kept, uid: 0, gid: 0, steps: ['effective'] }
  const { answers, calls } = zone().ask([['commit', same], ['observe']])
  t.match(answers[1], { privileges: { effective: { length: 85 } }, text: /xvm_control and more\ninheritable/ })
  t.ok(calls.includes('setppriv Effective all'), 'with the 11 bits that have no name')
  t.strictSame(zone().ask([['commit', { ...plan, ...kept }]], { fail: 'getppriv Permitted=12' }).answers, [
    failure('memory', 'mmap', { errno: errno.ENOMEM }),
  ])
})

live('flags', ['cc'], async (t) => {
  const both = { flags: 0x180 }
  t.match(zone().ask([['observe']], both).answers, [{ flags: ['PRIV_XPOLICY', 'PRIV_PFEXEC'] }])
  t.match(zone().ask([['observe']], { ...both, fail: 'getpflags 0x80=22' }).answers, [{ flags: ['PRIV_PFEXEC'] }])
  const all = { permitted: 'all', limit: 'all', effective: 'all' }
  const clearing = { ...plan, ...all, uid: 0, gid: 0, steps: ['setpflags', 'xpolicy', 'pfexec'] }
  const { answers, calls } = zone().ask([['commit', clearing], ['observe']], both)
  t.match(answers[1], { flags: ['PRIV_AWARE'] })
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
    ['groupById', 8],
    ['groupById', 17],
    ['accountGroups', 990, 991],
    ['accountGroups', 17, 18],
    ['hasChildren'],
    ['descriptors'],
    ['listen'],
    ['descriptors'],
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
  t.strictSame(answers.slice(8, 14), ['mail', undefined, [991, 8, 14], [18], false, []])
  t.match(answers[14], [{ descriptor: Number, kind: 'listens', writable: false, sharesPort: false, name: '' }])
  t.strictSame(zone().ask([['descriptors']], { fail: 'fdwalk=12' }).answers, [
    failure('descriptors', 'fdwalk', { errno: errno.ENOMEM }),
  ])
})

live('what is promised counts from the commit on, in every thread', ['cc'], async (t) => {
  const { answers } = zone().ask([
    ['promise', 'what was wanted: é'],
    ['recall'],
    ['kept'],
    ['commit', { ...plan, expected: 'otherwise' }],
  ])
  t.strictSame(answers, [undefined, undefined, [0]], 'and then it has ended')
  const { answers: done } = zone().ask([
    ['promise', 'what was wanted: é'],
    ['commit', plan],
    ['recall'],
    ['kept'],
    ['worker', ['recall']],
    ['worker', ['kept']],
  ])
  t.strictSame(done.slice(2), ['what was wanted: é', [1], 'what was wanted: é', [1]])
})

live('a Worker that ends while its plan is read ends alone', ['cc'], async (t) => {
  const { answers, ...outcome } = zone().ask([
    ['worker', ['die', 'rehearse', plan]],
    ['worker', ['die', 'commit', plan]],
    ['observe'],
  ])
  t.match(outcome, { status: 0, signal: null, stderr: '' })
  t.match(answers, [{ code: 3 }, { code: 3 }, { user: [0, 0, 0] }])
})

live('SIGUSR1', ['cc'], async (t) => {
  const own = zone().ask([['holdSigusr1', false], ['observe'], ['giveSigusr1Back'], ['observe']])
  t.match(own.answers, [0, { sigusr1: 'ignored' }, 0, { sigusr1: 'caught' }])
  const listened = zone().ask([['on', 'SIGUSR1'], ['holdSigusr1', true], ['observe'], ['giveSigusr1Back'], ['observe']])
  t.match(listened.answers, [undefined, -1, { sigusr1: 'caught' }, 0, { sigusr1: 'caught' }])
  t.match(zone().ask([['holdSigusr1', true], ['observe']]).answers, [0, { sigusr1: 'ignored' }], "Node's own handler")
  t.strictSame(zone().ask([['holdSigusr1', false]], { fail: 'sigaction 10=22' }).answers, [errno.EINVAL])
})

live('openRoot', ['cc'], async (t) => {
  const at = (path: string) => zone().ask([['openRoot', path]]).answers[0]
  const folder = zone().folder
  mkdirSync(join(folder, 'there'), { mode: 0o755 })
  symlinkSync('there/../there', join(folder, 'link'))
  symlinkSync('loop', join(folder, 'loop'))
  t.match(at(join(folder, 'there')), { descriptor: Number, path: join(folder, 'there') })
  t.match(at(join(folder, 'link')), { path: join(folder, 'there') })
  t.match(at('/'), { path: '/' })
  const { ENOENT, ENOTDIR, ELOOP } = errno
  t.match(at('/no/such'), { ...failure('chroot', 'openat', { errno: ENOENT }), found: '/no' })
  t.match(at(zone().addon), { ...failure('chroot', 'openat', { errno: ENOTDIR }), found: zone().addon })
  t.match(at(join(folder, 'loop')), { step: 'chroot', errno: ELOOP })
  t.match(at('/proc/self/cwd'), { step: 'chroot', syscall: 'readlink', found: '/proc/self' })
})

live('exchange: by another process of the new user, before the chroot', ['root', 'cc'], async (t) => {
  const folder = join(zone().folder, 'ways')
  const way = (name: string, uid: number, gid: number, mode: number) => {
    const path = join(folder, name)
    mkdirSync(join(path, 'jail'), { recursive: true })
    chmodSync(path, mode)
    chownSync(path, uid, gid)
    return join(path, 'jail')
  }
  mkdirSync(folder)
  const table: [path: string, by: string][] = [
    [way('roots', 0, 0, 0o755), 'none'],
    [way('own', 990, 0, 0o555), 'user'],
    [way('writable', 0, 0, 0o757), 'user'],
    [way('by a group', 0, 14, 0o775), 'user'],
    [way('by a group of others', 0, 15, 0o775), 'others'],
    [way('sticky', 0, 0, 0o1777), 'none'],
    [way('of another', 17, 17, 0o755), 'others'],
  ]
  // further on root alone can: the component is told, and not where the path ends
  const [deep, component] = [join(folder, 'of another/jail/deeper'), join(folder, 'of another/jail')]
  mkdirSync(deep)
  const ask = (path: string) => ({ kind: 'exchange', path, number: 0 })
  const questions = table.map(([path]) => ask(path))
  const sets = { permitted: 'all', limit: 'all', effective: 'all' }
  for (const more of [{}, sets]) {
    const { answers, calls } = zone().ask([['rehearse', { ...plan, ...more, accountGroups: [8, 12, 14], questions }]])
    const left = answers[0] as { answers: { errno: number; by: string; found?: string }[] }
    for (const [index, [path, by]] of table.entries())
      t.match(left.answers[index], { errno: 0, by, ...(by !== 'none' && { found: path }) }, path)
    t.strictSame(changes(calls), [], 'by a child')
    t.ok(calls.includes('child setgroups 3 8 12 14'))
  }
  const { answers } = zone().ask([['rehearse', { ...plan, questions: [ask(deep)] }]])
  t.match(answers, [{ answers: [{ errno: 0, by: 'others', found: component }] }])
})

live('an id is no name that was not found: nscd says the same of a directory that is down', ['cc'], async (t) => {
  const { answers } = zone().ask([
    ['userByName', '4711'],
    ['groupByName', '4711'],
    ['userByName', '4711x'],
  ])
  t.strictSame(answers, [errno.ENOENT, errno.ENOENT, undefined])
})

live('descriptors: bounded without /proc, and no file is asked', ['cc'], async (t) => {
  const noProc = 'access /proc/self/fd=2'
  const look = (conditions: object) => zone().ask([['listen'], ['descriptors']], conditions)
  const { answers, calls } = look({ fail: noProc, files: 65537 })
  t.strictSame(answers, [failure('descriptors', 'access', { errno: errno.ENOENT })])
  t.notOk(calls.includes('fdwalk'), 'which would try 65537 numbers')
  t.match(look({ fail: noProc, files: 65536 }).answers, [[{ kind: 'listens' }]])
  const { answers: many, calls: asked } = look({ files: 1_000_000 })
  t.match(many, [[{ kind: 'listens' }]])
  t.notOk(
    asked.some((call) => call.startsWith('fstat')),
    'which may wait for a file system',
  )
})

live('a chroot: directories, and what has gone stale', ['cc'], async (t) => {
  const root = join(zone().folder, 'stale')
  mkdirSync(root, { mode: 0o755 })
  const jail = { ...plan, steps: ['setgroups', 'setgid', 'chroot', ...steps.slice(2)], root }
  t.match(
    zone().ask(
      [
        ['open', '/usr'],
        ['rehearse', jail],
      ],
      { fail: 'child:fstat=5' },
    ).answers[1],
    {
      ...failure('descriptors', 'fstat', { errno: errno.EIO }),
      item: Number,
    },
  )
  t.match(
    zone().ask([
      ['open', root],
      ['rehearse', jail],
    ]).answers[1],
    { jailed: true },
    'the new root, opened twice',
  )
  mkdirSync(join(root, 'inside'), { mode: 0o755 })
  const open: [string, unknown][] = [['open', join(root, 'inside')]]
  t.match(zone().ask([...open, ['commit', jail], ['observe']]).answers, [
    undefined,
    { applyMicroseconds: Number },
    { user: [990, 990, 990] },
  ])
  t.match(
    zone().ask([...open, ['rehearse', jail]], { fail: 'child:getcwd=2' }).answers[1],
    { ...failure('descriptors', 'open'), item: Number },
    'one that has no path is outside',
  )
})

live('rehearse: all of it happens in a child', ['cc'], async (t) => {
  const questions = [port(25), port(2525)]
  const { answers, calls } = zone().ask([['observe'], ['rehearse', { ...plan, questions }], ['observe']])
  const left = answers[1] as { state: object }
  t.match(left, { jailed: false, answers: [{ errno: 0, by: 'none' }, { errno: 0 }] })
  t.strictSame(left.state, { ...hardened, sigusr1: 'caught' }, 'and the signal is as it is here')
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
    [{ before: 'user 1 1 1\n' }, {}, failure('compare', 'ucred_get')],
  ]
  for (const [changed, conditions, answer] of table)
    t.strictSame(rehearse(changed, conditions), answer, JSON.stringify([changed, conditions]))
  const answered = (changed: object) =>
    (rehearse(changed) as { answers: { errno: number }[] }).answers.map(({ errno }) => errno)
  const net = { permitted: 'net_access', limit: 'net_access', effective: 'net_access' }
  const write = { permitted: 'file_write', limit: 'file_write', effective: 'file_write' }
  for (const [changed, errnos] of [
    [{ questions: [path('read', '/etc/passwd')] }, [EACCES]],
    [{ ...basic, questions: [path('read', '/no/such'), path('read', '/etc/passwd')] }, [ENOENT, 0]],
    [{ questions: [port(80), path('write', '/tmp')] }, [0, EACCES]],
    [{ questions: [path('write', '/no/such'), path('enter', '/usr'), path('enter', '/no/such')] }, [ENOENT, 0, ENOENT]],
    [{ ...net, questions: [port(25), port(2525)] }, [EACCES, 0]],
    [{ questions: [port(2049), port(445), port(4045)] }, [EACCES, EACCES, EACCES]],
    [
      { ...write, questions: [path('write', '/tmp'), path('write', '/dev/null'), path('write', '/etc')] },
      [0, 0, EACCES],
    ],
  ] as const)
    t.strictSame(answered(changed), errnos, JSON.stringify(changed))
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
    ['pthread_sigmask=22', failure('signal mask', 'pthread_sigmask', { errno: EINVAL })],
    ['child:getppriv Permitted=22', failure('compare', 'ucred_get', { errno: EINVAL })],
    ['child:sigaction=22', failure('SIGUSR1', 'sigaction', { errno: EINVAL })],
    ['child:setpflags 0x8=22', failure('protect', 'setpflags', { errno: EINVAL })],
    ['child:setpflags 0x2=1', failure('setpflags', 'setpflags', { errno: EPERM })],
    ['child:ucred_get=12', failure('compare', 'ucred_get', { errno: ENOMEM })],
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
  const { answers, calls, status } = zone().ask([['commit', plan], ['observe']])
  t.equal(status, 0)
  t.strictSame(changes(calls), order)
  t.match(answers[0], { applyMicroseconds: Number, readMicroseconds: Number })
  t.strictSame(answers[1], hardened)

  const listening = zone().ask([['on', 'SIGUSR1'], ['commit', { ...plan, keepSigusr1: true }], ['observe']])
  t.match(listening.answers, [undefined, { applyMicroseconds: Number }, { sigusr1: 'caught' }])
  t.notOk(changes(listening.calls).includes('sigaction 10'))

  const none = { permitted: '', limit: '', effective: '' }
  t.match(zone().ask([['commit', { ...plan, ...none }], ['observe']]).answers[1], {
    privileges: { permitted: [], limit: [], effective: [] },
  })
})

live('commit: a step whose state already holds is left out', ['cc'], async (t) => {
  const basic = 'net_access,proc_fork'
  const kept = { steps: steps.filter((step) => step !== 'setuid' && step !== 'setgid' && step !== 'setgroups') }
  const sets = { permitted: basic, limit: basic, effective: basic, groups: [] }
  const { answers, calls } = zone().ask([['commit', { ...plan, ...kept, ...sets }], ['observe']], { uid: 990 })
  t.match(answers[1], { user: [990, 990, 990], groups: [12, 990], privileges: { permitted: basic.split(',') } })
  t.notOk(calls.some((call) => /^set(uid|gid|groups)/.test(call)))
})

live('chroot', ['cc'], async (t) => {
  const root = join(zone().folder, 'jail')
  mkdirSync(root, { mode: 0o755 })
  const jail = { ...plan, steps: ['setgroups', 'setgid', 'chroot', ...steps.slice(2)], root }
  const { answers, calls } = zone().ask([['commit', jail], ['observe']])
  t.strictSame(answers[1], hardened)
  t.strictSame(changes(calls), [...order.slice(0, 4), 'fchdir', 'chroot .', 'chdir /', ...order.slice(4)])
  t.match(zone().ask([['rehearse', jail]]).answers, [{ jailed: true }])

  // inside of it: the path of the question is not that of here
  const outside = { ...jail, permitted: 'file_write', effective: 'file_write', questions: [path('write', root)] }
  t.match(zone().ask([['rehearse', outside]]).answers, [{ answers: [{ errno: errno.ENOENT }] }])
  const open: [string, unknown][] = [['open', '/usr']]
  t.match(zone().ask([...open, ['commit', jail], ['observe']]).answers, [
    undefined,
    { ...failure('descriptors', 'open'), item: Number },
    { user: [0, 0, 0] },
  ])
  for (const [fail, syscall] of [
    ['fchdir=13', 'fchdir'],
    ['chroot=1', 'chroot'],
    ['chdir=13', 'chdir'],
  ] as const)
    t.match(zone().ask([['rehearse', jail]], { fail }).answers, [{ step: 'chroot', syscall }])
  t.match(zone().ask([['rehearse', jail]], { uid: 17 }).answers, [{ step: 'setgroups' }])
})

live('commit: before the line nothing has changed', ['cc'], async (t) => {
  const expected = hardened.text
  for (const [fail, changed, answer] of [
    ['priv_str_to_set=12', {}, failure('memory', 'mmap', { errno: errno.ENOMEM })],
    ['sysconf=22', {}, failure('memory', 'mmap', { errno: errno.EINVAL })],
    ['pthread_sigmask=22', {}, failure('signal mask', 'pthread_sigmask', { errno: errno.EINVAL })],
    ['', { before: 'user 1 1 1\n' }, failure('compare', 'ucred_get')],
  ] as const) {
    const { answers, calls } = zone().ask([['commit', { ...plan, expected, ...changed }]], { fail })
    t.strictSame(answers, [answer], fail)
    t.strictSame(changes(calls), [], fail)
  }
})

/** What stands between is the number of the process. */
const fatal = (step: string, what: string) =>
  new RegExp(
    `^privdrop: fatal: step ${step} in thread \\d+: wanted ${what}; the process ends because it would be half privileged\n$`,
  )

live('past the line every failure ends the process', ['cc'], async (t) => {
  const table: [string, string][] = [
    ['sigaction 10=22', "'SIGUSR1' \\(sigaction\\)"],
    ['setpflags 0x8=22', "'protect' \\(setpflags\\)"],
    ['setgroups=22', "'setgroups' \\(setgroups\\)"],
    ['setgid=1', "'setgid' \\(setgid\\)"],
    ['setpflags 0x2=1', "'setpflags' \\(setpflags\\)"],
    ['setpflags 0x80=1', "'xpolicy' \\(setpflags\\)"],
    ['setpflags 0x100=1', "'pfexec' \\(setpflags\\)"],
    ['setuid=11', "'setuid' \\(setuid\\)"],
    ['setppriv Permitted=1', "'permitted' \\(setppriv\\)"],
    ['setppriv Limit=1', "'limit' \\(setppriv\\)"],
    ['setppriv Effective=1', "'effective' \\(setppriv\\)"],
  ]
  const every = [...steps.slice(0, 4), 'xpolicy', 'pfexec', ...steps.slice(4)]
  for (const [fail, step] of table) {
    const { signal, stdout, stderr } = zone().ask([['commit', { ...plan, steps: every }]], { fail: `parent:${fail}` })
    t.equal(signal, 'SIGABRT', fail)
    t.equal(stdout, '', fail)
    t.match(stderr, fatal(step, `success, found errno ${/\d+$/.exec(fail)}`), fail)
  }
})

live('so does whatever is otherwise than in the rehearsed child', ['cc'], async (t) => {
  const root = join(zone().folder, 'other')
  mkdirSync(root, { mode: 0o755 })
  const jail = { ...plan, steps: ['chroot', ...steps], root }
  const flags = { ...plan, steps: [...steps, 'xpolicy', 'pfexec'] }
  const back = "'read back' \\(ucred_get\\)"
  const table: [string, string, string, object?][] = [
    ['setuid=lie', back, 'user 990 990 990, found user 0 0 0'],
    ['setgid=lie', back, 'group 991 991 991, found group 0 0 0'],
    ['setgroups=lie', back, 'groups 8 12, found groups 0 12'],
    ['setpflags 0x80=lie', back, 'flags 2, found flags 130', flags],
    ['setpflags 0x100=lie', back, 'flags 2, found flags 258', { ...flags, uid: 0 }],
    ['setppriv Permitted=lie', back, `permitted ${wanted}, found permitted contract_event,`],
    ['setppriv Limit=lie', back, `limit ${wanted}, found limit contract_event,`],
    ['setppriv Effective=lie', back, `effective net_access,net_privaddr, found effective ${wanted}`],
    ['chroot=lie', back, 'the new root directory, found another', jail],
    ['sigaction 10=lie', "'SIGUSR1' \\(sigaction\\)", 'ignored, found otherwise'],
  ]
  for (const [fail, step, what, other = plan] of table) {
    const { signal, stderr } = zone().ask([['commit', other]], { fail: `parent:${fail}`, flags: 0x180 })
    t.equal(signal, 'SIGABRT', fail)
    // a long set takes the end of the line
    t.match(stderr, new RegExp(`^privdrop: fatal: step ${step} in thread \\d+: wanted ${what}[^\n]*\n$`), fail)
    t.ok(stderr.length <= 512)
  }
  t.match(zone().ask([['rehearse', jail]], { fail: 'child:chroot=lie' }).answers, [{ jailed: false }])
  const { signal, stderr } = zone().ask([['endProcess', 'an inspector is open\nhere']])
  t.equal(signal, 'SIGABRT')
  t.equal(stderr, 'privdrop: fatal: an inspector is open here; the process ends\n')
})
