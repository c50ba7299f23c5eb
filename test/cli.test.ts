/** Promise: the command prints what was found, text from other processes cannot pass for its own, and the exit status
 * tells the outcome. */
import * as fs from 'node:fs'
import { resolve } from 'node:path'
import t, { type Test } from 'tap'
import * as errors from '../lib/errors'
import * as places from '../lib/places'
import { version } from '../package.json'

type Main = typeof import('../lib/cli/main')

/** What the command does with these modules in the place of the real ones. */
function commandWith(t: Test, mocks: Record<string, unknown>, { isTTY = false, columns = 80, env = {} } = {}) {
  const { main } = t.mockRequire<Main>('../lib/cli/main', mocks)
  return (...args: string[]) => {
    let stdout = ''
    let stderr = ''
    const status = main(args, {
      stdout: { isTTY, columns, write: (text) => (stdout += text) },
      stderr: { write: (text) => (stderr += text) },
      env,
    })
    return { status, stdout, stderr }
  }
}

/** A line of a table, without its colour. */
const uncoloured = (line: string) => (line.startsWith('\x1b') ? line.slice(5, -5) : line)

t.test('help and version', async (t) => {
  const run = commandWith(t, {})
  for (const args of [['--version'], ['plan', '--version'], ['audit', '1', '--version'], ['help', '--version']])
    t.strictSame(run(...args), { status: 0, stdout: `${version}\n`, stderr: '' }, args.join(' '))
  const commands = ['plan', 'audit', 'config', 'demo']
  for (const args of [['help'], ['--help'], ['-h'], ...commands.map((name) => [name, '--help'])]) {
    const { status, stdout, stderr } = run(...args)
    t.match({ status, stderr }, { status: 0, stderr: '' }, args.join(' '))
    const command = commands.find((name) => name === args[0]) ?? 'COMMAND'
    t.match(stdout, new RegExp(`^Usage: privdrop ${command}\\b[^]*\\n$`))
    const wide = stdout.split('\n').filter((line) => line.length > 80)
    t.strictSame(wide, [], 'it fits')
    t.match(stdout, /\n\nExit status:\n {2}0 .*\n {2}1 .*\n {2}2 .*\n {2}3 .*\n.*\n$/)
  }
  t.equal(run('audit', '1', '-h').stdout, run('audit', '--help').stdout)
  t.equal(run('--help').stdout, run('help').stdout)
  for (const command of commands) {
    t.match(run('--help').stdout, `\n  ${command} `)
    t.equal(run('help', command).stdout, run(command, '--help').stdout)
  }
  t.match(run('help', 'harden'), { status: 2, stdout: '', stderr: /^privdrop: there is no command harden\n/ })
  t.match(run('audit', '--', '--help'), { status: 2, stdout: '' }, 'an argument')
})

t.test('a command line that is wrong: on stderr, and 2', async (t) => {
  const run = commandWith(t, {})
  const table: [args: string[], stderr: string][] = [
    [[], 'privdrop: a command is missing\nSee: privdrop --help\n'],
    [[''], 'privdrop: a command is missing\nSee: privdrop --help\n'],
    [['harden'], 'privdrop: there is no command harden\nSee: privdrop --help\n'],
    [['toString'], 'privdrop: there is no command toString\nSee: privdrop --help\n'],
    [['\x1b[2J'], 'privdrop: there is no command \\u{1b}[2J\nSee: privdrop --help\n'],
    [['--verbose'], 'privdrop: there is no command --verbose\nSee: privdrop --help\n'],
    [['plan', '--usr', 'x'], "privdrop: Unknown option '--usr'; did you mean --user?\nSee: privdrop plan --help\n"],
    [['plan', '--uid=0'], "privdrop: Unknown option '--uid'; did you mean --user?\nSee: privdrop plan --help\n"],
    [
      ['plan', '--caps', 'x'],
      "privdrop: Unknown option '--caps'; did you mean --capabilities?\nSee: privdrop plan --help\n",
    ],
    [
      ['plan', '--groups=x'],
      "privdrop: Unknown option '--groups'; did you mean --supplemental-groups?\nSee: privdrop plan --help\n",
    ],
    [['plan', '--port', '25'], "privdrop: Unknown option '--port'; did you mean --bind?\nSee: privdrop plan --help\n"],
    [['plan', '-u', 'x'], "privdrop: Unknown option '-u'\nSee: privdrop plan --help\n"],
    [['audit', '--jsn', '1'], "privdrop: Unknown option '--jsn'; did you mean --json?\nSee: privdrop audit --help\n"],
    [['plna'], 'privdrop: there is no command plna; did you mean plan?\nSee: privdrop --help\n'],
    [['plan', 'nobody'], "privdrop: Unexpected argument 'nobody'\nSee: privdrop plan --help\n"],
    [['audit'], 'privdrop: audit takes the number of one process\nSee: privdrop audit --help\n'],
    [['audit', '--all', '1'], "privdrop: Unknown option '--all'\nSee: privdrop audit --help\n"],
    [['config'], 'privdrop: config takes the path of one file\nSee: privdrop config --help\n'],
    [['config', 'a', 'b'], 'privdrop: config takes the path of one file\nSee: privdrop config --help\n'],
    [['plan', '--cluster', 'a'], 'privdrop: --cluster needs --config\nSee: privdrop plan --help\n'],
    [['plan', '--search-path', 'a'], 'privdrop: --search-path needs --config\nSee: privdrop plan --help\n'],
    [['plan', '--nodename', 'a'], 'privdrop: --nodename needs --config\nSee: privdrop plan --help\n'],
    [['demo', 'now'], 'privdrop: demo takes no now\nSee: privdrop demo --help\n'],
  ]
  for (const [args, stderr] of table) {
    const found = run(...args)
    t.equal(found.status, 2, args.join(' '))
    t.equal(found.stdout, '')
    t.ok(found.stderr.startsWith(stderr.split('\n')[0] as string), found.stderr)
    t.match(found.stderr, /\nSee: privdrop (?:\w+ )?--help\n$/)
    t.equal(found.stderr.split('\n').at(-2), stderr.split('\n')[1])
  }
  for (const [args, message] of [
    [['plan', '--usr', 'x', '--json'], "Unknown option '--usr'; did you mean --user?"],
    [['audit', '--json'], 'audit takes the number of one process'],
    [['config', '--json'], 'config takes the path of one file'],
    [['harden', '--json'], 'there is no command harden'],
  ] as const) {
    const { status, stdout, stderr } = run(...args)
    t.strictSame(
      { status, stderr, ...JSON.parse(stdout) },
      { status: 2, stderr: '', error: { code: 'ERR_USAGE', message } },
    )
  }
  t.match(run('plan', 'x', '--', '--json'), { status: 2, stdout: '', stderr: /Unexpected argument 'x'/ })
  for (const args of [
    ['0'],
    ['-1'],
    ['1e3'],
    ['0x10'],
    [' 1'],
    ['self'],
    ['1/../2'],
    ['12345678901'],
    ['1', '2'],
    [''],
  ])
    t.match(run('audit', '--', ...args), { status: 2, stderr: /takes the number of one process/ }, args.join(' '))
})

