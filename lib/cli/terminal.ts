/**
 * What is written, and where to. Some of it comes from other people's processes: a thread may call itself anything.
 */
import { styleText } from 'node:util'
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
  /** What --help prints; the exit statuses are added. */
  readonly help: string
  /** @throws UsageError, UnreadableError, HardenError */
  run(args: string[], terminal: Terminal): number
}

/** The same in every command; 0: all is well. */
export const WRONG = 1
export const USAGE = 2
/** What the command line names could not be read, or is wrong: a file, an account in it, a process. */
export const UNREADABLE = 3

/** The command line itself is wrong. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE'
}

/** What it names cannot be read. */
export class UnreadableError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** A row that is a reason to act. */
const RED = /^(?:refused|danger|differs|verdict +would be refused)/

export function printRows({ stdout, env }: Terminal, rows: readonly Row[]): void {
  const colours = stdout.isTTY && !env.NO_COLOR
  for (const [name, value] of rows) {
    const line = rowText([name, visible(value)])
    stdout.write(`${colours && RED.test(line) ? styleText('red', line) : line}\n`)
  }
}

/** In ASCII, so that a terminal shows it as it is. */
export function printJson({ stdout }: Pick<Terminal, 'stdout'>, value: unknown): void {
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
