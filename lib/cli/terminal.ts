/**
 * What is written, and where to. Some of it comes from other people's processes: a thread may call itself anything.
 */
import { type Row, rowText } from '../report'

/** `process`, or in its tests something like it. */
export interface Terminal {
  readonly stdout: Stream
  readonly stderr: Stream
  readonly env: NodeJS.ProcessEnv
}

interface Stream {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** One of the commands. */
export interface Command {
  /** What --help prints. */
  readonly help: string
  /** @throws UsageError, HardenError */
  run(args: string[], terminal: Terminal): number
}

/** The command line itself is wrong: exit status 2. */
export class UsageError extends Error {}

/** By what a row is about. */
const colours: readonly [name: RegExp, colour: number][] = [
  [/^(?:refused|danger|differs)$/, 31],
  [/^note$/, 33],
]

export function printRows({ stdout, env }: Terminal, rows: readonly Row[]): void {
  for (const [name, value] of rows) {
    const line = rowText([name, visible(value)])
    const colour = stdout.isTTY && !env.NO_COLOR && colours.find(([pattern]) => pattern.test(name))?.[1]
    stdout.write(colour ? `\x1b[${colour}m${line}\x1b[0m\n` : `${line}\n`)
  }
}

/** In ASCII, so that a terminal shows it as it is. */
export function printJson({ stdout }: Terminal, value: unknown): void {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  stdout.write(`${JSON.stringify(value, null, 2).replace(/[\x7f-\uffff]/g, escaped)}\n`)
}

/** The lines of a message may be meant: a configuration's error shows the place. */
export function printError({ stderr }: Terminal, message: string): void {
  stderr.write(`${message.split('\n').map(visible).join('\n')}\n`)
}

/** Without what would move the cursor, colour, or turn round what follows. */
export function visible(text: string): string {
  return text.replace(
    /(?!\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}