t.test('the file that npm links: it is given the process, and survives head(1)', async (t) => {
  t.teardown(() => {
    process.exitCode = undefined
  })
  const listeners = [process.stdout, process.stderr].map((stream) => t.capture(stream, 'on'))
  let seen: unknown
  t.intercept(process, 'argv', { value: ['node', 'cli.js', 'audit', '1'] })
  t.mockRequire('../lib/cli', {
    '../lib/cli/main': {
      main: (...given: unknown[]) => {
        seen = given
        return 1
      },
    },
  })
  t.strictSame(seen, [['audit', '1'], process])
  t.equal(process.exitCode, 1)
  const said = t.capture(console, 'error')
  const handlers = listeners.map((listener) => {
    const [event, handle] = (listener()[0]?.args ?? []) as [string, (error: object) => void]
    t.equal(event, 'error')
    return handle
  })
  t.equal(handlers.length, 2)
  for (const [index, handle] of handlers.entries()) {
    process.exitCode = 1
    handle({ code: 'EPIPE', message: 'write EPIPE' })
    t.equal(process.exitCode, 1, 'a pipe that is closed alters nothing')
    t.equal(said().length, 0)
    handle({ code: 'ENOSPC', message: 'no space left' })
    t.equal(process.exitCode, 3)
    const words = index === 0 ? [['privdrop: the output could not be written: no space left']] : []
    t.strictSame(
      said().map(({ args }) => args),
      words,
      'of stderr itself nothing can be said',
    )
  }
})

t.test('demo: a process of its own, whose exit status it is', async (t) => {
  for (const [ended, status] of [
    [77, 1],
    [134, 1],
    [0, 0],
    [null, 1],
  ] as const) {
    const spawned: unknown[] = []
    const run = commandWith(t, {
      'node:child_process': {
        ...require('node:child_process'),
        spawnSync: (...args: unknown[]) => {
          spawned.push(args)
          return { status: ended }
        },
      },
    })
    t.strictSame(run('demo'), { status, stdout: '', stderr: '' })
    t.match(spawned, [[process.execPath, ['--no-warnings', /\/examples\/demo\/out\/plain\.js$/], { stdio: 'inherit' }]])
  }
})

const only = (id: number) => ({ real: id, effective: id, saved: id, fs: id })
const found = (code: string, level: string) => ({ code, level, message: 'what it is', remedy: 'what to do' })
const made = {
  platform: 'linux',
  user: only(990),
  group: only(991),
  groups: [8],
  capabilities: { permitted: ['cap_kill'], effective: [], inheritable: [], bounding: [], ambient: [] },
  noNewPrivileges: true,
  securebits: 0,
  chroot: '/srv/\x1b[31m\u202e',
  steps: [{ name: 'setresuid', rehearsed: true }],
  refusals: [] as object[],
  findings: [] as object[],
}

/** `privdrop plan`, and the options that plan() gets. */
function planWith(t: Test, answer: () => object, terminal = {}) {
  const asked: object[] = []
  const { planRows } = t.mockRequire<typeof import('../lib/plan')>('../lib/plan')
  const plan = (options: object) => {
    asked.push(options)
    return answer()
  }
  const run = commandWith(t, { '../lib/plan': { plan, planRows }, '../lib/errors': errors }, terminal)
  return { asked, run: (...args: string[]) => run('plan', ...args) }
}

