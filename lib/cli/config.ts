/** readSecurityConfig() from the command line: the values read, and their places. */
import { readSecurityConfig, type SecurityConfigOptions } from '../momentum'
import { keys } from '../momentum/parse'
import { filesRead, findPlace } from '../places'
import type { Row } from '../table'
import { parse } from './arguments'
import { type Command, printJson, printRows, UsageError } from './terminal'

const text = { type: 'string' } as const

/** How a file is read; `plan` takes these options too. */
export const reading = { cluster: text, 'search-path': { ...text, multiple: true }, nodename: text } as const

export interface Reading {
  readonly cluster?: string
  readonly 'search-path'?: readonly string[]
  readonly nodename?: string
}

export function readingOptions({ cluster, nodename, 'search-path': lists }: Reading): SecurityConfigOptions {
  return { cluster, nodename, searchPath: lists?.flatMap((list) => list.split(':')) }
}

/** @param column where the explanations begin */
export function readingHelp(column: number): string {
  const rows: [option: string, ...lines: string[]][] = [
    ['--cluster FILE', "an ecelerity-cluster.conf, read after FILE's end"],
    [
      '--search-path DIR:...',
      'where includes are looked for; default: that of',
      'EC_CONF_SEARCH_PATH, else of Momentum',
    ],
    ['--nodename NAME', "what {NODENAME} is; default: this host's name"],
  ]
  return rows
    .flatMap(([option, ...lines]) =>
      lines.map((line, index) => `${(index === 0 ? `  ${option}` : '').padEnd(column)}${line}`),
    )
    .join('\n')
}

export const config: Command = {
  help: `Usage: privdrop config [OPTION]... FILE

What readSecurityConfig() reads in the security scope of an ecelerity.conf,
its includes and its local changes: each value, and where it stands. Accounts
and capabilities are not looked up: privdrop plan --config FILE does that.

${readingHelp('  --search-path DIR:...  '.length)}
  --json                 options, places and files, or the error, as JSON
`,

  run(args, terminal) {
    const { values, positionals } = parse({
      args,
      options: { ...reading, json: { type: 'boolean' } },
      allowPositionals: true,
    })
    const { json, ...how } = values
    const [path, ...more] = positionals
    if (path === undefined || more.length > 0) throw new UsageError('config takes the path of one file')
    const options = readSecurityConfig(path, readingOptions(how))
    const places = Object.fromEntries(Object.keys(options).map((option) => [option, findPlace(option, options)]))
    const files = filesRead()
    if (json) printJson(terminal, { options, places, files })
    else printRows(terminal, [...Object.entries(options).map(rowOf), ['files', files.join(' ')]])
    return 0

    function rowOf([option, value]: [string, string | readonly string[]]): Row {
      const shown = typeof value === 'string' ? value : `( ${value.join(' ')} )`
      return [keys.get(option) as string, `${shown}  (${places[option] ?? 'the default'})`]
    }
  },
}
