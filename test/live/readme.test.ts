/** Promise: the programs of the README run unchanged, and print what it shows. In a network of their own, where port 25
 * is free. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { live } from './live'
import { plainNode } from './subject'

const root = join(__dirname, '../..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The code of a section, and what is shown to be printed. */
function shown(section: string): { program: string; output: string[] } {
  const [, text = ''] = readme.split(`\n## ${section}\n`)
  const [, program = '', output = ''] = /```ts\n(.*?)```.*?```\n(.*?)\n```/s.exec(text) ?? []
  return { program, output: output.split('\n') }
}

/** The first so many lines that it prints; then it is ended. */
async function lines(t: Test, program: string, count: number, ...wrapper: string[]): Promise<string[]> {
  const network = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  const args = [...network, ...wrapper, 'env', ...plainNode, '--input-type=module', '--eval', program]
  const child = spawn('env', ['HOME=/root', ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  child.stderr.resume() // a pipe, for a file would be one that the new user could not open itself
  t.teardown(() => child.kill('SIGKILL'))
  const found: string[] = []
  for await (const line of createInterface(child.stdout)) {
    found.push(line)
    if (found.length === count) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return found
}

const withoutThreads = (table: string[]) => table.map((line) => line.replace(/^(threads +)\d+/, '$1some'))

live('Use', ['root', 'ip'], async (t) => {
  const { program, output } = shown('Use')
  t.ok(output.length > 10)
  t.same(withoutThreads(await lines(t, program, output.length)), withoutThreads(output))
})

live('Before: plan(), as a plain user', ['root', 'ip', 'setpriv'], async (t) => {
  const { program, output } = shown('Before: plan()')
  t.ok(output.length > 2)
  const plain = ['setpriv', '--reuid=4242', '--regid=4242', '--clear-groups', '--']
  const found = await lines(t, program, Number.POSITIVE_INFINITY, ...plain)
  for (const row of output) t.ok(found.includes(row), row)
})