const rehearse = { read: undefined, write: undefined, bind: undefined }

t.test('plan: each option reaches plan() by its own name', async (t) => {
  const table: [args: string[], options: object][] = [
    [[], {}],
    [['--user', 'mail'], { user: 'mail' }],
    [['--user', '8'], { user: '8' }],
    [['--group=mail'], { group: 'mail' }],
    [['--supplemental-groups', 'adm,8', '--supplemental-groups', 'tls'], { supplementalGroups: ['adm', '8', 'tls'] }],
    [['--capabilities', 'cap_kill+ep'], { capabilities: 'cap_kill+ep' }],
    [['--privileges', 'basic'], { privileges: 'basic' }],
    [['--chroot', '/srv'], { chroot: '/srv' }],
    [['--ambient-capabilities', 'cap_kill,cap_chown'], { ambientCapabilities: 'cap_kill,cap_chown' }],
    [
      ['--ambient-capabilities', 'cap_kill', '--ambient-capabilities', 'cap_chown'],
      { ambientCapabilities: 'cap_kill,cap_chown' },
    ],
    [['--allow-new-privileges'], { noNewPrivileges: false }],
    [['--allow-inspector'], { allowInspector: true }],
    [['--read', '/a,b', '--read', '/c'], { rehearse: { ...rehearse, read: ['/a,b', '/c'] } }],
    [['--write', '/a'], { rehearse: { ...rehearse, write: ['/a'] } }],
    [['--bind', '25,465', '--bind', 'smtp'], { rehearse: { ...rehearse, bind: [25, 465, 'smtp'] } }],
    [['--bind', '0x19,1e2,'], { rehearse: { ...rehearse, bind: ['0x19', '1e2', ''] } }],
  ]
  const { asked, run } = planWith(t, () => made)
  for (const [args, options] of table) {
    t.equal(run(...args).status, 0)
    t.strictSame(asked.splice(0), [{ rehearse, ...options }], args.join(' '))
  }
})

t.test('plan: --next-start is asked about as a file that the reader has read', async (t) => {
  const kept: string[] = []
  const { planRows } = t.mockRequire<typeof import('../lib/plan')>('../lib/plan')
  const run = commandWith(t, {
    '../lib/plan': { plan: () => made, planRows },
    '../lib/places': { ...places, rememberFiles: (files: Iterable<string>) => kept.push(...files) },
    '../lib/errors': errors,
  })
  t.match(run('plan', '--next-start', '/no/such'), {
    status: 2,
    stdout: '',
    stderr: 'privdrop: --next-start /no/such: there is no such file\n',
  })
  t.strictSame(kept, [])
  t.equal(run('plan', '--next-start', 'package.json', '--next-start', '/etc').status, 0)
  t.strictSame(kept, [resolve('package.json'), '/etc'])
})

t.test('plan: every option of harden() is there, and all that the help names', async (t) => {
  const { run } = planWith(t, () => made)
  const help = run('--help').stdout
  const { validate } = t.mockRequire<typeof import('../lib/options')>('../lib/options')
  let known = ''
  try {
    validate({ x: 1 })
  } catch (error) {
    known = (error as errors.HardenError).remedy.replace('the options are ', '')
  }
  const names = { rehearse: 'read', noNewPrivileges: 'allow-new-privileges' }
  for (const option of known.split(', ')) {
    const flag =
      names[option as keyof typeof names] ?? option.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)
    t.match(help, `\n  --${flag} `, option)
  }
  for (const flag of help.match(/(?<=^ {2}|, )--[a-z-]+/gm) ?? []) {
    const { status, stderr } = run(flag)
    t.ok(status === 0 || /argument missing/.test(stderr), flag)
  }
})

t.test('plan: a configuration, and what overrides it', async (t) => {
  const asked: unknown[] = []
  const { planRows } = t.mockRequire<typeof import('../lib/plan')>('../lib/plan')
  let wrong: Error | undefined
  const run = commandWith(t, {
    '../lib/plan': {
      planRows,
      plan: (options: object) => {
        asked.push(options)
        return made
      },
    },
    '../lib/momentum': {
      readSecurityConfig: (...args: unknown[]) => {
        if (wrong) throw wrong
        asked.push(args)
        return Object.freeze({ user: 'ecuser', group: 'ecuser', chroot: '/srv', noNewPrivileges: false })
      },
    },
    '../lib/errors': errors,
  })
  const none = { cluster: undefined, nodename: undefined, searchPath: undefined }
  const read = { user: 'ecuser', group: 'ecuser', chroot: '/srv', noNewPrivileges: false, rehearse }
  const { group: _, ...ungrouped } = read
  const table: [args: string[], how: object, options: object][] = [
    [[], none, read],
    [['--cluster', 'all.conf'], { ...none, cluster: 'all.conf' }, read],
    [
      ['--nodename', 'mta1', '--search-path', 'a:b', '--search-path', 'c'],
      { ...none, nodename: 'mta1', searchPath: ['a', 'b', 'c'] },
      read,
    ],
    [['--bind', '25'], none, { ...read, rehearse: { ...rehearse, bind: [25] } }],
    // the group goes with the user that was named last
    [['--user', 'mail'], none, { ...ungrouped, user: 'mail' }],
    [['--user', 'mail', '--group', 'adm'], none, { ...ungrouped, user: 'mail', group: 'adm' }],
    [['--group', 'adm'], none, { ...read, group: 'adm' }],
  ]
  for (const [args, how, options] of table) {
    t.equal(run('plan', '--config', 'ec.conf', ...args).status, 0, args.join(' '))
    t.strictSame(asked.splice(0), [['ec.conf', how], options], args.join(' '))
  }
  const fields = { message: 'ec.conf:2:3: what it is', remedy: 'do', place: 'ec.conf:2:3', excerpt: '\tus\x1ber\n\t^' }
  wrong = new errors.HardenError({ code: 'ERR_HARDEN_CONFIG', ...fields })
  const message = 'ec.conf:2:3: what it is. Remedy: do.\n\tus\x1ber\n\t^'
  for (const command of [['plan', '--config'], ['config']]) {
    t.strictSame(run(...command, 'ec.conf'), {
      status: 3,
      stdout: '',
      stderr: `${message.replace('\x1b', '\\u{1b}')}\n`,
    })
    const { status, stdout, stderr } = run(...command, 'ec.conf', '--json')
    t.strictSame(
      { status, stderr, ...JSON.parse(stdout) },
      {
        status: 3,
        stderr: '',
        error: { code: 'ERR_HARDEN_CONFIG', message, place: 'ec.conf:2:3', remedy: 'do' },
      },
    )
  }
  t.same(asked, [])
})

