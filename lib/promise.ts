/**
 * What harden() has promised, kept where every thread and every copy of this package in the process finds it. It is
 * written before the commit, and holds from the moment at which the native code sets one byte: no JavaScript runs
 * between that and the proof.
 */
import type { Plan, Promised } from './contract'
import { HardenError } from './errors'
import type { Addon } from './native'
import type { HardenOptions } from './options'
import { inWords } from './state'

/** A property of the main thread's `process`, for other copies of this package. */
const MARK = Symbol.for('privdrop.hardened')

interface Mark {
  /** One byte of native memory: 1 from the commit on. */
  readonly kept: Uint8Array
  readonly promise: string
}

let kept: Uint8Array | undefined

export function makePromise(addon: Addon, plan: Plan, { allowInspector }: HardenOptions): void {
  const words = [
    ...inWords(plan.wanted),
    ...(plan.root ? [['root', plan.root.place] as const] : []),
    ...(allowInspector ? [['allowInspector', 'true'] as const] : []),
  ]
  const promise = words.map(([name, value]) => `${name}\t${value}`).join('\n')
  addon.promise(promise)
  kept ??= new Uint8Array(addon.kept())
  const mark: Mark = Object.freeze({ kept, promise })
  // configurable: after a refused call, another copy may make its own
  const property = { __proto__: null, value: mark, configurable: true } as PropertyDescriptor
  Object.defineProperty(process, MARK, property)
}

function findMark(): Mark | undefined {
  const mark = Object.hasOwn(process, MARK) ? (process as { [MARK]?: Mark })[MARK] : undefined
  return mark?.kept[0] === 1 ? mark : undefined
}

export function isKept(addon: Addon): boolean {
  return addon.recall() !== undefined || findMark() !== undefined
}

/** @throws HardenError ERR_HARDEN_ALREADY_APPLIED */
export function refuseSecondCall(addon: Addon): void {
  if (isKept(addon))
    throw new HardenError({
      code: 'ERR_HARDEN_ALREADY_APPLIED',
      message: 'this process has given up its privileges already, and cannot do so twice',
      remedy: 'call harden() once; to change what is retained, restart the process',
    })
}

/** undefined: nothing is promised, or it is unknown here: a Worker does not find what another copy has promised. */
export function readPromise(addon: Addon): Promised | undefined {
  const text = addon.recall() ?? findMark()?.promise
  if (text === undefined) return undefined
  const words = new Map(
    text.split('\n').map((line) => [line.slice(0, line.indexOf('\t')), line.slice(line.indexOf('\t') + 1)]),
  )
  const root = words.get('root')
  const allowInspector = words.get('allowInspector') === 'true'
  words.delete('root')
  words.delete('allowInspector')
  return { words, root, allowInspector }
}
