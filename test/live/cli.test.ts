/** Promise: `privdrop audit` says of any process what the kernel says, and `privdrop plan` what harden() would do. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
import { live } from './live'
import { tasks } from './outside'
import { copy, loadIds, loadThreads, nodeUnderTest, plainNode, start } from './subject'

const command = join(copy(), 'dist/cli.js')
const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--']

/** What it prints, started by env(1) so that a wrapper may stand before it. */
function privdrop(args: string[], wrapper: string[] = []) {
  const given = [...plainNode.slice(0, 2), ...wrapper, nodeUnderTest, command, ...args]
  const { status, stdout, stderr } = spawnSync('env', given, { encoding: 'utf8', cwd: '/' })
  return { status, stdout, stderr }
}

function audit(pid: number) {
  const { status, stdout, stderr } = privdrop(['audit', '--json', String(pid)])
  return { status, stderr, ...JSON.parse(stdout) }
}
const codes = (report: { findings: { code: string }[] }) => report.findings.map(({ code }) => code)

/** A process that is no Node, and ends with the test; ready when it is what it executes last. */
async function stranger(t: Test, program: string, ...wrapper: string[]): Promise<ChildProcess & { pid: number }> {
  const inner = 'echo; exec "$@"'
  const child = spawn('env', [...wrapper, 'sh', '-c', inner, 'sh', program, '1000'], { stdio: ['ignore', 'pipe', 2] })
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
  })
  await once(child.stdout as Readable, 'data')
  while (tasks(child.pid as number)[0]?.name === 'sh') await new Promise(setImmediate)
  return child as ChildProcess & { pid: number }
}

live('audit: a process that has called harden()', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await subject.ask('harden', options)
  const report = audit(subject.pid)
  t.match(report, { status: 0, stderr: '', pid: subject.pid, alike: true, findings: [] })
  const shown = report.threads.map(
    ({ tid, name, user, groups, capabilities, noNewPrivileges }: (typeof report.threads)[number]) => ({
      tid,
      name,
      uid: Object.values(user).join(' '),
      groups: groups.join(' '),
      bound: capabilities.bounding.join() === 'cap_net_bind_service',
      noNewPrivs: noNewPrivileges ? '1' : '0',
    }),
  )
  const seen = tasks(subject.pid).map(({ tid, name, uid, groups, bounding, noNewPrivs }) => ({
    ...{ tid, name, uid, groups, noNewPrivs },
    bound: bounding === '0000000000000400',
  }))
  const byTid = (a: { tid: number }, b: { tid: number }) => a.tid - b.tid
  t.same(shown.sort(byTid), seen.sort(byTid), 'as root sees it from outside')
  const { status, stdout } = privdrop(['audit', String(subject.pid)])
  t.equal(status, 0)
  t.match(stdout, /^user +nobody \(65534\), real, effective, saved and file system$/m)
  t.notMatch(stdout, /danger|differs/)
  t.notOk(stdout.includes('\x1b'), 'no colours in a pipe')
})

live('audit: what setgid() and setuid() alone leave behind, as most servers do', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--groups=0,4', '--regid=65534', '--reuid=65534', '--'] })
  const report = audit(subject.pid)
  t.equal(report.status, 1)
  t.same(codes(report), ['AUDIT_GROUP_ROOT', 'AUDIT_NEW_PRIVILEGES'])
  t.match(privdrop(['audit', String(subject.pid)]).stdout, /^supplementary groups +root \(0\), adm \(4\)$/m)
})

live('audit: one that has set root aside', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadIds(t, subject)
  await subject.ask('native', 'seteuid', 65534)
  t.same(codes(audit(subject.pid)), ['AUDIT_ROOT_AGAIN'])
  await subject.ask('native', 'seteuid', 0)
  t.same(codes(audit(subject.pid)), ['AUDIT_ROOT'])
})

