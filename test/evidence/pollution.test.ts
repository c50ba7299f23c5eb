/**
 * Promise: a property that another package has added to Object.prototype does not become an option, an answer of the
 * kernel or a state. Every name that lib/ reads from an object is tried.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { live } from '../live/live'
import { common, hardened } from '../live/outside'

const lib = join(__dirname, '../../lib')

/** After a dot, or in a pattern that takes an object apart. */
function namesRead(): string[] {
  const names = new Set<string>()
  for (const file of readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))) {
    const code = readFileSync(join(lib, file), 'utf8').replace(/\/\*.*?\*\/|\/\/.*/gs, '')
    for (const [, name = ''] of code.matchAll(/\.([a-z]\w*)/g)) names.add(name)
    for (const [, pattern = ''] of code.matchAll(/\{([^{}]*)\}(?: = |:)/g))
      for (const [name] of pattern.matchAll(/[a-z]\w*/g)) names.add(name)
  }
  return [...names].filter((name) => !notOurs.has(name))
}

/**
 * What every object has, what JavaScript itself asks of every property descriptor, and `signal`, for which Node's readFileSync()
 * throws: what could not be read is said then.
 */
const notOurs = new Set(['get', 'set', 'value', 'writable', 'toString', 'valueOf', 'signal'])

live('every name that is read', ['root'], async (t) => {
  const names = namesRead()
  t.ok(names.length > 150, `${names.length} names`)
  for (const name of ['gid', 'privileges', 'capabilities', 'text', 'errno', 'securebits'])
    t.ok(names.includes(name), name)
  const child = spawn(process.execPath, [join(__dirname, '../out/children/polluted.js')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true, // a session of its own: processes that share it are a finding, and come and go
  })
  t.teardown(() => child.kill('SIGKILL'))
  child.stdin.end(JSON.stringify(names))
  const [line] = await once(createInterface(child.stdout), 'line')
  t.strictSame(JSON.parse(line), { changing: [], error: '' })
  t.same(common(child.pid as number), hardened)
})
