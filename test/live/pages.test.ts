/** Promise: the files, commands and programs of the pages in docs/ do what the pages say, unchanged. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
import ts from 'typescript'
import { withAccounts } from './accounts'
import { live } from './live'
import { folder, nodeUnderTest, plainNode } from './subject'

const root = join(__dirname, '../..')
const pageOf = (name: string) => readFileSync(join(root, 'docs', name), 'utf8')

/** A paragraph that begins with a path and ends with a colon says what the block after it is. */
const filesOf = (page: string) => [...page.matchAll(/^`([^`\n]+)`[^\n]*:\n\n```\n(.*?)^```$/gms)]
const commandsOf = (page: string) => [...page.matchAll(/^```\n# npx privdrop ([^\n]*)\n(.*?)^```$/gms)]
const programsOf = (page: string) => [...page.matchAll(/^```ts\n(.*?)^```\n\n[^\n]*:\n\n```\n(.*?)^```$/gms)]

/** Where the package is found by its name, and the files of the page lie. */
function project(t: Test, page: string): string {
  const path = folder(t)
  mkdirSync(join(path, 'node_modules'))
  symlinkSync(root, join(path, 'node_modules/privdrop'))
  for (const [, name = '', text = ''] of filesOf(page)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}

/** Arguments of env(1): Node with the accounts and in a network of its own; both streams, as a terminal shows them. */
function node(t: Test, ...args: string[]): string[] {
  const network = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@" 2>&1', 'sh']
  return [...plainNode.slice(0, 2), ...withAccounts(t), ...network, nodeUnderTest, '--no-warnings', ...args]
}

function run(t: Test, cwd: string, ...args: string[]): string {
  return spawnSync('env', node(t, ...args), { cwd, encoding: 'utf8' }).stdout.replaceAll(cwd, '/opt/mta')
}

live('docs/momentum.md', ['root', 'ip'], async (t) => {
  const page = pageOf('momentum.md')
  const cwd = project(t, page)
  t.equal(filesOf(page).length, 6)
  t.equal(commandsOf(page).length, 3)
  for (const [, command = '', output = ''] of commandsOf(page))
    t.equal(run(t, cwd, join(root, 'dist/cli.js'), ...command.split(' ')), output, command)
  t.equal(programsOf(page).length, 2)
  for (const [, program = '', output = ''] of programsOf(page))
    t.equal(run(t, cwd, '--input-type=module', '--eval', program), output)
})

live('docs/momentum.md: the ownership that it advises', ['root'], async (t) => {
  const cwd = project(t, pageOf('momentum.md'))
  const [, commands = ''] = /```sh\n(chown.*?)```/s.exec(pageOf('momentum.md')) ?? []
  const check = `${commands}
    find etc ! \\( -user root -group ecuser \\) -o -perm /027 ! -type l
    setpriv --reuid=ecuser --regid=ecuser --clear-groups -- sh -c 'cat etc/ecelerity.conf etc/conf/global/groups.conf >/dev/null && ! touch etc/x 2>/dev/null && echo reads'`
  const { stdout, stderr } = spawnSync('env', [...withAccounts(t), 'sh', '-c', check], { cwd, encoding: 'utf8' })
  t.match({ stdout, stderr }, { stdout: 'reads\n', stderr: '' })
})

live('docs/command-line.md', ['root', 'ip', 'setpriv'], async (t) => {
  const page = pageOf('command-line.md')
  const [plan, audit] = commandsOf(page)
  const cwd = folder(t)
  const [, command = '', output = ''] = plan ?? []
  t.match(command, /^plan --user nobody /)
  t.equal(run(t, cwd, join(root, 'dist/cli.js'), ...command.split(' ')), output)

  const drop = ['--reuid=65534', '--regid=65534', '--groups=0', '--inh-caps=-all', '--']
  const child = spawn('setpriv', [...drop, 'sh', '-c', 'echo; exec sleep 1000'], { stdio: ['ignore', 'pipe', 2] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout as Readable, 'data')
  const pid = String(child.pid)
  while (readFileSync(`/proc/${pid}/comm`, 'latin1') !== 'sleep\n') await new Promise(setImmediate)
  const [, shown = '', table = ''] = audit ?? []
  t.match(shown, /^audit \d+$/)
  const said = spawnSync('env', [...plainNode, join(root, 'dist/cli.js'), 'audit', pid], { encoding: 'utf8' }).stdout
  // what root's processes may have differs from machine to machine
  const alike = (text: string, number: string) => text.replaceAll(number, 'PID').replace(/^(bounding +).*$/m, '$1all')
  t.equal(alike(said, pid), alike(table, shown.replace('audit ', '')))
})

live('docs/command-line.md: NODE_DEBUG', ['root', 'ip'], async (t) => {
  const [, command = '', lines = ''] =
    /^```\n# NODE_DEBUG=privdrop npx privdrop ([^\n]*)\n(.*?)\n```$/ms.exec(pageOf('command-line.md')) ?? []
  const args = node(t, join(root, 'dist/cli.js'), ...command.split(' '))
  const env = { ...process.env, NODE_DEBUG: 'privdrop' }
  const { stdout } = spawnSync('env', args, { encoding: 'utf8', env })
  const found = stdout.replace(/^PRIVDROP \d+: /gm, 'PRIVDROP 25030: ').replaceAll(nodeUnderTest, '/usr/bin/node')
  t.ok(lines.split('\n').length > 3)
  for (const line of lines.split('\n')) t.ok(found.includes(`${line}\n`), line)
})

const SMTP = 4243

function directory(path: string, uid = 0, gid = 0, mode = 0o755): void {
  mkdirSync(path, { recursive: true })
  chownSync(path, uid, gid)
  chmodSync(path, mode)
}

function certificate(path: string): void {
  mkdirSync(path, { recursive: true })
  const files = ['-keyout', join(path, 'key.pem'), '-out', join(path, 'cert.pem')]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', ...files], {
    stdio: 'ignore',
  })
  chownSync(join(path, 'key.pem'), 0, SMTP)
  chmodSync(join(path, 'key.pem'), 0o640)
}

