/**
 * The grammar of a Momentum configuration file, as far as finding the security scope takes it; everything else is
 * passed over, and has to be well-formed. Scopes and values may be nested to any depth: there is no recursion but that of
 * the includes, whose depth is bounded.
 */
import { dirname, isAbsolute } from 'node:path'
import type { HardenError } from '../errors'
import { type HardenOptions, show } from '../options'
import { type Directory, open, unreadable } from './files'
import { isText, type Source, showPath, type Token, Tokens, wrongAt } from './tokens'

/** What the security scopes of a file, and of what it includes, set. */
export type Stanza = Map<keyof HardenOptions, string | readonly string[]>

/** 'other': a scope in which nothing concerns us. */
type Scope = 'global' | 'security' | 'other'

interface Reading {
  readonly searchPath: readonly string[]
  /** The files under way, each included by the one before. */
  readonly within: Source[]
  files: number
  stanza?: Stanza
}

const options = new Map<string, keyof HardenOptions>([
  ['user', 'user'],
  ['group', 'group'],
  ['supplemental_groups', 'supplementalGroups'],
  ['capabilities', 'capabilities'],
  ['privileges', 'privileges'],
  ['chroot', 'chroot'],
])

/** Each a bound on what nobody means. */
const DEPTH_MAX = 32
const FILES_MAX = 10_000

/**
 * @returns undefined: there is no security scope
 * @throws HardenError ERR_HARDEN_CONFIG
 */
export function readStanza(source: Source, searchPath: readonly string[]): Stanza | undefined {
  const reading: Reading = { searchPath, within: [], files: 0 }
  readFile(reading, source, 'global')
  return reading.stanza
}

/** @param top the scope in which the file is included */
function readFile(reading: Reading, source: Source, top: Scope): void {
  reading.within.push(source)
  const tokens = new Tokens(source)
  /** Where the scopes under way begin. */
  const opened: number[] = []
  let scope = top
  for (let name = tokens.next(); name.kind !== 'end'; name = tokens.next()) {
    if (name.kind === '}' && opened.length > 0) {
      opened.pop()
      // none of the scopes that contain others is of interest
      if (opened.length === 0) scope = top
      continue
    }
    if (name.kind !== 'word') throw tokens.unexpected(name, 'the name of an option or a scope')
    const second = tokens.next()
    if (second.kind === '=') {
      const value = readValue(tokens, scope === 'security')
      if (scope === 'security') set(reading, source, name, value)
    } else if (isText(second) && ['include', 'readonly_include'].includes(lower(name))) {
      include(reading, source, second, scope)
    } else {
      const brace = isText(second) ? tokens.next() : second
      if (brace.kind !== '{') throw tokens.unexpected(brace, `'=' or '{'`)
      scope = enter(reading, source, scope, name, isText(second))
      opened.push(name.at)
    }
  }
  const unclosed = opened.at(-1)
  if (unclosed !== undefined) throw wrongAt(source, unclosed, 'this scope has no end', `end it with '}'`)
  reading.within.pop()
}

const lower = ({ text }: Token): string => text.toLowerCase()

function enter(reading: Reading, source: Source, outer: Scope, name: Token, named: boolean): Scope {
  if (outer === 'security') throw unknown(source, name)
  if (outer === 'other' || lower(name) !== 'security') return 'other'
  if (named) throw wrongAt(source, name.at, 'a security scope has no name', `write 'security {'`)
  reading.stanza ??= new Map()
  return 'security'
}

interface Value {
  readonly first: Token
  /** The text, or those of the array. */
  readonly texts: readonly Token[]
  /** An array or dictionary in an array or dictionary. */
  readonly nested?: Token
}

