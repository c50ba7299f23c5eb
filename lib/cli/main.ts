/** Arguments to one of the commands, and what becomes of it to an exit status. */
import { HardenError } from '../errors'
import { audit } from './audit'
import { demo } from './demo'
import { plan } from './plan'
import { type Command, printError, type Terminal, UsageError } from './terminal'

const commands: Readonly<Record<string, Command>> = { plan, audit, demo }

const help = `Usage: privdrop COMMAND [ARGUMENT]...

  plan     what harden() would do with these options, and whether it would
  audit    what the kernel says of every thread of a running process, and what is dangerous in it
  demo     a mail server gives up root, and shows that it is gone

  --help, after a command too, and --version
`

/** @returns the exit status; for plan and audit: 0 all is well, 1 it is not, 2 it could not be found out */
export function main(args: string[], terminal: Terminal): number {
  const [name = '', ...rest] = args
  try {
    if (name === '--help' || name === '-h') return tell(terminal, help)
    if (name === '--version') return tell(terminal, `${version()}\n`)
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (!command) throw new UsageError(name ? `there is no command ${name}` : 'a command is missing')
    if (rest.includes('--help') || rest.includes('-h')) return tell(terminal, command.help)
    return command.run(rest, terminal)
  } catch (error) {
    return explain(error, name, terminal)
  }
}

function tell({ stdout }: Terminal, text: string): number {
  stdout.write(text)
  return 0
}

function version(): string {
  // not an import: it lies outside of what is compiled
  return (require('../../package.json') as { version: string }).version
}

/** @throws what is nobody's mistake but this package's */
function explain(error: unknown, name: string, terminal: Terminal): number {
  if (error instanceof UsageError) {
    const where = Object.hasOwn(commands, name) ? `privdrop ${name} --help` : 'privdrop --help'
    printError(terminal, `privdrop: ${error.message}\nSee: ${where}`)
    return 2
  }
  if (!(error instanceof HardenError)) throw error
  // as compilers do: file:line:column first
  const prefix = error.code === 'ERR_HARDEN_CONFIG' ? '' : `privdrop: ${error.code}: `
  printError(terminal, `${prefix}${error.message}`)
  // What is wrong with the arguments, harden() has not even considered.
  return error.code.startsWith('ERR_INVALID_ARG_') ? 2 : 1
}