live('audit: a thread that differs', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startOther')
  const { status, stdout } = privdrop(['audit', String(subject.pid)])
  t.equal(status, 1)
  t.match(
    stdout,
    new RegExp(`^differs +1 of \\d+: ${tid} \\(.*\\)\nuser +real root \\(0\\), effective \\S+ \\(8\\)`, 'm'),
  )
  const report = audit(subject.pid)
  t.match(report, { status: 1, alike: false })
  t.same(codes(report), ['AUDIT_THREADS_DIFFER', 'AUDIT_ROOT', 'AUDIT_ROOT_AGAIN'])
  await subject.ask('native', 'stop')
  t.match(audit(subject.pid), { alike: true, findings: [{ code: 'AUDIT_ROOT' }] })
})

live('audit: while threads come and go', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  await subject.ask('native', 'startChurn')
  t.match(audit(subject.pid), { alike: true, findings: [{ code: 'AUDIT_ROOT' }] })
})

live('audit: a program that is no Node, whatever it is called', ['root', 'setpriv'], async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  const name = '\x1b[31mé\x07'
  symlinkSync('/bin/sleep', join(folder, name))
  const kept = ['setpriv', '--reuid=65534', '--regid=65534', '--groups=0', '--inh-caps=-all', '--']
  const { pid } = await stranger(t, join(folder, name), ...kept)
  const { status, stdout } = privdrop(['audit', String(pid)])
  t.equal(status, 1)
  t.match(stdout, `threads               1, all alike: ${pid} (\\u{1b}[31mé\\u{7})\n`)
  t.notMatch(stdout, '\x1b')
  const report = audit(pid)
  t.equal(report.threads[0].name, name)
  t.same(codes(report), ['AUDIT_GROUP_ROOT', 'AUDIT_NEW_PRIVILEGES'])
})

live('in a terminal of 80 columns each line fits', ['root', 'script'], async (t) => {
  const table =
    'NODE --no-warnings --eval "require(process.argv[1]).harden({ user: \'nobody\' }); console.log(String(require(process.argv[1]).audit()))" INDEX'
  for (const [line, wanted] of [
    ['NODE CLI plan --user nobody --read /etc/shadow', /^refused +ERR_HARDEN_ACCESS: .*\r\n +.*\r\n +Remedy: /],
    ['NODE CLI audit $PPID', /^danger +AUDIT_ROOT: .*\r\n +.*\r\n +Remedy: .*\r\n/],
    [table, /^threads +\d+, all alike: \d+ \([\w-]+\), .*\r\n {22}\d+ \([\w-]+\), /],
  ] as const) {
    const program = line
      .replace('NODE', nodeUnderTest)
      .replace('CLI', command)
      .replace('INDEX', join(copy(), 'dist/index.js'))
    const args = [
      'env',
      ...plainNode.slice(0, 2),
      'NO_COLOR=1',
      'script',
      '-qec',
      `stty cols 80; ${program}`,
      '/dev/null',
    ]
    const { stdout } = spawnSync('/usr/bin/env', args.slice(1), { encoding: 'utf8', cwd: '/' })
    t.match(stdout, wanted)
    const lines = stdout.split('\r\n')
    t.same(
      lines.filter((text) => text.length > 80),
      [],
    )
    t.ok(lines.some((text) => text.length > 70))
  }
})

live('audit: no such process, and one that is hidden', ['root', 'setpriv'], async (t) => {
  const ended = spawn('true')
  await once(ended, 'close')
  t.match(privdrop(['audit', String(ended.pid)]), { status: 3, stdout: '', stderr: /^privdrop: there is no process/ })
  for (const [hidepid, stderr] of [
    [1, /^privdrop: process 1 may not be read \(EPERM\): run this as root/],
    [2, /^privdrop: there is no process 1; .*hidepid/],
  ] as const) {
    // a pid namespace of its own, for the option is one of all its mounts before Linux 5.8; the shell stays process 1
    const shell = `mount -t proc -o hidepid=${hidepid} proc /proc && ${asNobody.join(' ')} "$@"; exit $?`
    const wrapper = ['unshare', '--mount', '--pid', '--fork', 'sh', '-c', shell, 'sh']
    t.match(privdrop(['audit', '1'], wrapper), { status: 3, stdout: '', stderr }, `hidepid=${hidepid}`)
  }
  const without = ['unshare', '--mount', 'sh', '-c', 'umount -l /proc && exec "$@"', 'sh']
  t.match(privdrop(['audit', '1'], without), { status: 3, stderr: /there is no \/proc/ })
})

