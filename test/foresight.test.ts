/** Promise: what breaks as the new user, and what of the next start that user can exchange, is asked and reported
 * beforehand. */
import fs, { mkdirSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Finding, Question, Scene } from '../lib/contract'
import { findingsAhead, questionsAhead as questionsOf } from '../lib/foresight'
import type { Answer, OpenDescriptor } from '../lib/native'
import { linux } from '../lib/platform/linux'
import { allFour, plan as anyPlan, descriptorOf, type Masked, mail, opened, stateOf } from './states'

const { EACCES, ENOENT } = constants.errno
const variables = [
  ...['TMPDIR', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR', 'HOME'],
  ...['STATE_DIRECTORY', 'CACHE_DIRECTORY', 'LOGS_DIRECTORY', 'RUNTIME_DIRECTORY', 'CREDENTIALS_DIRECTORY'],
]

t.beforeEach((t) => {
  for (const name of variables) {
    const was = process.env[name]
    t.teardown(() => {
      if (was === undefined) delete process.env[name]
      else process.env[name] = was
    })
    delete process.env[name]
  }
})

const platform = { ...linux, libraries: () => ['/lib/libc.so.6', 'linux-vdso.so.1', '/odd\0path'] }
const sceneOf = (
  descriptors?: readonly OpenDescriptor[],
  changed: Partial<Masked> = {},
  root?: typeof opened,
): Scene => ({
  platform,
  plan: { ...anyPlan, wanted: stateOf({ ...mail, ...changed }), root },
  descriptors,
  unread: new Set(),
})

/** Where the program is this one, and has loaded these modules. */
function questionsFor(t: Test, main: string | undefined, scene: Scene): Question[] {
  t.intercept(process, 'argv', { value: main === undefined ? [process.execPath] : [process.execPath, main] })
  return questionsOf(scene)
}
const ofStart = (questions: Question[]) =>
  questions.filter(({ kind, number }) => kind === 'exchange' && number === 1).map(({ path }) => path)

t.test('the next start: the program, its packages, Node, modules, libraries, and what was read', async (t) => {
  const folder = t.testdir({ app: { 'package.json': '{}', bin: {} } })
  const main = join(folder, 'app/bin/server.js')
  const paths = ofStart(questionsFor(t, main, sceneOf([])))
  for (const path of [
    main,
    join(folder, 'app/package.json'),
    join(folder, 'app/bin/node_modules'),
    join(folder, 'app/node_modules'),
    join(folder, 'node_modules'),
    '/node_modules',
    process.execPath,
    '/lib/libc.so.6',
    require.resolve('../lib/foresight'),
  ])
    t.ok(paths.includes(path), path)
  t.strictSame(paths, [...new Set(paths)].sort(), 'each once, and those of a folder beside one another')
  t.ok(paths.every((path) => path.startsWith('/') && !path.includes('\0')))
  t.notOk(paths.includes(join(folder, 'app/bin/package.json')))

  const without = ofStart(questionsFor(t, undefined, sceneOf([])))
  t.ok(without.includes(process.execPath))
  t.notOk(
    without.some((path) => path.startsWith(folder)),
    'node -e',
  )
  t.notOk(ofStart(questionsFor(t, '[eval]', sceneOf([]))).some((path) => path.endsWith('node_modules')))
  const rootless = t.testdirName.split('/', 2).join('/')
  t.ok(rootless)
})

t.test('no program has a package.json above it', async (t) => {
  const { questionsAhead } = t.mockRequire<typeof import('../lib/foresight')>('../lib/foresight', {
    'node:fs': { ...fs, existsSync: () => false },
  })
  t.intercept(process, 'argv', { value: [process.execPath, '/opt/server.js'] })
  const paths = ofStart(questionsAhead(sceneOf([])))
  t.ok(paths.includes('/opt/server.js') && paths.includes('/opt/node_modules') && paths.includes('/node_modules'))
  t.notOk(paths.some((path) => path.endsWith('package.json') && path.startsWith('/opt/')))
})

t.test('files that are open', async (t) => {
  const folder = t.testdir({ log: '' })
  const log = fs.openSync(join(folder, 'log'), 'a')
  const device = fs.openSync('/dev/null', 'w')
  t.teardown(() => [log, device].map((descriptor) => fs.closeSync(descriptor)))
  const file = (descriptor: number, writable = false) => descriptorOf(descriptor, 'file', { writable })
  const asked = (...descriptors: OpenDescriptor[]) =>
    questionsOf(sceneOf(descriptors)).filter(({ kind, role }) => kind === 'reopen' || role.startsWith('descriptor '))
  const path = join(folder, 'log')
  const reopen = { kind: 'reopen', path: '', number: log, option: undefined, role: path }
  const exchange = { kind: 'exchange', path, number: 0, option: undefined, role: `descriptor ${log}, open for writing` }
  t.strictSame(asked(file(log)), [reopen])
  t.strictSame(asked(file(log, true)), [exchange, reopen])
  t.strictSame(asked(file(device, true)), [{ ...reopen, number: device, role: '/dev/null' }], 'a device')
  t.strictSame(asked(file(1_000_000, true)), [{ ...reopen, number: 1_000_000, role: '' }], 'closed by now')
  t.strictSame(asked(descriptorOf(log, 'listens')), [])
  t.equal(asked(...Array.from({ length: 2000 }, () => file(1_000_000))).length, 1024)
})

t.test('sockets by their paths', async (t) => {
  const names = ['/run/mail.sock', '@abstract', '']
  const asked = questionsOf(sceneOf(names.map((name) => descriptorOf(7, 'listens', { name }))))
  t.strictSame(
    asked.filter(({ role }) => role === 'socket'),
    [{ kind: 'exchange', path: '/run/mail.sock', number: 0, option: undefined, role: 'socket' }],
  )
  const peer = questionsOf(sceneOf([descriptorOf(7, 'peer', { name: '/run/mail.sock' })]))
  t.notOk(peer.some(({ role }) => role === 'socket'))
})

t.test('what a running server comes back to', async (t) => {
  const reach = (scene: Scene) =>
    questionsOf(scene)
      .filter(({ kind, role }) => ['read', 'write', 'enter'].includes(kind) && !role.startsWith('modules'))
      .map(({ kind, path, role }) => [kind, path, role])
  const always = [
    ['enter', process.cwd(), 'the working directory'],
    ['enter', process.execPath, 'node itself: fork() and cluster need it'],
  ]
  t.strictSame(reach(sceneOf([])), always)
  process.env.TMPDIR = '/var/tmp'
  process.env.STATE_DIRECTORY = '/var/lib/a:/var/lib/b:relative'
  process.env.CREDENTIALS_DIRECTORY = '/run/credentials/mail'
  process.env.HOME = '/home/mail'
  t.strictSame(reach(sceneOf([])), [
    ...always,
    ['write', '/var/tmp', 'TMPDIR'],
    ['write', '/var/lib/a', 'STATE_DIRECTORY'],
    ['write', '/var/lib/b', 'STATE_DIRECTORY'],
    ['enter', '/run/credentials/mail', 'CREDENTIALS_DIRECTORY'],
    ['enter', '/home/mail', 'HOME'],
  ])
  process.env.HOME = '/root'
  t.notOk(
    reach(sceneOf([])).some(([, , role]) => role === 'HOME'),
    'HARDEN_ENVIRONMENT says it',
  )
  t.strictSame(reach(sceneOf([], {}, opened)), [], 'in a chroot it is elsewhere')
  t.strictSame(questionsOf(sceneOf([descriptorOf(1, 'file')], { user: allFour(0) })), [], 'user root')
  const modules = questionsOf(sceneOf([])).filter(({ role }) => role.startsWith('modules'))
  t.ok(modules.some(({ path }) => path === require.resolve('../lib/foresight')))
  t.ok(modules.every(({ kind, number }) => kind === 'read' && number === 1))
})

const ask = (kind: Question['kind'], path: string, role = '', number = 0): Question => ({
  ...{ kind, path, number, role },
  option: undefined,
})
const yes: Answer = { errno: 0, by: 'none', found: undefined }
const no: Answer = { ...yes, errno: EACCES }
const by = (who: Answer['by'], found?: string): Answer => ({ errno: 0, by: who, found })

interface Expected {
  code: string
  level: string
  message: string | RegExp
  remedy: string | RegExp
}

function alone(t: Test, asked: [Question, Answer][], expected: Expected | undefined, title = 'found'): void {
  const found: Finding[] = findingsAhead(
    sceneOf([]),
    asked.map(([question, answer]) => ({ question, answer })),
  )
  t.match(found, expected ? [expected] : [], title)
  t.equal(found.length, expected ? 1 : 0, title)
  for (const { message, remedy } of found)
    for (const sentence of [message, remedy]) t.notMatch(sentence, /[.]$|undefined|NaN|\n|^$/)
}

t.test('what is not answered is said', async (t) => {
  const { EIO, ELOOP, EMFILE, ENOSYS, ENOTDIR, EPERM } = constants.errno
  const refused = (errno: number, question = ask('exchange', '/srv/a')): [Question, Answer] => [
    question,
    { ...yes, errno },
  ]
  const file = ask('reopen', '', '/srv/log', 7)
  const silent = [0, ENOENT, ENOTDIR, ELOOP].map((errno) => refused(errno))
  alone(t, [...silent, refused(0, file), refused(ENOSYS, file)], undefined)
  const finding = (places: string): Expected => ({
    code: 'HARDEN_NOT_EXAMINED',
    level: 'note',
    message: `whether the new user can exchange or open these is not known: ${places}`,
    remedy: /^see that their file system answers, and find the seccomp filter/,
  })
  alone(
    t,
    [refused(EPERM), refused(EIO, ask('exchange', '/srv/c')), ...silent],
    finding("'/srv/a' (EPERM), '/srv/c' (EIO)"),
  )
  alone(t, [refused(EPERM, file)], finding("'/srv/log' (EPERM)"))
  const closed = finding("'/srv/a' (EACCES)")
  alone(t, [refused(EACCES)], {
    ...closed,
    remedy: /^have them examined by a user that may enter .*--next-start PATH\), or see that their file system answers/,
  })
  const limit = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  alone(t, [refused(EMFILE)], { ...finding("'/srv/a' (EMFILE)"), remedy: limit })
  const both = finding("'/srv/a' (EMFILE), '/srv/log' (EPERM)")
  alone(t, [refused(EMFILE), refused(EPERM, file)], {
    ...both,
    remedy: /^raise the limit .*; see that their file system/,
  })
  const many = Array.from({ length: 7 }, (_, index) => refused(EPERM, ask('exchange', `/${index}`)))
  alone(t, many, finding(`${[0, 1, 2, 3, 4].map((index) => `'/${index}' (EPERM)`).join(', ')} and 2 more`))
})