t.test('config: what was read, and where', async (t) => {
  const run = commandWith(t, {})
  const path = t.testdir({
    'a.conf': 'Security {\n  User = mta\n  Supplemental_Groups = ( mail "a\x1bb" )\n}\ninclude "b/{NODENAME}"',
    b: { n1: 'security { chroot = "/c\nd" }' },
    's/b': {},
    'cluster.conf': 'security { user = smtp }',
  })
  const options = ['--nodename', 'n1', '--search-path', `${path}:${path}/s`]
  const { status, stdout, stderr } = run('config', ...options, '--cluster', `${path}/cluster.conf`, `${path}/a.conf`)
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.equal(
    stdout.replaceAll(path, ''),
    `user                  smtp  (/cluster.conf:1:19)
group                 ecuser  (the default)
supplemental_groups   ( mail a\\u{1b}b )  (/a.conf:3:25)
chroot                /c\\u{a}d  (/b/n1:1:21)
files                 /a.conf /b/n1 /cluster.conf
`,
  )
  const found = JSON.parse(run('config', '--json', ...options, `${path}/a.conf`).stdout.replaceAll(path, ''))
  t.match(found, {
    options: { user: 'mta', group: 'ecuser', supplementalGroups: ['mail', 'a\x1bb'], chroot: '/c\nd' },
    places: { user: '/a.conf:2:10', supplementalGroups: '/a.conf:3:25', chroot: '/b/n1:1:21' },
    files: ['/a.conf', '/b/n1', '/cluster.conf'],
  })
  t.notOk('group' in found.places)
  t.match(run('config', `${path}/no.conf`), { status: 3, stdout: '', stderr: /no\.conf:1:1: .*ENOENT/ })
  t.match(run('config', '--nodename', '', `${path}/a.conf`), {
    status: 2,
    stderr: /^privdrop: ERR_INVALID_ARG_VALUE: /,
  })
})

t.test('plan: as a table, and as JSON', async (t) => {
  const { run } = planWith(t, () => made)
  const { status, stdout } = run()
  t.equal(status, 0)
  t.match(stdout, /^user {18}(?:\S+ )?\(?990\)?, real, effective, saved and file system\n/)
  t.match(stdout, '\nsupplementary groups  mail (8)\n', 'names beside the numbers')
  t.match(run('--user', 'of-ldap').stdout, /^user {18}of-ldap \(990\), real/, 'and the one that was given')
  t.match(stdout, '\nroot directory        /srv/\\u{1b}[31m\\u{202e}\n', 'nothing moves the cursor or turns it round')
  t.notMatch(stdout, '\x1b')
  t.match(stdout, /\nsteps {17}setresuid\nverdict {15}would be done\n$/)
  const { capabilities: _, ...sunos } = made
  const { stdout: solaris } = planWith(t, () => ({ ...sunos, privileges: { permitted: ['net_privaddr'] } })).run()
  t.match(solaris, '\npermitted             net_privaddr\n')
  const json = run('--json')
  t.equal(json.status, 0)
  t.strictSame(JSON.parse(json.stdout), made)
  t.match(json.stdout, /^[\n -~]+$/)
  t.match(json.stdout, '\\u202e')
})

t.test('every option that does not exist is told', async (t) => {
  const { status, stderr } = commandWith(t, {})('plan', '--usr', 'x', '--zzzz', '--root=/srv', '--user', 'nobody')
  t.equal(status, 2)
  t.equal(
    stderr,
    "privdrop: Unknown option '--usr'; did you mean --user?\nUnknown option '--zzzz'\nUnknown option '--root'; did you mean --chroot?\nSee: privdrop plan --help\n",
  )
})