live('who reads no further has read enough; what cannot be written is said', ['root', 'ip'], async (t) => {
  const network = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  const cases: [args: string[], status: number][] = [
    [['--help'], 0],
    [['config', join(__dirname, '../fixtures/ecelerity.conf')], 0],
    [['plan', '--user', 'nobody'], 0],
    [['audit', String(process.pid)], 1],
    [['demo'], 0],
    [['demo', '--json'], 2],
    [['harden'], 2],
  ]
  for (const [args, status] of cases)
    for (const stream of ['stdout', 'stderr'] as const) {
      const given = [...plainNode.slice(0, 2), ...network, nodeUnderTest, join(__dirname, '../../dist/cli.js'), ...args]
      const child = spawn('env', given, { stdio: ['ignore', 'pipe', 'pipe'] })
      child[stream].destroy()
      const other = child[stream === 'stdout' ? 'stderr' : 'stdout']
      let said = ''
      other.on('data', (text) => {
        said += text
      })
      t.same(await once(child, 'close'), [status, null], `${args.join(' ')}, ${stream}`)
      t.notMatch(said, /EPIPE|^ +at /m)
    }
  const full = privdrop(['--help'], ['sh', '-c', 'exec "$@" >/dev/full', 'sh'])
  t.match(full, { status: 3, stderr: /^privdrop: the output could not be written: .*ENOSPC/ })
  t.match(privdrop(['--help'], ['sh', '-c', 'exec "$@" >/dev/full 2>&1', 'sh']), { status: 3, stdout: '', stderr: '' })
})

live('plan: what harden() would do, and nothing about the process that says it', ['root'], async (t) => {
  const args = ['plan', '--user', 'nobody', '--capabilities', 'cap_net_bind_service+ep', '--bind', '25,465']
  // it has root's home, no listener, and an open file that only root may open
  const { status, stdout, stderr } = privdrop(args, ['HOME=/root', 'sh', '-c', 'exec "$@" 3</etc/shadow', 'sh'])
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.match(stdout, /^user +nobody \(65534\), real, effective, saved and file system$/m)
  t.match(stdout, /^permitted +cap_net_bind_service$/m)
  t.match(stdout, /\nverdict +would be done\n$/)
  t.notMatch(stdout, /rehearsed|refused|HARDEN_(?:NOT_LISTENING|ENVIRONMENT|DESCRIPTORS|TIOCSTI)/)
  const json = privdrop([...args, '--json', '--supplemental-groups', 'mail,4'])
  t.match(JSON.parse(json.stdout), { platform: 'linux', groups: [4, 8], refusals: [], steps: [{ rehearsed: true }] })
})

live('plan: what would be refused', ['root', 'setpriv'], async (t) => {
  const table: [args: string[], status: number, code: string, wrapper?: string[]][] = [
    [['--user', 'nobody', '--bind', '25'], 1, 'ERR_HARDEN_ACCESS'],
    [['--user', 'nobody', '--read', '/etc/shadow'], 1, 'ERR_HARDEN_ACCESS'],
    [['--user', 'nobody'], 1, 'ERR_HARDEN_NOT_PERMITTED', ['setpriv', '--bounding-set=-setuid', '--']],
    [['--user', 'mail'], 1, 'ERR_HARDEN_NOT_PERMITTED', asNobody],
    [['--user', 'no-such-user'], 1, 'ERR_UNKNOWN_CREDENTIAL'],
    [['--user', 'nobody', '--capabilities', 'cap_no+ep'], 1, 'ERR_HARDEN_CAPABILITIES'],
    [[], 1, 'ERR_HARDEN_USER_REQUIRED'],
    [['--user', 'nobody', '--chroot', 'srv'], 2, 'ERR_INVALID_ARG_VALUE'],
    [['--user', 'nobody', '--bind', 'smtp'], 2, 'ERR_INVALID_ARG_TYPE'],
    [['--user', ''], 2, 'ERR_INVALID_ARG_VALUE'],
  ]
  for (const [args, status, code, wrapper] of table) {
    const found = privdrop(['plan', ...args], wrapper)
    t.equal(found.status, status, args.join(' '))
    t.match(found.stdout + found.stderr, `${code}: `)
    t.notMatch(found.stderr, /^ +at /m)
  }
})