t.test('more than are examined', async (t) => {
  const found = (scene: Scene) => findingsAhead(scene, []).map(({ code, level, message }) => [code, level, message])
  const files = (length: number) => sceneOf(Array.from({ length }, (_, descriptor) => descriptorOf(descriptor, 'file')))
  t.equal(questionsOf(files(1030)).filter(({ kind }) => kind === 'reopen').length, 1024)
  t.same(found(files(1024)), [])
  const message = 'no more than 1024 are examined, so findings about these may be missing: '
  t.same(found(files(1030)), [['HARDEN_NOT_EXAMINED', 'note', `${message}6 of 1030 open files`]])
  t.same(
    found({ ...files(1030), plan: { ...anyPlan, wanted: stateOf({ ...mail, user: allFour(0) }) } }),
    [],
    'user root',
  )

  const loaded = Array.from({ length: 1500 }, (_, index) => `/etc/a/${index}.js`)
  t.teardown(() => {
    for (const path of loaded) delete require.cache[path]
  })
  for (const path of loaded) require.cache[path] = undefined
  const paths = ofStart(questionsFor(t, '/srv/server.js', sceneOf([])))
  t.ok(paths.includes('/srv/server.js') && paths.includes(process.execPath), 'the program is examined in any case')
  const all = Object.keys(require.cache).length
  t.match(findingsAhead(sceneOf([]), []), [{ message: `${message}${all - 1024} of ${all} modules` }])
})