t.test('plan: every mistake is a line', async (t) => {
  const args = ['--user=no-such-account', '--capabilities=kill+ep', '--bind=x']
  const { status, stdout, stderr } = commandWith(t, {})('plan', ...args)
  t.match({ status, stdout }, { status: 2, stdout: '' })
  const lines = stderr.split('\n')
  t.match(lines[0], /^privdrop: ERR_INVALID_ARG_TYPE: rehearse\.bind\[0\] must be a port number, and is 'x'\. Remedy: /)
  t.match(lines[1], /^ERR_UNKNOWN_CREDENTIAL: user 'no-such-account' does not exist\. Remedy: /)
  t.match(lines[2], /^ERR_HARDEN_CAPABILITIES: .* Remedy: did you mean 'cap_kill\+ep'\? /)
  t.equal(lines.length, 4)
})

t.test('plan: what is about this process alone is left out, and nothing else', async (t) => {
  const codes = fs.readFileSync(`${__dirname}/../docs/errors.md`, 'utf8').match(/(?<=^\| `)HARDEN_\w+(?=` \|)/gm) ?? []
  t.ok(codes.length > 15)
  const { run } = planWith(t, () => ({ ...made, findings: codes.map((code) => found(code, 'note')) }))
  const kept = JSON.parse(run('--json').stdout).findings.map(({ code }: { code: string }) => code)
  t.strictSame(kept, [
    'HARDEN_USER_ROOT',
    'HARDEN_CAPABILITY_IS_ROOT',
    'HARDEN_GROUP_IS_ROOT',
    'HARDEN_GROUP_ZERO',
    'HARDEN_NEXT_START',
    'HARDEN_PRIVILEGE_ESCALATES',
    'HARDEN_GROUPS_LOST',
    'HARDEN_FILE_CAPABILITIES',
    'HARDEN_BASIC_GONE',
    'HARDEN_BOUNDING_KEPT',
    'HARDEN_GROUPS_KEPT',
    'HARDEN_UNKNOWN_CAPABILITY',
    'HARDEN_NOT_EFFECTIVE',
    'HARDEN_PROC_IN_CHROOT',
    'HARDEN_WRITABLE_ANCESTOR',
    'HARDEN_PROCESS_FLAGS',
    'HARDEN_NOT_EXAMINED',
  ])
  const table = run().stdout
  for (const code of codes) t.equal(table.includes(code), kept.includes(code), code)
})

t.test('plan: refused is 1, wrong arguments are 2, and a bug is thrown', async (t) => {
  const refusal = { code: 'ERR_HARDEN_ACCESS', message: 'no. Remedy: do.', remedy: 'do' }
  let answer: object = {}
  const { run } = planWith(t, () => {
    if (answer instanceof Error) throw answer
    return answer
  })
  answer = { ...made, refusals: [refusal] }
  t.match(run(), {
    status: 1,
    stdout: /^refused +ERR_HARDEN_ACCESS: no\.\n +Remedy: do\.\nuser [\s\S]*\nverdict +would be refused: 1 reason\n$/,
  })
  answer = { ...made, refusals: [refusal, refusal] }
  t.match(run(), { status: 1, stdout: /\nverdict +would be refused: 2 reasons\n$/ })
  for (const [code, status] of [
    ['ERR_UNKNOWN_CREDENTIAL', 1],
    ['ERR_HARDEN_UNSUPPORTED_PLATFORM', 1],
    ['ERR_INVALID_ARG_VALUE', 2],
    ['ERR_INVALID_ARG_TYPE', 2],
  ] as const) {
    answer = new errors.HardenError({ code, message: 'what\nit is\x07', remedy: 'do' })
    const stderr = `privdrop: ${code}: what\nit is\\u{7}. Remedy: do.\n`
    t.strictSame(run(), { status, stdout: '', stderr })
    const json = run('--json')
    const error = { code, message: 'what\nit is\x07. Remedy: do.', remedy: 'do' }
    t.strictSame({ ...json, stdout: JSON.parse(json.stdout) }, { status, stdout: { error }, stderr: '' })
  }
  const placed = { place: 'ec.conf:2:3', message: 'ec.conf:2:3: no', remedy: 'do' }
  answer = new errors.HardenError({ code: 'ERR_UNKNOWN_CREDENTIAL', ...placed })
  t.strictSame(run(), { status: 3, stdout: '', stderr: 'ec.conf:2:3: no. Remedy: do.\n' }, 'it stands in a file')
  const bug = new TypeError('bug')
  answer = bug
  t.throws(() => run(), bug)
})

t.test('colours are for terminals, unless they are not wanted', async (t) => {
  const refusals = [{ code: 'ERR_HARDEN_ACCESS', message: 'no. Remedy: do.', remedy: 'do' }]
  const findings = [found('HARDEN_NEXT_START', 'danger'), found('HARDEN_GROUP_ROOT', 'note')]
  const shown = (terminal: object) => planWith(t, () => ({ ...made, refusals, findings }), terminal).run().stdout
  const lines = shown({ isTTY: true }).split('\n')
  t.strictSame(
    lines.filter((line) => line.includes('\x1b')).map((line) => [line.slice(0, 11), line.slice(-5)]),
    [
      ['\x1b[31mrefuse', '\x1b[39m'],
      ['\x1b[31m      ', '\x1b[39m'],
      ['\x1b[31mdanger', '\x1b[39m'],
      ['\x1b[31m      ', '\x1b[39m'],
      ['\x1b[31mverdic', '\x1b[39m'],
    ],
  )
  t.notMatch(planWith(t, () => made, { isTTY: true }).run().stdout, '\x1b', 'nothing to act upon')
  const plain = shown({})
  t.notMatch(plain, '\x1b')
  t.equal(lines.map(uncoloured).join('\n'), plain)
  t.equal(shown({ isTTY: true, env: { NO_COLOR: '1' } }), plain)
  t.equal(shown({ isTTY: true, env: { NO_COLOR: '' } }), lines.join('\n'), 'an empty one is none')
})