/** Pages with one program that says what it prints; each path of the page's lies in a folder, and is made there. */
const programs: [page: string, path: string, make: (path: string) => void][] = [
  ['chroot.md', '/var/lib/smtp', (path) => directory(join(path, 'queue'), SMTP)],
  ['cluster.md', '/', () => {}],
  ['containers.md', '/var/spool/smtp', (path) => directory(path, 0, 2000, 0o2770)],
  ['files.md', '/var/spool/smtp', directory],
  ['tls.md', '/etc/smtp', certificate],
]

/** A server goes on, and is ended when it has printed as much as the page shows. */
async function linesOf(t: Test, cwd: string, program: string, count: number): Promise<string[]> {
  const { outputText } = ts.transpileModule(program, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  })
  writeFileSync(join(cwd, 'server.mjs'), outputText)
  const child = spawn('env', node(t, 'server.mjs'), { cwd, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const end = () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGKILL')
  }
  t.teardown(end)
  const found: string[] = []
  for await (const line of createInterface(child.stdout)) {
    found.push(line)
    if (found.length === count) end()
  }
  return found
}

for (const [name, path, make] of programs)
  live(`docs/${name}`, ['root', 'ip', 'openssl'], async (t) => {
    const page = pageOf(name)
    const cwd = project(t, '')
    const [[, program = '', output = ''] = [], ...more] = programsOf(page)
    t.same(more, [], 'one program')
    make(join(cwd, path))
    const wanted = output.trimEnd().split('\n')
    const here = path === '/' ? program : program.replaceAll(path, join(cwd, path))
    const found = await linesOf(t, cwd, here, wanted.length)
    t.same(
      found.map((line) => line.replaceAll(cwd, '')),
      wanted,
    )
  })

