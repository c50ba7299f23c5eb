/**
 * The words of a Momentum configuration file, and the errors that show where in it they stand. Each character is looked
 * at once: no file takes more than time in proportion to its length.
 */
import { HardenError, type HardenErrorFields, show, UNPRINTABLE, visible } from '../errors'

export interface Source {
  readonly path: string
  readonly text: string
  /** placeOf() the file */
  readonly place: string
}

export interface Token {
  /** Or one of the marks. */
  readonly kind: string
  /** Without its quotes, and otherwise as it is written. */
  readonly text: string
  /** Where it begins in the file: the character's index. */
  readonly at: number
  /** Where its first backslash stands; -1: there is none. */
  readonly backslash: number
}

/** What a word may be without quotes. */
export interface Rules {
  /** It may have slashes in it, as in arrays. */
  readonly slashes?: boolean
  /** It may be a regular expression between slashes, without white space. */
  readonly regexes?: boolean
  /** Commas separate words, as white space does. */
  readonly commas?: boolean
}

const MARKS = '={}[]()'
const BLANK = /[ \t\n\v\f\r]*/uy
const BLANK_OR_COMMA = /[ \t\n\v\f\r,]*/uy
// \s has the spaces of all scripts: those are neither white space here nor part of a word, and nor is what nobody sees
const WORD = /[^\s\p{Cc}\p{Cf}\p{DI}#/"'\\={}[\]()]*/uy
const ELEMENT = /[^\s\p{Cc}\p{Cf}\p{DI}#/"'\\={}[\](),]*/uy
const INVISIBLE = /[\s\p{Cc}\p{Cf}\p{DI}]/u
/** What follows a path in no file, but goes on in a regular expression. */
const REGEX_GOES_ON = /[\\([]|\{\d/y
/** Up to the next character that counts: a backslash, or the end. */
const IN_REGEX = /[^\\/#"'\s]*/y
const IN_QUOTES: Readonly<Record<string, RegExp>> = { '"': /[^"\\]*/y, "'": /[^'\\]*/y }

export const isText = ({ kind }: Token): boolean => kind === 'word' || kind === 'string'

export class Tokens {
  #at = 0

  constructor(readonly source: Source) {}

  /** @throws HardenError ERR_HARDEN_CONFIG */
  next(rules: Rules = {}): Token {
    const { text } = this.source
    const at = this.#skip(rules.commas ? BLANK_OR_COMMA : BLANK)
    const first = text[at]
    if (first === undefined) return { kind: 'end', text: '', at, backslash: -1 }
    if (MARKS.includes(first)) {
      this.#at = at + 1
      return { kind: first, text: first, at, backslash: -1 }
    }
    if (first === '"' || first === "'") return this.#quoted(first, at)
    const end = this.#endOfWord(rules, at)
    if (end === at)
      throw wrongAt(
        this.source,
        at,
        `unexpected ${name(String.fromCodePoint(text.codePointAt(at) as number))}`,
        'put values with other than plain characters in quotes',
      )
    this.#at = end
    return this.#text('word', at, at, end)
  }

  unexpected(token: Token, wanted: string): HardenError {
    const found = token.kind === 'end' ? 'the file ends' : `there is ${show(token.text)}`
    const message = `${found} where ${wanted} should be`
    return wrongAt(this.source, token.at, message, 'correct what stands here or before it', { found, wanted })
  }

  /** Over white space and comments. */
  #skip(blank: RegExp): number {
    const { text } = this.source
    let at = past(blank, text, this.#at)
    while (text[at] === '#' || text.startsWith('/*', at)) {
      const [opening, closing] = text[at] === '#' ? ['#', '\n'] : ['/*', '*/']
      const end = text.indexOf(closing, at + opening.length)
      if (end < 0 && closing === '*/') throw wrongAt(this.source, at, 'this comment has no end', "end it with '*/'")
      at = end < 0 ? text.length : past(blank, text, end + closing.length)
    }
    return at
  }

  #endOfWord({ slashes, regexes, commas }: Rules, at: number): number {
    const { text } = this.source
    const plain = commas ? ELEMENT : WORD
    let end = past(plain, text, at)
    while (slashes && text[end] === '/' && text[end + 1] !== '*') end = past(plain, text, end + 1)
    if (!regexes || text[at] !== '/' || past(REGEX_GOES_ON, text, end) === 0) return end
    const closing = this.#pastEscapes(IN_REGEX, at + 1)
    return text[closing] === '/' ? Math.max(end, past(/[a-z]*/iy, text, closing + 1)) : end
  }

  /** @param plain what matches up to the next backslash, or to the end */
  #pastEscapes(plain: RegExp, at: number): number {
    const { text } = this.source
    let end = past(plain, text, at)
    // the file may end behind the backslash
    while (text[end] === '\\') end = past(plain, text, Math.min(end + 2, text.length))
    return end
  }

  #quoted(quote: string, at: number): Token {
    const end = this.#pastEscapes(IN_QUOTES[quote] as RegExp, at + 1)
    if (this.source.text[end] === undefined)
      throw wrongAt(this.source, at, 'this quote has no end', `end it with ${quote}`)
    this.#at = end + 1
    return this.#text('string', at, at + 1, end)
  }

  #text(kind: string, at: number, start: number, end: number): Token {
    const text = this.source.text.slice(start, end)
    const backslash = text.indexOf('\\')
    return { kind, text, at, backslash: backslash < 0 ? -1 : start + backslash }
  }
}

/** The index behind what a sticky pattern matches at this one; 0: nothing does. */
function past(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  pattern.test(text)
  return pattern.lastIndex
}

/** A character, as a message may show it: by its number, where it cannot be seen. */
function name(character: string): string {
  if (!INVISIBLE.test(character)) return show(character)
  return `U+${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}`
}

/** "path:line:column" of these places, which ascend; both from 1, a tab being one column. */
export function placesIn({ path, text }: Pick<Source, 'path' | 'text'>, ascending: readonly number[]): string[] {
  const shown = visible(path)
  let line = 1
  let start = 0
  let newline = text.indexOf('\n')
  return ascending.map((at) => {
    while (newline >= 0 && newline < at) {
      line++
      start = newline + 1
      newline = text.indexOf('\n', start)
    }
    return `${shown}:${line}:${at - start + 1}`
  })
}

/** Characters of a line that are shown on either side of the place. */
const SHOWN = 60

/** "path:line:column: message"; then the line, with a caret under the place. */
export function wrongAt(
  source: Pick<Source, 'path' | 'text'>,
  at: number,
  message: string,
  remedy: string,
  more?: Pick<HardenErrorFields, 'syscall' | 'errno' | 'cause' | 'found' | 'wanted'>,
): HardenError {
  const { text } = source
  const [place] = placesIn(source, [at])
  const before = text.slice(at && text.lastIndexOf('\n', at - 1) + 1, at)
  const after = past(/[^\r\n]*/y, text, at)
  const left = before.length > SHOWN ? `...${before.slice(-SHOWN)}` : before
  const right = text.slice(at, Math.min(after, at + SHOWN)) + (after > at + SHOWN ? '...' : '')
  return new HardenError({
    ...more,
    code: 'ERR_HARDEN_CONFIG',
    place,
    message: `${place}: ${message}`,
    remedy,
    // of a file that could not be read there is nothing to show
    excerpt: text && `${(left + right).replace(UNPRINTABLE, '\ufffd')}\n${left.replace(/[^\t]/gu, ' ')}^`,
  })
}
