/** Promise: what docs/momentum.md and docs/command-line.md show is what happens: their files, commands and programs, as they stand. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
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

/** Both streams, as a terminal shows them. */
function run(t: Test, cwd: string, ...args: string[]): string {
  const network = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@" 2>&1', 'sh']
  const wrapper = [...plainNode.slice(0, 2), ...withAccounts(t), ...network, nodeUnderTest, '--no-warnings']
  const { stdout } = spawnSync('env', [...wrapper, ...args], { cwd, encoding: 'utf8' })
  return stdout.replaceAll(cwd, '/opt/mta')
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
