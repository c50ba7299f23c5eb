/**
 * The grammar of a Momentum configuration file, written down a second time: one function for each rule, top down, as
 * short as possible and as slow as it likes. For one file without includes and local changes.
 */
export type Options = Record<string, string | string[]>

const unit = String.raw`[^\s\p{Cc}\p{Cf}\p{DI}#/"'\\={}[\]()]`
const unitOfList = String.raw`[^\s\p{Cc}\p{Cf}\p{DI}#/"'\\={}[\](),]`
const slash = String.raw`\/(?!\*)`
const blank = String.raw`[ \t\n\v\f\r]|#[^\n]*(?:\n|$)|\/\*[^]*?\*\/`
const names: Record<string, string> = {
  user: 'user',
  group: 'group',
  supplemental_groups: 'supplementalGroups',
  capabilities: 'capabilities',
  privileges: 'privileges',
  chroot: 'chroot',
}

interface Text {
  text: string
  quoted: boolean
}

/** @returns undefined: it is no such file, or has no security scope */
export function readByTheBook(file: string): Options | undefined {
  let rest = file.replace(/^\ufeff/, '')
  let found: Options | undefined

  const fail = (): never => {
    throw new SyntaxError(rest.slice(0, 20))
  }
  const take = (pattern: string): string | undefined => {
    const [matched] = new RegExp(`^(?:${pattern})`, 'u').exec(rest) ?? []
    if (matched !== undefined) rest = rest.slice(matched.length)
    return matched
  }
  const skip = (more = '') => take(`(?:${blank}${more})*`)
  const mark = (character: string): boolean =>
    take(`[${'[]'.includes(character) ? '\\' : ''}${character}]`) !== undefined
  const need = (character: string): void => {
    skip()
    if (!mark(character)) fail()
  }

  /** @param foreign outside of the security scope */
  const textOf = (foreign: boolean, list = false): Text | undefined => {
    const string = take(String.raw`"(?:[^"\\]|\\[^])*"|'(?:[^'\\]|\\[^])*'`)
    if (string !== undefined) {
      if (!foreign && string.includes('\\')) fail()
      return { text: string.slice(1, -1), quoted: true }
    }
    const one = list ? unitOfList : unit
    const long = foreign || list ? `(?:${one}|${slash})+` : `${one}+`
    const regex = foreign && String.raw`(?=\/)${long}(?=[\\([]|\{\d)`
    const before = rest
    if (regex && take(regex) !== undefined) {
      const path = before.length - rest.length
      rest = before
      const whole = take(String.raw`\/(?:[^\\/#"'\s]|\\[^])*\/[a-zA-Z]*`)
      if (whole !== undefined && whole.length > path) return { text: whole, quoted: false }
      rest = before
    }
    const word = take(long)
    return word === undefined ? undefined : { text: word, quoted: false }
  }
  const list = (foreign: boolean): (Text | 'nested')[] => {
    const items: (Text | 'nested')[] = []
    for (skip('|,'); !mark(')'); skip('|,')) {
      const text = textOf(foreign, true)
      if (!text) value(foreign)
      items.push(text ?? 'nested')
    }
    return items
  }
  const dictionary = (foreign: boolean): void => {
    for (skip(); !mark(']'); skip()) {
      if (!textOf(foreign)) fail()
      need('=')
      skip()
      value(foreign)
    }
  }
  const value = (foreign: boolean): Text | (Text | 'nested')[] => {
    if (mark('(')) return list(foreign)
    if (mark('[')) {
      dictionary(foreign)
      return ['nested']
    }
    return textOf(foreign) ?? fail()
  }

  const setting = (name: string, given: Text | (Text | 'nested')[]): void => {
    const option = Object.hasOwn(names, name) ? names[name] : undefined
    if (option === undefined) throw fail()
    const items = Array.isArray(given) ? given : [given]
    if (items.includes('nested') || (Array.isArray(given) && option !== 'supplementalGroups')) fail()
    const texts = (items as Text[]).map(({ text }) => text)
    if (texts.some((text) => text.includes('\ufffd'))) fail()
    found = { ...found, [option]: option === 'supplementalGroups' ? texts : (texts[0] as string) }
  }
  const ownScope = (): void => {
    found ??= {}
    for (skip(); !mark('}'); skip()) {
      const name = take(`${unit}+`)?.toLowerCase() ?? fail()
      skip()
      if (rest.startsWith('[')) fail()
      need('=')
      skip()
      setting(name, value(false))
    }
  }
  const foreignScope = (): void => {
    for (skip(); !mark('}'); skip()) statement(false)
  }
  const statement = (global: boolean): void => {
    const name = take(`${unit}+`)?.toLowerCase() ?? fail()
    skip()
    if (mark('=')) {
      skip()
      if (mark('{')) scope(name, global, false)
      else foreignSetting(name, global)
    } else if (rest.startsWith('[')) foreignSetting(name, global)
    else {
      const instance = textOf(true) !== undefined
      need('{')
      scope(name, global, instance)
    }
  }
  const foreignSetting = (name: string, global: boolean): void => {
    const structured = /^[([]/.test(rest)
    value(true)
    if (name === 'security' && global && structured) fail()
  }
  const scope = (name: string, global: boolean, instance: boolean): void => {
    if (name !== 'security') foreignScope()
    else if (global && !instance) ownScope()
    else fail()
  }

  try {
    for (skip(); rest !== ''; skip()) statement(true)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  return found
}