t.test('what of the next start the new user can exchange', async (t) => {
  const finding = (places: string, remedy = /^give them, and the folders above, to root/): Expected => ({
    code: 'HARDEN_NEXT_START',
    level: 'danger',
    message: `user 990 can exchange or change what root runs, reads or appends to at the next start: ${places}`,
    remedy,
  })
  const main = ask('exchange', '/srv/app/main.js', '', 1)
  alone(t, [[main, by('user', '/srv/app')]], finding(`'/srv'`), 'in whose folder it is')
  alone(t, [[main, by('writer', '/srv/app/main.js')]], finding(`'/srv/app/main.js'`), 'the file itself')
  alone(t, [[main, by('user')]], finding(`'/srv/app'`))
  const sticky = t.testdir({ file: '' })
  fs.chmodSync(sticky, 0o1777)
  const file = join(sticky, 'file')
  alone(t, [[ask('exchange', file, '', 1), by('user')]], finding(`'${file}'`), 'what is its own in a sticky folder')
  const { uid } = fs.statSync(sticky)
  const owner = findingsAhead(sceneOf([], { user: { real: uid, effective: uid, saved: uid, fs: uid } }), [
    { question: ask('exchange', file, '', 1), answer: by('user') },
  ])
  t.equal(owner[0]?.message.endsWith(`: '${sticky}'`), true, 'in a sticky folder of its own, all that is in it')
  const log = ask('exchange', '/var/log/mail', 'descriptor 19, open for writing')
  alone(
    t,
    [[log, by('writer', '/var/log/mail')]],
    finding(`'/var/log/mail' (descriptor 19, open for writing)`, /^open a log after harden\(\), or keep it/),
    'a log alone: its folder may be the queue, which the user needs',
  )
  alone(
    t,
    [
      [main, by('user', '/srv/app')],
      [ask('exchange', '/srv/lib/a.js', '', 1), by('user', '/srv/lib')],
      [log, by('user', '/var/log/mail')],
    ],
    finding(`'/srv', '/var/log' (descriptor 19, open for writing)`),
    'each place once',
  )
  const many = Array.from({ length: 8 }, (_, index): [Question, Answer] => [
    ask('exchange', `/srv/${index}`, '', 1),
    by('writer', `/srv/${index}`),
  ])
  alone(t, many, finding(`'/srv/0', '/srv/1', '/srv/2', '/srv/3', '/srv/4' and 3 more`))
  for (const answer of [yes, by('none'), by('others', '/srv')]) alone(t, [[main, answer]], undefined)
  alone(t, [[{ ...main, option: 'chroot' }, by('user', '/srv')]], undefined, 'that is a refusal')
})