/** @param wanted otherwise it is passed over, and kept nothing of */
function readValue(tokens: Tokens, wanted: boolean): Value {
  const texts: Token[] = []
  /** Where the arrays and dictionaries under way begin. */
  const opened: number[] = []
  let first: Token | undefined
  let nested: Token | undefined
  do {
    const outer = opened.at(-1)
    const array = outer !== undefined && tokens.source.text[outer] === '('
    let token = tokens.next(array)
    if (outer !== undefined && token.kind === (array ? ')' : ']')) {
      opened.pop()
      continue
    }
    if (outer !== undefined && !array) token = readEntry(tokens, token)
    if (token.kind === '(' || token.kind === '[') {
      opened.push(token.at)
      if (first) nested ??= token
    } else if (!isText(token)) throw tokens.unexpected(token, array ? `a value or ')'` : 'a value')
    else if (wanted) texts.push(token)
    first ??= token
  } while (opened.length > 0)
  return { first: first as Token, texts, nested }
}

/** The value that follows the key in a dictionary. */
function readEntry(tokens: Tokens, key: Token): Token {
  if (!isText(key)) throw tokens.unexpected(key, `a key or ']'`)
  const equals = tokens.next()
  if (equals.kind !== '=') throw tokens.unexpected(equals, `'='`)
  return tokens.next()
}

function set(reading: Reading, source: Source, name: Token, { first, texts, nested }: Value): void {
  const option = options.get(lower(name))
  if (!option) throw unknown(source, name)
  const list = option === 'supplementalGroups'
  if (nested || first.kind === '[' || (first.kind === '(' && !list))
    throw wrongAt(
      source,
      (nested ?? first).at,
      `${lower(name)} is ${list ? 'a list of values' : 'one value'}`,
      list ? 'write ( "one" "other" )' : 'write the value alone, in quotes',
    )
  const broken = texts.find(({ text }) => text.includes('\ufffd'))
  if (broken) throw wrongAt(source, broken.at, 'this value is not UTF-8', 'save the file as UTF-8')
  const values = texts.map(({ text }) => text)
  reading.stanza?.set(option, list ? Object.freeze(values) : values.join())
}

function unknown(source: Source, name: Token): HardenError {
  const names = [...options.keys()].join(', ')
  return wrongAt(source, name.at, `the security scope has no ${show(name.text)}`, `it has ${names}`)
}

function include(reading: Reading, source: Source, name: Token, scope: Scope): void {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(name.text))
    throw wrongAt(source, name.at, 'a URI is not included', 'include a file by its path')
  const found = look(reading, source, name)
  if ('text' in found) readIncluded(reading, source, name, found, scope)
  else
    for (const path of found.files) {
      const file = openFor(source, name, [path])
      if ('text' in file) readIncluded(reading, source, name, file, scope)
    }
}

/** A relative path begins in the folder of the file that includes it, then in those of the search path. */
function look({ searchPath }: Reading, source: Source, name: Token): Source | Directory {
  const folders = [dirname(source.path), ...searchPath]
  return openFor(source, name, isAbsolute(name.text) ? [name.text] : folders.map((folder) => `${folder}/${name.text}`))
}

/** The first of these that is there. */
function openFor(source: Source, name: Token, paths: readonly string[]): Source | Directory {
  for (const path of paths)
    try {
      return open(path)
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      if (!['ENOENT', 'ENOTDIR'].includes(code)) throw unreadable(source, name.at, path, error)
    }
  throw wrongAt(
    source,
    name.at,
    'there is no such file',
    `create it, or correct the path; looked for: ${paths.map(showPath).join(', ')}`,
  )
}

function readIncluded(reading: Reading, by: Source, name: Token, file: Source, scope: Scope): void {
  if (reading.within.some(({ place }) => place === file.place))
    throw wrongAt(by, name.at, `${showPath(file.path)} would include itself`, 'take one of the includes out')
  reading.files++
  if (reading.within.length > DEPTH_MAX || reading.files > FILES_MAX)
    throw wrongAt(
      by,
      name.at,
      `includes go deeper than ${DEPTH_MAX} files, or there are more than ${FILES_MAX}`,
      'include fewer',
    )
  readFile(reading, file, scope)
}
