/**
 * The words of a Momentum configuration file, and the errors that show where in it they stand. Each character is looked
 * at once: no file takes more than time in proportion to its length.
 */
import { HardenError, type HardenErrorFields } from '../errors'
import { show } from '../options'

export interface Source {
  readonly path: string
  readonly text: string
  /** placeOf() the file */
  readonly place: string
}

export interface Token {
  /** Or one of the marks. */
  readonly kind: string
  /** Without its quotes. */
  readonly text: string
  /** Where it begins in the file: the character's index. */
  readonly at: number
}

const MARKS = '={}[]()'
// not \s, which has the spaces of all scripts: those are neither white space here nor part of a word
const BLANK = /[ \t\n\v\f\r]*/uy
const WORD = /[^\s\p{Cc}#/"'\\={}[\]()]*/uy

export const isText = ({ kind }: Token): boolean => kind === 'word' || kind === 'string'

export class Tokens {
  #at = 0

  constructor(readonly source: Source) {}

  /**
   * @param slashes whether a word may have a slash in it without quotes, as in arrays
   * @throws HardenError ERR_HARDEN_CONFIG
   */
  next(slashes = false): Token {
    const { text } = this.source
    const at = this.#skip()
    const first = text[at]
    if (first === undefined) return this.#token('end', at, at)
    if (MARKS.includes(first)) return this.#token(first, at, at + 1)
    if (first === '"' || first === "'") return this.#quoted(first, at)
    let end = past(WORD, text, at)
    while (slashes && text[end] === '/' && text[end + 1] !== '*') end = past(WORD, text, end + 1)
    if (end === at)
      throw wrongAt(
        this.source,
        at,
        `unexpected ${show(first)}`,
        'put values with other than plain characters in quotes',
      )
    return this.#token('word', at, end)
  }

  unexpected(token: Token, wanted: string): HardenError {
    const found = token.kind === 'end' ? 'the file ends' : `there is ${show(token.text)}`
    return wrongAt(this.source, token.at, `${found} where ${wanted} should be`, 'correct what stands here or before it')
  }

  /** Over white space and comments. */
  #skip(): number {
    const { text } = this.source
    let at = past(BLANK, text, this.#at)
    while (text[at] === '#' || text.startsWith('/*', at)) {
      const [opening, closing] = text[at] === '#' ? ['#', '\n'] : ['/*', '*/']
      const end = text.indexOf(closing, at + opening.length)
      if (end < 0 && closing === '*/') throw wrongAt(this.source, at, 'this comment has no end', "end it with '*/'")
      at = end < 0 ? text.length : past(BLANK, text, end + closing.length)
    }
    return at
  }

  #quoted(quote: string, at: number): Token {
    const end = this.source.text.indexOf(quote, at + 1)
    if (end < 0) throw wrongAt(this.source, at, 'this quote has no end', `end it with ${quote}`)
    const { kind, text } = this.#token('string', at + 1, end)
    const backslash = text.indexOf('\\')
    if (backslash >= 0)
      throw wrongAt(
        this.source,
        at + 1 + backslash,
        'a backslash in quotes, of which the format does not say what it means',
        'write the value without it; a quote of the one kind stands in quotes of the other',
      )
    this.#at = end + 1
    return { kind, text, at }
  }

  #token(kind: string, at: number, end: number): Token {
    this.#at = end
    return { kind, text: this.source.text.slice(at, end), at }
  }
}

/** The index behind what a sticky pattern, which may match nothing, matches at this one. */
function past(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  pattern.test(text)
  return pattern.lastIndex
}

/** Characters of a line that are shown on either side of the place. */
const SHOWN = 60

/** "path:line:column: message", both from 1, a tab being one column; then the line, with a caret under the place. */
export function wrongAt(
  { path, text }: Pick<Source, 'path' | 'text'>,
  at: number,
  message: string,
  remedy: string,
  more?: Pick<HardenErrorFields, 'syscall' | 'errno' | 'cause'>,
): HardenError {
  const lines = text.slice(0, at).split('\n')
  const before = lines.at(-1) as string
  const after = past(/[^\r\n]*/y, text, at)
  const left = before.length > SHOWN ? `...${before.slice(-SHOWN)}` : before
  const right = text.slice(at, Math.min(after, at + SHOWN)) + (after > at + SHOWN ? '...' : '')
  return new HardenError({
    ...more,
    code: 'ERR_HARDEN_CONFIG',
    message: `${visible(path)}:${lines.length}:${before.length + 1}: ${message}`,
    remedy,
    // of a file that could not be read there is nothing to show
    excerpt: text && `${visible(left + right)}\n${left.replace(/[^\t]/gu, ' ')}^`,
  })
}

/** What is printed must not speak to a terminal; a tab may stay. */
const visible = (text: string): string => text.replace(/(?!\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\ufffd')

/** Of a long path, which may be any text that is given for one, its end says most. */
export const showPath = (path: string): string => `'${path.length > 200 ? '...' : ''}${visible(path.slice(-200))}'`
