/** plan() from the command line. */
import { readSecurityConfig } from '../momentum'
import type { HardenOptions } from '../options'
import { type HardenPlan, planRows, plan as rehearse } from '../plan-report'
import { parse } from './arguments'
import type { Command } from './main'
import { printJson, printRows, type Terminal, UsageError } from './terminal'

const text = { type: 'string' } as const
const texts = { type: 'string', multiple: true } as const
const flag = { type: 'boolean' } as const

const options = {
  config: text,
  cluster: text,
  user: text,
  group: text,
  'supplemental-groups': texts,
  capabilities: text,
  privileges: text,
  chroot: text,
  'ambient-capabilities': text,
  'allow-new-privileges': flag,
  read: texts,
  write: texts,
  bind: texts,
  'allow-inspector': flag,
  json: flag,
} as const

export const plan: Command = {
  help: `Usage: privdrop plan [OPTION]...

What harden() would do with these options, and whether the kernel would let it: rehearsed in a child process. Nothing
changes. Run it as the server is started: as the same user, in the same container or unit.

  --config FILE                      an ecelerity.conf, whose security scope has the options; what is named here overrides it
  --cluster FILE                     with --config: an ecelerity-cluster.conf
  --user NAME|ID                     the identity to assume
  --group NAME|ID                    default: the user's primary group
  --supplemental-groups NAME|ID,...  exactly these; default: none
  --capabilities TEXT                what to retain (cap_from_text(3)), e.g. cap_net_bind_service+ep; default: none
  --privileges TEXT                  the same on Solaris; ignored on Linux
  --chroot PATH                      a new root directory
  --ambient-capabilities NAME,...    what child processes keep too
  --allow-new-privileges             noNewPrivileges: false
  --read PATH, --write PATH          what the new user must be able to read, and to write to, after the chroot
  --bind PORT,...                    TCP ports that it must be able to bind
  --allow-inspector                  accept an inspector that is open
  --json                             the plan as JSON

Lists may also be given by repeating the option; paths only so.

It is a process of its own: of the server's threads, open descriptors, children, environment, limits and terminal it
knows nothing, so what harden() and plan() find there is left out. For that, call plan() in the server.

Exit status: 0 harden() would do it; 1 it would be refused, or FILE is wrong; 2 the command line, or a
value in FILE, is nothing that harden() takes.
`,

  run(args, terminal) {
    const { json, config, cluster, ...values } = parse({ args, options }).values
    if (cluster !== undefined && config === undefined) throw new UsageError('--cluster goes with --config')
    const given = Object.entries(optionsOf(values)).filter(([, value]) => value !== undefined)
    const made = rehearse({
      ...(config !== undefined && readSecurityConfig(config, { cluster })),
      ...Object.fromEntries(given),
    })
    const findings = made.findings.filter(({ code }) => !ofThisProcess.has(code))
    show({ ...made, findings }, json, terminal)
    return made.refusals.length > 0 ? 1 : 0
  },
}

type Values = Omit<ReturnType<typeof parse<{ options: typeof options }>>['values'], 'json' | 'config' | 'cluster'>

/** Not checked here: validate() does it, and knows each option by its own name. */
function optionsOf({ read, write, bind, ...values }: Values): HardenOptions {
  const groups = values['supplemental-groups']
  return {
    user: values.user,
    group: values.group,
    supplementalGroups: groups && items(groups),
    capabilities: values.capabilities,
    privileges: values.privileges,
    chroot: values.chroot,
    ambientCapabilities: values['ambient-capabilities'],
    noNewPrivileges: values['allow-new-privileges'] ? false : undefined,
    rehearse: { read, write, bind: bind && items(bind).map(port) },
    allowInspector: values['allow-inspector'],
  }
}

const items = (lists: readonly string[]): string[] => lists.flatMap((list) => list.split(','))

/** What is no number is left to be refused as what it is. */
const port = (word: string): number => (/^\d+$/.test(word) ? Number(word) : (word as never))

/** Findings about this process, which is not the server, nor started as the server is. */
const ofThisProcess: ReadonlySet<string> = new Set([
  'HARDEN_CHILDREN',
  'HARDEN_CHILDREN_ROOT',
  'HARDEN_DESCRIPTORS',
  'HARDEN_ENVIRONMENT',
  'HARDEN_NOT_LISTENING',
  'HARDEN_NPROC',
  'HARDEN_PRIMARY_ROOT',
  'HARDEN_SIGNAL_REPORT',
  'HARDEN_SOCKETS',
  'HARDEN_TIOCSTI',
])

function show(made: HardenPlan, json: boolean | undefined, terminal: Terminal): void {
  if (json) printJson(terminal, made)
  else printRows(terminal, planRows(made))
}
