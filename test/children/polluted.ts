/**
 * Object.prototype gets one property after another, and plan() must come out as before; then all of them at once, and
 * harden() is called. Standard input: the names, as JSON. It prints the names that change something, and waits to be
 * examined from outside.
 */
import { readFileSync } from 'node:fs'
import { type HardenOptions, harden, plan } from 'privdrop'

const names: string[] = JSON.parse(readFileSync(0, 'utf8'))
const values = [0, 'all=ep']
const cases: HardenOptions[] = [
  { user: 65534, group: 65534 },
  { user: 'nobody', capabilities: 'cap_net_bind_service+ep', rehearse: {} },
]
const print = process.stdout.write.bind(process.stdout)
const prototype = Object.prototype as Record<string, unknown>

function put(name: string, value: unknown): void {
  // no prototype of its own: a polluted `get` would make it another property
  Object.defineProperty(
    prototype,
    name,
    Object.assign(Object.create(null), { value, writable: true, enumerable: true, configurable: true }),
  )
}

/** What it would become, and with which findings. How long it took is another matter. */
function view(options: HardenOptions): string {
  const { timings: _, ...made } = plan(options) as ReturnType<typeof plan> & { timings?: unknown }
  return JSON.stringify(made)
}

const before = cases.map(view)
const changing = new Set<string>()
for (const name of names)
  for (const value of values) {
    put(name, value)
    const after = cases.map((options) => {
      try {
        return view(options)
      } catch (error) {
        return `${error}`
      }
    })
    delete prototype[name]
    if (after.some((text, index) => text !== before[index])) changing.add(`${name}: ${value}`)
  }

for (const name of names) put(name, 0)
let error = ''
try {
  harden({ user: 'nobody', capabilities: 'cap_net_bind_service+ep' })
} catch (thrown) {
  error = `${thrown}`
}
for (const name of names) delete prototype[name]
print(`${JSON.stringify({ changing: [...changing], error })}\n`)
setInterval(() => {}, 1000)
