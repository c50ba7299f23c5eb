/** Promise: what was promised is found by every thread and every copy of the package, and nothing else is taken for it. */
import t from 'tap'
import type { Addon } from '../lib/native'
import { inWords } from '../lib/state'
import { nothing, opened, plan, stateOf } from './states'

const MARK = Symbol.for('privdrop.hardened')
const own = process as { [MARK]?: unknown }

/** The native memory of a process: what is promised counts when the byte is set. */
function memory() {
  const kept = new ArrayBuffer(1)
  const byte = new Uint8Array(kept)
  let promised: string | undefined
  const addon = {
    kept: () => kept,
    promise: (text: string) => {
      promised = text
    },
    recall: () => (byte[0] === 1 ? promised : undefined),
  } as unknown as Addon
  return { addon, commit: () => byte.fill(1), promised: () => promised }
}
/** Of a Worker, or of another copy of the package. */
const stranger = { recall: () => undefined } as unknown as Addon

const load = () => t.mockRequire<typeof import('../lib/promise')>('../lib/promise')
const { isKept, makePromise, readPromise } = load()
const jail = { ...plan, wanted: stateOf({ ...nothing, jailed: true }), root: opened }
const words = inWords(plan.wanted)

t.beforeEach(() => {
  delete own[MARK]
})
t.teardown(() => {
  delete own[MARK]
})

t.test('it counts from the commit on', async (t) => {
  const { addon, commit, promised } = memory()
  const { isKept, makePromise, readPromise } = load()
  t.equal(isKept(addon), false)
  t.equal(readPromise(addon), undefined)
  makePromise(addon, plan, {})
  t.match(promised(), 'user\t990 990 990 990\n')
  for (const who of [addon, stranger]) {
    t.equal(isKept(who), false)
    t.equal(readPromise(who), undefined)
  }
  commit()
  for (const who of [addon, stranger]) {
    t.equal(isKept(who), true)
    t.strictSame(readPromise(who), { words, root: undefined, allowInspector: false })
  }
})

t.test('with a root, and with an inspector that was accepted', async (t) => {
  for (const allowInspector of [undefined, false, true]) {
    const { addon, commit } = memory()
    const { makePromise, readPromise } = load()
    makePromise(addon, jail, { allowInspector })
    commit()
    const expected = { words: inWords(jail.wanted), root: '8:2', allowInspector: allowInspector === true }
    t.strictSame(readPromise(addon), expected)
  }
})

t.test('a refused call may be followed by another', async (t) => {
  const { addon, commit } = memory()
  const { makePromise, readPromise } = load()
  makePromise(addon, plan, {})
  makePromise(addon, jail, {})
  commit()
  t.strictSame(readPromise(stranger)?.words, inWords(jail.wanted))
})

t.test('the mark', async (t) => {
  const { addon } = memory()
  const { makePromise } = load()
  makePromise(addon, plan, {})
  const mark = Object.getOwnPropertyDescriptor(process, MARK)
  t.match(mark, { enumerable: false, writable: false, configurable: true })
  t.ok(Object.isFrozen(mark?.value))
})

t.test('a mark that is inherited is none', async (t) => {
  const prototype = Object.prototype as { [MARK]?: unknown }
  t.teardown(() => delete prototype[MARK])
  prototype[MARK] = { kept: Uint8Array.of(1), promise: 'user\t0 0 0 0' }
  const [kept, promised] = [isKept(stranger), readPromise(stranger)]
  delete prototype[MARK]
  t.strictSame([kept, promised], [false, undefined])
  t.type(makePromise, 'function')
})
