/** Rows as text: each as one line for a log or a pipe, folded at the width of a terminal. */
import type * as Tty from 'node:tty'
import { visible } from './errors'

/** A name, and the lines beside it. */
export type Row = readonly [name: string, ...lines: string[]]

const COLUMN = 22
/** Lines are not folded if less room than this is left beside the names. */
const NARROWEST = 20

/** A space at which no line is folded. */
export const TIED = '\u00a0'

/** @param width of the terminal; undefined: not a terminal */
export function rowText([name, ...lines]: Row, width = Number.POSITIVE_INFINITY): string {
  return lines
    .flatMap((line) => fold(visible(line), width - COLUMN))
    .map((line, index) => `${(index === 0 ? name : '').padEnd(COLUMN)}${line.replaceAll(TIED, ' ')}`)
    .join('\n')
}

/** Folds between words only: a path or a name stays whole. */
function fold(text: string, width: number): string[] {
  if (width < NARROWEST) return [text]
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** Freezes a report, and makes its string a table, folded if standard output is a terminal. */
export function finish<T extends object>(report: T, rows: () => Row[]): T {
  const text = () =>
    rows()
      .map((row) => rowText(row, widthOfOutput()))
      .join('\n')
  // not enumerable, so that JSON and deep comparison see the data alone
  Object.defineProperty(report, 'toString', { __proto__: null, value: text } as PropertyDescriptor)
  return deepFreeze(report)
}

/** process.stdout is not touched unless it is a terminal, because that would open it. A Worker's has no width. */
function widthOfOutput(): number | undefined {
  // loaded here, because it takes node:net along, and few servers print a table
  const { isatty } = require('node:tty') as typeof Tty
  return isatty(1) ? process.stdout.columns : undefined
}

/** What is frozen is passed over: the threads of a report share most of their parts. */
function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value))
    if (typeof part === 'object' && part !== null && !Object.isFrozen(part)) deepFreeze(part)
  return Object.freeze(value)
}
