/**
 * The grammar of a Momentum configuration file, as far as is needed to find the security scope; anything else is
 * skipped, and must be well-formed. Scopes and values may be nested to any depth: only includes are read recursively,
 * and their depth is bounded.
 */
import { type HardenError, show } from '../errors'
import type { HardenOptions } from '../options'
import { meant, optionWords } from '../words'
import { isText, type Rules, type Source, type Token, Tokens, wrongAt } from './tokens'

type Option = keyof HardenOptions

/** A value of the security scope, and its place. */
export interface Setting {
  readonly value: string | readonly string[]
  readonly source: Source
  readonly at: number
  /** Where the elements of a list begin. */
  readonly elements: readonly number[]
}

/** 'other': a scope in which nothing matters here. */
export type Scope = 'global' | 'security' | 'other'

/** What the files share while they are read. */
export interface Reading {
  /** The settings of all security scopes. */
  stanza?: Map<Option, Setting>
  /** The last Local_Changes_File setting whose file has not been read yet. */
  localChanges?: { readonly source: Source; readonly name: Token }
  include(source: Source, name: Token, scope: Scope): void
}

const options = new Map<string, Option>([
  ['user', 'user'],
  ['group', 'group'],
  ['supplemental_groups', 'supplementalGroups'],
  ['capabilities', 'capabilities'],
  ['privileges', 'privileges'],
  ['chroot', 'chroot'],
])

/** The file's name for each option of harden(). */
export const keys: ReadonlyMap<string, string> = new Map([...options].map(([key, option]) => [option, key]))

const INCLUDE = /^(?:readonly_)?include$/i
const SECURITY = /^security$/i
const LOCAL_CHANGES = /^local_changes_file$/i

/** The rules in the security scope and elsewhere, and for the elements of arrays in each. */
const OWN: Rules = {}
const FOREIGN: Rules = { slashes: true, regexes: true }
const OWN_ELEMENT: Rules = { slashes: true, commas: true }
const FOREIGN_ELEMENT: Rules = { ...FOREIGN, commas: true }

interface File {
  readonly reading: Reading
  readonly source: Source
  readonly tokens: Tokens
  /** Where the open scopes begin. */
  readonly opened: number[]
  scope: Scope
}

/** @throws HardenError ERR_HARDEN_CONFIG */
export function parse(reading: Reading, source: Source, top: Scope): void {
  const file: File = { reading, source, tokens: new Tokens(source), opened: [], scope: top }
  const { tokens, opened } = file
  for (let name = tokens.next(); name.kind !== 'end'; name = tokens.next()) {
    if (name.kind === '}' && opened.length > 0) {
      opened.pop()
      // a scope inside another is never of interest
      if (opened.length === 0) file.scope = top
    } else if (name.kind === 'word') readStatement(file, name)
    else throw tokens.unexpected(name, 'the name of an option or a scope')
  }
  const unclosed = opened.at(-1)
  if (unclosed !== undefined) throw wrongAt(source, unclosed, 'this scope has no end', `end it with '}'`)
}

const lower = ({ text }: Token): string => text.toLowerCase()

/** An include, `name = value`, `name [ ... ]`, `name {`, `name "instance" {` or `name = {`. */
function readStatement(file: File, name: Token): void {
  const { reading, source, tokens, scope } = file
  const rules = scope === 'security' ? OWN : FOREIGN
  const second = tokens.next(rules)
  if (INCLUDE.test(name.text)) {
    if (!isText(second)) throw tokens.unexpected(second, 'the path of a file')
    refuseBackslash(source, second)
    reading.include(source, second, scope)
    return
  }
  const assigned = second.kind === '='
  const third = assigned || isText(second) ? tokens.next(rules) : second
  if (third.kind === '{' && !(assigned && scope === 'security')) {
    file.scope = enter(file, name, isText(second))
    file.opened.push(name.at)
  } else if (assigned || second.kind === '[') {
    const wanted = scope === 'security' || LOCAL_CHANGES.test(name.text)
    keep(file, name, readValue(tokens, third, rules, wanted))
  } else throw tokens.unexpected(third, third.kind === '=' ? `'{'` : `'=' or '{'`)
}

function enter({ reading, source, scope }: File, name: Token, named: boolean): Scope {
  if (scope === 'security') throw unknown(source, name)
  if (!SECURITY.test(name.text)) return 'other'
  if (scope === 'other') throw misplaced(source, name, 'a security scope')
  if (named) throw wrongAt(source, name.at, 'a security scope has no name', `write 'security {'`)
  reading.stanza ??= new Map()
  return 'security'
}

/** A setting in another scope, which may be due to a missing brace before it. */
function misplaced(source: Source, name: Token, what: string): HardenError {
  const remedy = `write it outside of all scopes; a '}' may be missing before it`
  return wrongAt(source, name.at, `${what} belongs in the global scope`, remedy)
}