live('plan: from a configuration file', ['root'], async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'ecelerity.conf')
  writeFileSync(
    file,
    'security {\n  user = "nobody"\n  group = "nogroup"\n  capabilities = "cap_net_bind_service+ep"\n}\n',
  )
  const { status, stdout } = privdrop(['plan', '--json', '--config', file, '--bind', '25', '--group', 'mail'])
  t.equal(status, 0)
  t.match(JSON.parse(stdout), { user: { real: 65534 }, group: { real: 8 }, refusals: [] })
  // the primary group of nobody, not that of the file
  writeFileSync(file, 'security {\n  user = mail\n  group = adm\n}\n')
  for (const [more, uid, gid] of [
    [['--user', 'nobody'], 65534, 65534],
    [['--user', 'nobody', '--group', 'mail'], 65534, 8],
    [[], 8, 4],
  ] as const) {
    const found = privdrop(['plan', '--json', '--config', file, ...more])
    t.match(JSON.parse(found.stdout), { user: { real: uid }, group: { real: gid } })
  }
  writeFileSync(file, 'security {\n  user "nobody"\n}\n')
  t.match(privdrop(['plan', '--config', file]), {
    status: 3,
    stdout: '',
    stderr: new RegExp(`^${file}:3:1: .*\\n}\\n\\^\\n$`),
  })
  t.match(privdrop(['plan', '--config', `${file}.no`]), { status: 3, stderr: /ENOENT/ })
})

live('what is wrong in the file is shown where it stands', ['root'], async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'ecelerity.conf')
  const table: [text: string, place: string, code: string][] = [
    ['security { user = no-such-user }', '1:19', 'ERR_UNKNOWN_CREDENTIAL'],
    ['security { user = mail\n group = no-such-group }', '2:10', 'ERR_UNKNOWN_CREDENTIAL'],
    ['security { user = mail group = mail supplemental_groups = ( adm,\nno-such ) }', '2:1', 'ERR_UNKNOWN_CREDENTIAL'],
    ['security { user = 4294967295 }', '1:19', 'ERR_INVALID_ARG_VALUE'],
    ['security { user = mail group = mail\ncapabilities = "cap_no+ep" }', '2:16', 'ERR_HARDEN_CAPABILITIES'],
    ['security { user = mail group = mail\nchroot = "srv" }', '2:10', 'ERR_INVALID_ARG_VALUE'],
    ['security { user = mail group = mail\nchroot = "/no/such" }', '2:10', 'ERR_HARDEN_NOT_PERMITTED'],
  ]
  const subject = await start(t)
  for (const [text, place, code] of table) {
    writeFileSync(file, text)
    const found = privdrop(['plan', '--config', file])
    t.match(found, { status: 3, stdout: '' }, text)
    t.ok(found.stderr.startsWith(`${file}:${place}: `), found.stderr)
    const json = privdrop(['plan', '--config', file, '--json'])
    t.match(
      { ...json, ...JSON.parse(json.stdout) },
      { status: 3, stderr: '', error: { code, place: `${file}:${place}` } },
    )
    const { message } = await subject.refusal('hardenAsConfigured', file, {})
    t.ok(String(message).startsWith(`${file}:${place}: `), `harden(): ${message}`)
  }
})

live('a directory that may not be read', ['root', 'setpriv'], async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  mkdirSync(join(folder, 'closed'), { mode: 0o700 })
  writeFileSync(join(folder, 'closed/x'), '')
  for (const text of ['include "closed"', 'include "closed/x"', 'local_changes_file = "closed/x"']) {
    writeFileSync(join(folder, 'ecelerity.conf'), `security { }\n${text}`)
    const { status, stdout, stderr } = privdrop(['config', join(folder, 'ecelerity.conf')], asNobody)
    t.match({ status, stdout }, { status: 3, stdout: '' }, text)
    t.match(
      stderr,
      new RegExp(`^${folder}/ecelerity.conf:2:${text.indexOf('"') + 1}: .*closed.* cannot be read: EACCES`),
    )
  }
})