live('docs/files.md: what the next start will meet', ['root', 'ip'], async (t) => {
  const [, command = '', said = ''] =
    /^```sh\nnpx privdrop (plan [^\n]*)\n```\n\n[^\n]*:\n\n```\n(.*?)\n```$/ms.exec(pageOf('files.md')) ?? []
  const cwd = project(t, '')
  directory(join(cwd, 'opt/smtp'), SMTP)
  writeFileSync(join(cwd, 'opt/smtp/server.js'), '')
  directory(join(cwd, 'etc/smtp'))
  const args = command.replaceAll(/ \//g, ` ${cwd}/`).split(' ')
  const shown = run(t, cwd, join(root, 'dist/cli.js'), ...args).replaceAll('/opt/mta', '')
  t.ok(said.startsWith('HARDEN_NEXT_START: '))
  t.ok(shown.startsWith(`danger                ${said}\n`), shown)
  chownSync(join(cwd, 'opt/smtp'), 0, 0)
  t.notMatch(run(t, cwd, join(root, 'dist/cli.js'), ...args), 'HARDEN_NEXT_START', 'not, where it belongs to root')
})

/** A server that gives up root. Each line that it reads it writes to its log; at SIGHUP it opens the log again. */
function logging(t: Test, log: string, opens: 'before' | 'after') {
  const program = `
    const { openSync, writeSync, closeSync } = require('node:fs')
    let log = ${opens === 'before' ? `openSync(process.argv[1], 'a')` : 'undefined'}
    require('privdrop').harden({ user: 'nobody' })
    log ??= openSync(process.argv[1], 'a')
    process.on('SIGHUP', () => {
      closeSync(log)
      log = openSync(process.argv[1], 'a')
      console.log('opened')
    })
    require('node:readline').createInterface(process.stdin).on('line', (line) => {
      writeSync(log, line + '\\n')
      console.log(line)
    })
    console.log(process.getuid())`
  const args = [...plainNode, '--no-warnings', '--eval', program, log]
  const child = spawn('env', args, { cwd: project(t, ''), stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value
  const write = async (line: string) => {
    child.stdin.write(`${line}\n`)
    t.equal(await next(), line)
  }
  return { pid: child.pid as number, next, write }
}

for (const [index, opens] of (['after', 'before'] as const).entries())
  live(`docs/files.md: a log that logrotate rotates, opened ${opens} harden()`, ['root', 'logrotate'], async (t) => {
    const [, text = ''] =
      [...pageOf('files.md').matchAll(/^```\n# \/etc\/logrotate\.d\/smtp\n(.*?)^```$/gms)][index] ?? []
    const cwd = folder(t)
    const path = (name: string) => join(cwd, name)
    writeFileSync(path('server.log'), '', { mode: 0o640 })
    if (opens === 'after') chownSync(path('server.log'), 65534, 65534)
    const { pid, next, write } = logging(t, path('server.log'), opens)
    t.equal(await next(), '65534')
    await write('one')
    const config = text
      .replace('/var/log/smtp', cwd)
      .replace('smtp smtp', 'nobody nogroup')
      .replace('systemctl reload smtp', `kill -HUP ${pid}`)
    writeFileSync(path('config'), config, { mode: 0o644 })
    execFileSync('logrotate', ['--force', '--state', path('state'), path('config')])
    if (opens === 'after') t.equal(await next(), 'opened')
    await write('two')
    const { uid, mode } = statSync(path('server.log'))
    t.same([uid, mode & 0o777], [opens === 'after' ? 65534 : 0, 0o640])
    t.equal(readFileSync(path('server.log.1'), 'utf8'), 'one\n')
    t.equal(readFileSync(path('server.log'), 'utf8'), 'two\n')
  })

live('docs/what-changes.md: the files of /proc/self', ['root', 'ip'], async (t) => {
  const [, list = ''] = /^\| `\/proc\/self\/` ([\w, ]+);/m.exec(pageOf('what-changes.md')) ?? []
  const names = list.split(', ')
  t.ok(names.length > 5)
  const program = `
    const { closeSync, openSync } = require('node:fs')
    const answers = () => ${JSON.stringify(names)}.map((name) => {
      try {
        closeSync(openSync('/proc/self/' + name))
        return 'opened'
      } catch ({ code }) {
        return code
      }
    })
    const before = answers()
    require('privdrop').harden({ user: 'nobody' })
    console.log(JSON.stringify([before, answers()]))`
  const [before, after] = JSON.parse(run(t, project(t, ''), '--eval', program))
  t.same(
    before,
    names.map(() => 'opened'),
  )
  t.same(
    after,
    names.map(() => 'EACCES'),
  )
})