t.test('a terminal is not wider than it is; a pipe has no width', async (t) => {
  const long = { ...found('HARDEN_NEXT_START', 'danger'), message: 'what it is '.repeat(20).trim() }
  const shown = (terminal: object) => planWith(t, () => ({ ...made, findings: [long] }), terminal).run().stdout
  const piped = shown({})
  t.equal(piped.split('\n')[0], `danger                HARDEN_NEXT_START: ${long.message}.`)
  for (const columns of [60, 80, 132]) {
    const lines = shown({ isTTY: true, columns }).trimEnd().split('\n').map(uncoloured)
    t.ok(lines.every((line) => line.length <= columns))
    t.ok(
      lines.some((line) => line.length > columns - 5),
      'and what there is is used',
    )
    const joined = lines.join('\n').replace(/\n {22}(?!Remedy)/g, ' ')
    t.equal(`${joined}\n`, piped, 'the words are the same')
  }
})

interface Task {
  name?: string
  uid?: string
  gid?: string
  groups?: string
  prm?: string
  bnd?: string
  inh?: string
  nnp?: number
  seccomp?: string
}

const clean = { uid: '990\t990\t990\t990', gid: '991\t991\t991\t991', bnd: '0', nnp: 1 }
const textOf = (task: Task) => `Name:\t${task.name ?? 'node'}
Uid:\t${task.uid ?? '0\t0\t0\t0'}
Gid:\t${task.gid ?? '0\t0\t0\t0'}
Groups:\t${task.groups ?? ''}${' '}
CapInh:\t${task.inh ?? '0'}
CapPrm:\t${task.prm ?? '0'}
CapEff:\t${task.prm ?? '0'}
CapBnd:\t${task.bnd ?? '1ffffffffff'}
CapAmb:\t0
NoNewPrivs:\t${task.nnp ?? 0}
${task.seccomp ?? 'Seccomp:\t0\n'}`

/** `privdrop audit 4711` where /proc has these threads, or this error. */
function auditOf(t: Test, tasks: Task[] | { code?: string; message: string }, files: object = {}, terminal = {}) {
  const fail = (code: string) => Object.assign(new Error(`${code}: failed`), { code })
  const all: Record<string, string> = {
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nhal:x:990:991::/:\nodd\n+::::::\n',
    '/etc/group': 'root:x:0:\nmail:x:8:\nhal:x:991:\n',
    '/proc/self/ns/user': 'user:[1]',
    '/proc/4711/ns/user': 'user:[1]',
    '/proc/self/task': '',
    ...files,
  }
  if (Array.isArray(tasks))
    for (const [index, task] of tasks.entries()) all[`/proc/4711/task/${4711 + index}/status`] = textOf(task)
  const ask = (path: string) => {
    if (all[path] === undefined) throw fail('ENOENT')
    return all[path]
  }
  const run = commandWith(
    t,
    {
      'node:fs': {
        ...fs,
        openSync: (path: string) => path,
        readFileSync: ask,
        closeSync: () => {},
        fstatSync: () => ({ isFile: () => true, size: 0 }),
        readlinkSync: ask,
        existsSync: (path: string) => all[path] !== undefined,
        readdirSync: (path: string) => {
          t.equal(path, '/proc/4711/task')
          if (!Array.isArray(tasks)) throw Object.assign(new Error(tasks.message), tasks)
          return tasks.map((_, index) => String(4711 + index))
        },
      },
      '../lib/native': {
        native: () => ({
          capabilityNames: () =>
            Array.from(
              { length: 41 },
              (_, bit) => ({ 10: 'cap_net_bind_service', 21: 'cap_sys_admin' })[bit] ?? `c${bit}`,
            ),
          groupById: (gid: number) => ({ 6: 'disk', 8: 'mail' })[gid],
        }),
      },
      '../lib/errors': errors,
    },
    terminal,
  )
  return {
    ...run('audit', '4711'),
    json: () => JSON.parse(run('audit', '4711', '--json').stdout),
    codes: () => JSON.parse(run('audit', '--json', '4711').stdout).findings.map(({ code }: { code: string }) => code),
  }
}

