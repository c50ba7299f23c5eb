/** Runs a command, and turns its result or error into an exit status. */
import { HardenError } from '../errors'
import { nearest } from '../nearest'
import { audit } from './audit'
import { config } from './config'
import { demo } from './demo'
import { plan } from './plan'
import {
  type Command,
  printError,
  printJson,
  type Terminal,
  UNREADABLE,
  UnreadableError,
  USAGE,
  UsageError,
  WRONG,
} from './terminal'

const commands: Readonly<Record<string, Command>> = { plan, audit, config, demo }

const help = `Usage: privdrop COMMAND [ARGUMENT]...

  plan     what harden() would do with these options, and whether it would be
           refused
  audit    what the kernel says of every thread of a running process, and what
           is dangerous in it
  config   what the security scope of an ecelerity.conf says, and where
  demo     as root: a mail server gives up root, and shows that it is gone
  help     this text; help COMMAND shows the options of that command

Every command also takes --help, -h and --version.
`

const statuses = `
Exit status:
  0  fine
  1  plan: harden() would refuse; audit: there is a danger; demo: it failed
  2  the command line is wrong
  3  a file, an account in a file, or a process cannot be read or is wrong; or
     the output cannot be written
`

/** @returns the exit status */
export function main(args: string[], terminal: Terminal): number {
  const [name = '', ...rest] = args
  const end = rest.indexOf('--')
  const flags = end < 0 ? rest : rest.slice(0, end)
  try {
    if (flags.includes('--version') || name === '--version') return tell(terminal, `${version()}\n`)
    if (name === 'help' || name === '--help' || name === '-h') return tell(terminal, helpOn(rest[0]))
    const command = find(name)
    if (flags.includes('--help') || flags.includes('-h')) return tell(terminal, helpOn(name))
    return command.run(rest, terminal)
  } catch (error) {
    const status = statusOf(error)
    if (flags.includes('--json'))
      printJson(terminal, { error: { ...(error as Error), message: (error as Error).message } })
    else printError(terminal, wordsOf(error as Error, name))
    return status
  }
}

function find(name: string): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command) return command
  const meant = nearest(name, [...Object.keys(commands), 'help'])
  throw new UsageError(
    name
      ? `there is no command ${name}${meant === undefined ? '' : `; did you mean ${meant}?`}`
      : 'a command is missing',
  )
}

function helpOn(name?: string): string {
  return (name === undefined ? help : find(name).help) + statuses
}

function tell({ stdout }: Terminal, text: string): number {
  stdout.write(text)
  return 0
}

function version(): string {
  // not an import: the file lies outside of what is compiled
  return (require('../../package.json') as { version: string }).version
}

/** @throws any other error: a mistake in this package */
function statusOf(error: unknown): number {
  if (error instanceof UsageError) return USAGE
  if (error instanceof UnreadableError) return UNREADABLE
  if (!(error instanceof HardenError)) throw error
  // the mistake is in a file
  if (error.place !== undefined) return UNREADABLE
  return error.code.startsWith('ERR_INVALID_ARG_') ? USAGE : WRONG
}

function wordsOf(error: Error, name: string): string {
  if (error instanceof UsageError)
    return `privdrop: ${error.message}\nSee: ${Object.hasOwn(commands, name) ? `privdrop ${name} --help` : 'privdrop --help'}`
  if (!(error instanceof HardenError)) return `privdrop: ${error.message}`
  // as compilers do: file:line:column first
  return error.place === undefined ? `privdrop: ${error.code}: ${error.message}` : error.message
}
