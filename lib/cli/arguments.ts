/** node:util's parseArgs(), whose errors are those of whoever typed the command. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { UsageError } from './terminal'

/** @throws UsageError */
export function parse<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config)
  } catch (error) {
    // one sentence: the next ones are about a place for what begins with a hyphen
    throw new UsageError((error as Error).message.replace(/\. .*/s, ''))
  }
}