t.test('audit: threads that are alike are shown once, with names beside the numbers', async (t) => {
  const { status, stdout, stderr, json } = auditOf(t, [
    { ...clean, groups: '8 12', prm: '400', bnd: '400' },
    { ...clean, groups: '8 12', prm: '400', bnd: '400', name: 'libuv-worker' },
  ])
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.equal(
    stdout,
    `process               4711 (node)
threads               2, all alike: 4711 (node), 4712 (libuv-worker)
user                  hal (990), real, effective, saved and file system
group                 hal (991), real, effective, saved and file system
supplementary groups  mail (8), 12
permitted             cap_net_bind_service
effective             cap_net_bind_service
inheritable           none
bounding              cap_net_bind_service
ambient               none
no_new_privs          1
seccomp               none
verdict               nothing to mend
`,
  )
  const capabilities = { permitted: ['cap_net_bind_service'], effective: ['cap_net_bind_service'] }
  t.match(json(), {
    pid: 4711,
    alike: true,
    threads: [
      { tid: 4711, name: 'node', user: only(990), group: only(991), groups: [8, 12], capabilities, seccomp: 'none' },
      { tid: 4712, name: 'libuv-worker', capabilities, noNewPrivileges: true },
    ],
    findings: [],
  })
})

t.test('audit: a name that looks like a line of the kernel is a name', async (t) => {
  const { status, json } = auditOf(t, [clean, { ...clean, name: 'x\rSeccomp:\t2' }])
  t.equal(status, 0)
  t.match(json().threads, [{ seccomp: 'none' }, { seccomp: 'none' }])
})

t.test('audit: of a thread that differs, what differs', async (t) => {
  const { status, stdout, json, codes } = auditOf(t, [
    clean,
    { name: 'pool' },
    { ...clean, name: 'same' },
    { name: 'pool' },
    { ...clean, name: 'filtered', seccomp: 'Seccomp:\t2\n' },
  ])
  t.equal(status, 1)
  t.match(stdout, '\nthreads               2 of 5: 4711 (node), 4713 (same)\n')
  t.match(
    stdout,
    `
seccomp               none
differs               2 of 5: 4712 (pool), 4714 (pool)
user                  root (0), real, effective, saved and file system
group                 root (0), real, effective, saved and file system
bounding              all
no_new_privs          0
differs               1 of 5: 4715 (filtered)
seccomp               filter
verdict               to mend: 2 dangers
`,
  )
  t.match(
    stdout,
    /^danger {16}AUDIT_THREADS_DIFFER: .*\.\n {22}Remedy: .*\.\ndanger {16}AUDIT_ROOT: each of the threads 4712 \(pool\), 4714 \(pool\) is root.*\.\n {22}Remedy: .*\.\nprocess /,
  )
  t.equal(json().alike, false)
  t.strictSame(codes(), ['AUDIT_THREADS_DIFFER', 'AUDIT_ROOT'])
})

t.test('audit: any difference is one', async (t) => {
  for (const change of [
    { uid: '990\t990\t0\t990' },
    { gid: '991\t991\t991\t990' },
    { groups: '8' },
    { prm: '400' },
    { inh: '400' },
    { bnd: '400' },
    { nnp: 0 },
    { seccomp: 'Seccomp:\t1\n' },
  ]) {
    const { status, codes } = auditOf(t, [clean, { ...clean, ...change }])
    t.equal(status, 1, JSON.stringify(change))
    t.equal(codes()[0], 'AUDIT_THREADS_DIFFER')
  }
  const { status, stdout } = auditOf(t, [clean, { ...clean, name: 'other' }])
  t.equal(status, 0, 'a name is none')
  t.notMatch(stdout, /danger|differs/)
})

