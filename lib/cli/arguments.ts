/** node:util's parseArgs(), with errors about what was typed. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { nearest } from '../nearest'
import { listWords, meant, optionWords } from '../words'
import { UsageError } from './terminal'

/** @throws UsageError */
export function parse<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config)
  } catch (error) {
    const unknown = unknownOptions(config)
    if (unknown.length > 0) throw new UsageError(unknown.join('\n'))
    // the first sentence: the others explain how to give a value that begins with a hyphen
    throw new UsageError((error as Error).message.replace(/\. .*/s, ''))
  }
}

/** A line for each unknown option, with the one that is probably meant. */
function unknownOptions({ args, options = {} }: ParseArgsConfig): string[] {
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true })
  return tokens.flatMap((token) => {
    if (token.kind !== 'option' || Object.hasOwn(options, token.name)) return []
    const near = optionOf(token.name, options)
    return `Unknown option '${token.rawName.slice(0, 64)}'${near === undefined ? '' : `; did you mean --${near}?`}`
  })
}

function optionOf(word: string, options: object): string | undefined {
  const names = [meant(word, optionWords), meant(word, listWords)].map((name) =>
    name?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
  )
  const known = names.find((name) => name !== undefined && Object.hasOwn(options, name))
  return known ?? nearest(word, Object.keys(options))
}