t.test('a Unix socket in a folder of the new user', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'sock')
  const finding = (code: string, level: string, message: RegExp): Expected => ({ code, level, message, remedy: /./ })
  const socket = ask('exchange', path, 'socket')
  const stale = finding('HARDEN_UNIX_SOCKET', 'note', /folder of user 990: '.*sock'; after a crash/)
  writeFileSync(path, '')
  fs.chmodSync(path, 0o755)
  alone(t, [[socket, by('user', path)]], stale, 'for its user alone')
  fs.chmodSync(path, 0o757)
  const open = finding('HARDEN_NEXT_START', 'danger', /\(socket\)$/)
  alone(t, [[socket, by('user', path)]], open, 'root opens it to others by its name')
  alone(t, [[ask('exchange', join(folder, 'gone'), 'socket'), by('user', folder)]], { ...stale, message: /gone/ })
  alone(t, [[socket, yes]], undefined)
})

t.test('files that the new user could not open', async (t) => {
  const finding = (files: string): Expected => ({
    code: 'HARDEN_DESCRIPTORS',
    level: 'note',
    message: `the new user could not open these files, which stay open: ${files}`,
    remedy: /^nothing, if they stay open/,
  })
  const file = (number: number, path: string) => ask('reopen', '', path, number)
  alone(t, [[file(9, '/dev/null'), no]], finding(`descriptor 9 ('/dev/null')`))
  alone(t, [[file(9, "/a\n'b'"), no]], finding(`descriptor 9 ("/a\\n'b'")`))
  const many = Array.from({ length: 8 }, (_, index): [Question, Answer] => [file(index, '/a'), no])
  alone(t, many, { ...finding('descriptor 0'), message: /descriptor 4 \('\/a'\) and 3 more$/ })
  for (const errno of [0, ENOENT, 38]) alone(t, [[file(9, '/a'), { ...yes, errno }]], undefined, `errno ${errno}`)
})

t.test('what is out of reach', async (t) => {
  const finding = (places: string): Expected => ({
    code: 'HARDEN_OUT_OF_REACH',
    level: 'note',
    message: `user 990 cannot use: ${places}`,
    remedy: /^make them, and every directory above, accessible/,
  })
  mkdirSync(join(t.testdir(), 'x'))
  alone(t, [[ask('enter', '/root/app', 'the working directory'), no]], finding(`'/root/app' (the working directory)`))
  alone(
    t,
    [
      [ask('read', '/root/a.js', 'modules'), no],
      [ask('write', '/var/tmp', 'TMPDIR'), no],
      [ask('read', '/root/b.js', 'modules'), no],
      [ask('enter', '/home', 'HOME'), { ...yes, errno: ENOENT }],
    ],
    finding(`'/root/a.js' and 1 more (modules), '/var/tmp' (TMPDIR)`),
  )
  alone(t, [[{ ...ask('read', '/etc/key'), option: 'rehearse.read[0]' }, no]], undefined, 'that is a refusal')
  const [left] = findingsAhead(sceneOf([]), [{ question: ask('exchange', '/srv'), answer: no }])
  t.equal(left?.code, 'HARDEN_NOT_EXAMINED', 'no answer to another question is one to this')
})

t.test('others than root can exchange what the path of the chroot names', async (t) => {
  const exchange = { ...ask('exchange', '/srv/mail'), option: 'chroot' }
  alone(t, [[exchange, by('others', '/srv')]], {
    code: 'HARDEN_WRITABLE_ANCESTOR',
    level: 'note',
    message: /^users other than root can exchange what the chroot's path names: '\/srv'$/,
    remedy: /^give '\/' to root \(chown root\)/,
  })
  for (const answer of [yes, by('user', '/srv')]) alone(t, [[exchange, answer]], undefined)
  alone(t, [[ask('exchange', '/srv'), by('others', '/srv')]], undefined, 'of the next start')
})