t.test('audit: what is dangerous', async (t) => {
  const table: [title: string, task: Task, found: [level: string, code: string, message: RegExp][]][] = [
    ['nothing', clean, []],
    ['root', {}, [['danger', 'AUDIT_ROOT', /^every thread is root/]]],
    ['root by its effective id', { ...clean, uid: '990\t0\t990\t990' }, [['danger', 'AUDIT_ROOT', /root/]]],
    ['root by its file system id', { ...clean, uid: '990\t990\t990\t0' }, [['danger', 'AUDIT_ROOT', /root/]]],
    ['root set aside', { ...clean, uid: '0\t990\t0\t990' }, [['danger', 'AUDIT_ROOT_AGAIN', /seteuid\(0\)/]]],
    ['saved', { ...clean, uid: '990\t990\t0\t990' }, [['danger', 'AUDIT_ROOT_AGAIN', /seteuid\(0\)/]]],
    ['real', { ...clean, uid: '0\t990\t990\t990' }, [['danger', 'AUDIT_ROOT_AGAIN', /seteuid\(0\)/]]],
    ["root's groups", { ...clean, groups: '0 4' }, [['danger', 'AUDIT_GROUP_ROOT', /is in root's group, 0, without/]]],
    [
      "root's group",
      { ...clean, gid: '991\t991\t0\t991' },
      [['danger', 'AUDIT_GROUP_ROOT', /is in root's group, 0, without/]],
    ],
    ['groups of others', { ...clean, groups: '4 10' }, []],
    ['what binds a port', { ...clean, prm: '400' }, []],
    ['what is root', { ...clean, prm: '200400' }, [['danger', 'AUDIT_CAPABILITY_IS_ROOT', /cap_sys_admin \(mounts, /]]],
    ['gains by programs', { ...clean, nnp: 0 }, [['note', 'AUDIT_NEW_PRIVILEGES', /no_new_privs is off$/]]],
    [
      'gains by programs, and without bounds',
      { ...clean, nnp: 0, bnd: '400' },
      [['note', 'AUDIT_NEW_PRIVILEGES', /no_new_privs is off, and the bounding set not trimmed$/]],
    ],
    [
      'bounded',
      { ...clean, nnp: 0, bnd: '600', prm: '400', inh: '200' },
      [['note', 'AUDIT_NEW_PRIVILEGES', /is off$/]],
    ],
    ['no new privileges is enough', { ...clean, bnd: '1ffffffffff' }, []],
  ]
  for (const [title, task, wanted] of table) {
    const { json, codes, status } = auditOf(t, [task])
    t.equal(status, wanted.some(([level]) => level === 'danger') ? 1 : 0, title)
    t.match(
      json().findings,
      wanted.map(([level, code, message]) => ({ level, code, message, remedy: /\w/ })),
      title,
    )
    t.strictSame(
      codes(),
      wanted.map(([, code]) => code),
      title,
    )
  }
  const [, single] = auditOf(t, [clean, { ...clean, groups: '0', name: 'odd' }]).json().findings
  t.match(single.message, /^thread 4712 \(odd\) is in root's group/)
})

t.test('audit: another user namespace', async (t) => {
  const other = { '/proc/4711/ns/user': 'user:[2]' }
  t.strictSame(auditOf(t, [clean], other).codes(), ['AUDIT_USER_NAMESPACE'])
  t.strictSame(auditOf(t, [clean], { '/proc/4711/ns/user': undefined }).codes(), [], 'who may not look is not told')
})

t.test('audit: long sets are short, and names are for people', async (t) => {
  const { stdout } = auditOf(t, [{ prm: '1ffffdffbff', inh: '7ff', seccomp: '' }], {
    '/etc/passwd': undefined,
    '/etc/group': undefined,
  })
  t.match(stdout, '\nuser                  0, real, effective, saved and file system\n')
  t.match(stdout, '\npermitted             all but cap_net_bind_service cap_sys_admin\n')
  t.match(stdout, '\ninheritable           c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 cap_net_bind_service\n')
  t.match(stdout, '\nbounding              all\n')
  t.match(stdout, '\nseccomp               none\n', 'a kernel without it')
  t.match(auditOf(t, [{ seccomp: 'Seccomp:\t1\n' }]).stdout, '\nseccomp               strict\n')
  t.match(auditOf(t, [{ seccomp: 'Seccomp:\t7\n' }]).stdout, '\nseccomp               7\n', 'a mode that is not known')
})

t.test('audit: a thread may call itself anything', async (t) => {
  const name = '\x1b]0;é\x07\u009b\u202e'
  for (const terminal of [{}, { isTTY: true }]) {
    const { stdout, json } = auditOf(t, [{ ...clean, name }, { name }], {}, terminal)
    t.match(stdout, '(\\u{1b}]0;é\\u{7}\\u{9b}\\u{202e})')
    t.notMatch(stdout.split('\n').map(uncoloured).join(''), /[\p{Cc}\p{Cf}]/u)
    t.equal(json().threads[0].name, name, 'exactly, as JSON')
  }
})

t.test('audit: what cannot be looked at is 3', async (t) => {
  const table: [fault: { code?: string; message: string }, stderr: RegExp, files?: object][] = [
    [{ code: 'ENOENT', message: '' }, /^privdrop: there is no process 4711; or .*hidepid/],
    [{ code: 'ENOENT', message: '' }, /^privdrop: there is no \/proc .*Linux/, { '/proc/self/task': undefined }],
    [{ code: 'ESRCH', message: '' }, /^privdrop: there is no process 4711/],
    [{ code: 'EACCES', message: '' }, /^privdrop: process 4711 may not be read \(EACCES\): run this as root/],
    [{ code: 'EPERM', message: '' }, /^privdrop: process 4711 may not be read \(EPERM\)/],
    [{ code: 'EMFILE', message: 'too many \x1b' }, /^privdrop: process 4711 cannot be read: too many \\u\{1b\}\n$/],
  ]
  for (const [fault, stderr, files] of table)
    t.match({ ...auditOf(t, fault, files) }, { status: 3, stdout: '', stderr })
  t.match(auditOf(t, []), { status: 3, stderr: /there is no process 4711/ }, 'all of its threads have ended meanwhile')
  t.match(
    auditOf(t, [clean, { ...clean, uid: 'odd' }]),
    { status: 3, stdout: '', stderr: /cannot be read: the status of the thread has an odd line Uid/ },
    'not understood is not assumed',
  )
})

t.test('audit: without the addon there are no names', async (t) => {
  const error = new errors.HardenError({ code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM', message: 'none', remedy: 'do' })
  const run = commandWith(t, {
    '../lib/platform/linux/proc': {
      readKinds: () => {
        throw error
      },
    },
    '../lib/errors': errors,
  })
  const { status, stdout, stderr } = run('audit', '1', '--json')
  const found = { code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM', message: /^ERR_HARDEN_UNSUPPORTED_PLATFORM: none/ }
  t.match({ status, stderr, ...JSON.parse(stdout) }, { status: 3, stderr: '', error: found })
  t.strictSame(run('audit', '1'), {
    status: 3,
    stdout: '',
    stderr: 'privdrop: ERR_HARDEN_UNSUPPORTED_PLATFORM: none. Remedy: do.\n',
  })
})
