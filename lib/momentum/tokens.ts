/**
 * The words of a Momentum configuration file, and errors that show their place in it. Each character is read once: the
 * time is proportional to the length of the file.
 */
import { HardenError, type HardenErrorFields, show, UNPRINTABLE, visible } from '../errors'

export interface Source {
  readonly path: string
  readonly text: string
  /** placeOf() the file */
  readonly place: string
}

export interface Token {
  /** 'word', 'string', 'end', or one of MARKS. */
  readonly kind: string
  /** Without its quotes, and otherwise as it is written. */
  readonly text: string
  /** The index of its first character in the file. */
  readonly at: number
  /** The index of its first backslash; -1: there is none. */
  readonly backslash: number
}

/** What a word may contain without quotes. */
export interface Rules {
  /** A word may contain slashes, as in arrays. */
  readonly slashes?: boolean
  /** A word may be a regular expression between slashes, without white space. */
  readonly regexes?: boolean
  /** Commas separate words, as white space does. */
  readonly commas?: boolean
}

const MARKS = '={}[]()'
const BLANK = /[ \t\n\v\f\r]*/uy
const BLANK_OR_COMMA = /[ \t\n\v\f\r,]*/uy
// \s matches the spaces of all scripts: those, and invisible characters, are neither white space here nor part of a
// word
const WORD = /[^\s\p{Cc}\p{Cf}\p{DI}#/"'\\={}[\]()]*/uy
const ELEMENT = /[^\s\p{Cc}\p{Cf}\p{DI}#/"'\\={}[\](),]*/uy
const INVISIBLE = /[\s\p{Cc}\p{Cf}\p{DI}]/u
/** What never follows a path, but may continue a regular expression. */
const REGEX_GOES_ON = /[\\([]|\{\d/y
/** Up to the next character that matters: a backslash, or the end. */
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
        'put values with special characters in quotes',
      )
    this.#at = end
    return this.#text('word', at, at, end)
  }

  unexpected(token: Token, wanted: string): HardenError {
    const found = token.kind === 'end' ? 'the file ends' : `there is ${show(token.text)}`
    const message = `${found} where ${wanted} should be`
    return wrongAt(this.source, token.at, message, 'correct what stands here or before it', { found, wanted })
  }

  /** Skips white space and comments. */
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

  /** @param plain matches up to the next backslash, or to the end */
  #pastEscapes(plain: RegExp, at: number): number {
    const { text } = this.source
    let end = past(plain, text, at)
    // the file may end after the backslash
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

/** The index after what a sticky pattern matches here; 0: it does not match. */
function past(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  pattern.test(text)
  return pattern.lastIndex
}

/** A character for a message; if it is invisible, by its number. */
function name(character: string): string {
  if (!INVISIBLE.test(character)) return show(character)
  return `U+${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}`
}

/** "path:line:column" for places in ascending order; lines and columns start at 1, and a tab is one column. */
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

/** How many characters of a line are shown on either side of the place. */
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
    // nothing to show if the file could not be read
    excerpt: text && `${(left + right).replace(UNPRINTABLE, '\ufffd')}\n${left.replace(/[^\t]/gu, ' ')}^`,
  })
}
