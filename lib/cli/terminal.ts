/**
 * Output. Some of it comes from other users' processes: a thread may have any name.
 */
import { styleText } from 'node:util'
import { visible } from '../errors'
import { type Row, rowText } from '../table'

/** `process`, or a stand-in for it in the tests. */
export interface Terminal {
  readonly stdout: Stream
  readonly stderr: Stream
  readonly env: NodeJS.ProcessEnv
}

interface Stream {
  readonly isTTY?: boolean
  /** The width, if it is a terminal. */
  readonly columns?: number
  write(text: string): unknown
}

/** One of the commands. */
export interface Command {
  /** What --help prints; the exit statuses are added. */
  readonly help: string
  /** @throws UsageError, UnreadableError, HardenError */
  run(args: string[], terminal: Terminal): number
}

/** Exit statuses of every command; 0: all is well. */
export const WRONG = 1
export const USAGE = 2
/** What the command line names could not be read, or is wrong: a file, an account in it, a process. Or the output could not be written. */
export const UNREADABLE = 3

/** The command line itself is wrong. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE'
}

/** What the command line names cannot be read. */
export class UnreadableError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** A row that is a reason to act. */
const RED = /^(?:refused|danger|differs|verdict +(?:would be refused|to mend))/

export function printRows({ stdout, env }: Terminal, rows: readonly Row[]): void {
  const { isTTY, columns } = stdout
  // checked above: the stream need not be the process's own
  const red = (line: string) => styleText('red', line, { validateStream: false })
  for (const row of rows) {
    const text = rowText(row, isTTY ? columns : undefined)
    const isRed = isTTY && !env.NO_COLOR && RED.test(text)
    // line by line: a pager forgets the colour at the end of a line
    const lines = text.split('\n').map((line) => (isRed ? red(line) : line))
    stdout.write(`${lines.join('\n')}\n`)
  }
}

/** In ASCII, so that a terminal shows it unchanged. */
export function printJson({ stdout }: Pick<Terminal, 'stdout'>, value: unknown): void {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  stdout.write(`${JSON.stringify(value, null, 2).replace(/[\x7f-\uffff]/g, escaped)}\n`)
}

/** A message may have several lines: a configuration's error shows the place. */
export function printError({ stderr }: Terminal, message: string): void {
  stderr.write(`${message.split('\n').map(visible).join('\n')}\n`)
}