interface Value {
  readonly first: Token
  /** The text, or the texts of the array. */
  readonly texts: readonly Token[]
  /** The first array or dictionary inside another. */
  readonly nested?: Token
}

/** @param wanted false: the value is skipped, and nothing of it is kept */
function readValue(tokens: Tokens, first: Token, rules: Rules, wanted: boolean): Value {
  const texts: Token[] = []
  /** Where the open arrays and dictionaries begin. */
  const opened: number[] = []
  let nested: Token | undefined
  for (let token: Token | undefined = first; token; token = nextValue(tokens, opened, rules)) {
    if (token.kind === '(' || token.kind === '[') {
      opened.push(token.at)
      if (token !== first) nested ??= token
    } else if (!isText(token)) throw tokens.unexpected(token, inArray(tokens, opened) ? `a value or ')'` : 'a value')
    else if (wanted) texts.push(token)
  }
  return { first, texts, nested }
}

/** The next value of the innermost array or dictionary; undefined: all have ended. */
function nextValue(tokens: Tokens, opened: number[], rules: Rules): Token | undefined {
  const element = rules === OWN ? OWN_ELEMENT : FOREIGN_ELEMENT
  while (opened.length > 0) {
    const array = inArray(tokens, opened)
    const token = tokens.next(array ? element : rules)
    if (token.kind !== (array ? ')' : ']')) return array ? token : readEntry(tokens, token, rules)
    opened.pop()
  }
  return undefined
}

function inArray({ source }: Tokens, opened: readonly number[]): boolean {
  const at = opened.at(-1)
  return at !== undefined && source.text[at] === '('
}

/** The value after a key of a dictionary. */
function readEntry(tokens: Tokens, key: Token, rules: Rules): Token {
  if (!isText(key)) throw tokens.unexpected(key, `a key or ']'`)
  const equals = tokens.next()
  if (equals.kind !== '=') throw tokens.unexpected(equals, `'='`)
  return tokens.next(rules)
}

function keep({ reading, source, scope }: File, name: Token, value: Value): void {
  const key = lower(name)
  if (scope === 'security') set(reading, source, name, value)
  else if (LOCAL_CHANGES.test(name.text)) {
    if (scope === 'other') throw misplaced(source, name, key)
    const path = oneText(source, key, value)
    refuseOdd(source, path)
    reading.localChanges = { source, name: path }
  } else if (SECURITY.test(name.text) && scope === 'global' && !isText(value.first))
    throw wrongAt(source, name.at, 'security is a scope', `write 'security {'`)
}

function set(reading: Reading, source: Source, name: Token, value: Value): void {
  const key = lower(name)
  const option = options.get(key)
  if (!option) throw unknown(source, name)
  const { first } = value
  const texts = option === 'supplementalGroups' ? listOfTexts(source, key, value) : [oneText(source, key, value)]
  for (const text of texts) refuseOdd(source, text)
  const [single = ''] = texts.map(({ text }) => text)
  reading.stanza?.set(option, {
    value: option === 'supplementalGroups' ? Object.freeze(texts.map(({ text }) => text)) : single,
    source,
    at: first.at,
    elements: texts.map(({ at }) => at),
  })
}

function oneText(source: Source, key: string, { first, nested }: Value): Token {
  if (isText(first)) return first
  throw wrongAt(source, (nested ?? first).at, `${key} is one value`, 'write the value alone, in quotes')
}

function listOfTexts(source: Source, key: string, { first, texts, nested }: Value): readonly Token[] {
  if (!nested && first.kind !== '[') return texts
  throw wrongAt(source, (nested ?? first).at, `${key} is a list of values`, 'write ( "one" "other" )')
}

function refuseOdd(source: Source, value: Token): void {
  refuseBackslash(source, value)
  if (value.text.includes('\ufffd'))
    throw wrongAt(source, value.at, 'this value is not UTF-8', 'save the file as UTF-8')
}

function refuseBackslash(source: Source, { backslash }: Token): void {
  if (backslash >= 0)
    throw wrongAt(
      source,
      backslash,
      'a backslash in quotes, whose meaning here the format does not define',
      'write the value without it; a quote of one kind can be written in quotes of the other',
    )
}

function unknown(source: Source, name: Token): HardenError {
  const wanted = keys.get(meant(name.text, optionWords) ?? '')
  const remedy =
    wanted === undefined ? `it has ${[...options.keys()].join(', ')}` : `the option is called ${wanted} there`
  return wrongAt(source, name.at, `the security scope has no ${show(name.text)}`, remedy, {
    found: name.text.slice(0, 64),
    wanted,
  })
}
