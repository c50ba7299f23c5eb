/** plan() from the command line. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { FindingCode } from '../contract'
import { accountsOf } from '../databases'
import { readSecurityConfig } from '../momentum'
import type { HardenOptions } from '../options'
import { rememberFiles } from '../places'
import { planRows, plan as rehearse } from '../plan'
import { platform } from '../platform'
import { parse } from './arguments'
import { type Reading, reading, readingHelp, readingOptions } from './config'
import { type Command, printJson, printRows, UsageError, WRONG } from './terminal'

const text = { type: 'string' } as const
const texts = { type: 'string', multiple: true } as const
const flag = { type: 'boolean' } as const

const options = {
  config: text,
  ...reading,
  user: text,
  group: text,
  'supplemental-groups': texts,
  capabilities: text,
  privileges: text,
  chroot: text,
  'ambient-capabilities': texts,
  'allow-new-privileges': flag,
  read: texts,
  write: texts,
  bind: texts,
  'next-start': texts,
  'allow-inspector': flag,
  json: flag,
} as const

export const plan: Command = {
  help: `Usage: privdrop plan [OPTION]...

What harden() would do with these options, and whether the kernel would refuse
it: a child process rehearses it. Nothing changes. Run it as the server is
started: as the same user, in the same container or unit.

  --config FILE           options from the security scope of an ecelerity.conf;
                          options on the command line override them
${readingHelp('  --config FILE           '.length)}
  --user NAME|ID          the identity to assume
  --group NAME|ID         default: with --user its primary group, else the
                          group in the file
  --supplemental-groups NAME|ID,...
                          exactly these; default: none
  --capabilities TEXT     Linux: what to retain (cap_from_text(3)), such as
                          cap_net_bind_service+ep; default: none
  --privileges TEXT       Solaris: what to retain (priv_str_to_set(3C))
  --chroot PATH           a new root directory
  --ambient-capabilities NAME,...
                          Linux: what child processes keep too
  --allow-new-privileges  noNewPrivileges: false
  --read PATH             what the new user must be able to read,
  --write PATH            and to write to, as a path in the chroot
  --bind PORT,...         TCP ports that it must be able to bind
  --next-start PATH       a program, file or folder that root uses at the next
                          start: can the new user exchange it? FILE and node
                          are examined without being named
  --allow-inspector       accept an inspector that is open
  --json                  the plan, or the error, as JSON

--supplemental-groups, --ambient-capabilities, --search-path, --read, --write,
--bind and --next-start can be repeated.

This command is another process than the server. It does not know the server's
open descriptors, environment, limits and terminal, and leaves out the findings
about them. For those, call plan() in the server. Other threads, root children
and processes that share the memory are examined by harden() alone.

Reasons for a refusal and dangers come first, the verdict last. Names beside
ids come from /etc/passwd, /etc/group and the command line.
`,

  run(args, terminal) {
    const { json, config, cluster, 'search-path': searchPath, nodename, ...named } = parse({ args, options }).values
    const { 'next-start': nextStart = [], ...values } = named
    rememberFiles(nextStart.map(existing), [])
    const given = Object.fromEntries(Object.entries(optionsOf(values)).filter(([, value]) => value !== undefined))
    const asked = { ...readFor(given, config, { cluster, 'search-path': searchPath, nodename }), ...given }
    const all = rehearse(asked)
    const made = { ...all, findings: all.findings.filter(({ code }) => !ofThisProcess.has(code)) }
    if (json) printJson(terminal, made)
    else printRows(terminal, planRows(made, { accounts: accountsOf([made], asked), all: platform.allNames() }))
    return made.refusals.length > 0 ? WRONG : 0
  },
}

/** plan() asks about the path as if readSecurityConfig() had read it. */
function existing(path: string): string {
  if (!existsSync(path)) throw new UsageError(`--next-start ${path}: there is no such file`)
  return resolve(path)
}

/** The options from the file. Its group belongs to its user, and does not go with another. */
function readFor(given: HardenOptions, path: string | undefined, how: Reading): HardenOptions {
  if (path !== undefined) {
    const { group, ...others } = readSecurityConfig(path, readingOptions(how))
    return given.user === undefined ? { group, ...others } : others
  }
  const [odd] = Object.entries(how).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  if (odd !== undefined) throw new UsageError(`--${odd} needs --config`)
  return {}
}

type Values = Omit<
  ReturnType<typeof parse<{ options: typeof options }>>['values'],
  'json' | 'config' | 'next-start' | keyof Reading
>

/** Not checked here: validate() does that, and names each option. */
function optionsOf({ read, write, bind, ...values }: Values): HardenOptions {
  const { 'supplemental-groups': groups, 'ambient-capabilities': ambient } = values
  return {
    user: values.user,
    group: values.group,
    supplementalGroups: groups && items(groups),
    capabilities: values.capabilities,
    privileges: values.privileges,
    chroot: values.chroot,
    ambientCapabilities: ambient?.join(','),
    noNewPrivileges: values['allow-new-privileges'] ? false : undefined,
    rehearse: { read, write, bind: bind && items(bind).map(port) },
    allowInspector: values['allow-inspector'],
  }
}

const items = (lists: readonly string[]): string[] => lists.flatMap((list) => list.split(','))

/** A word that is not a number is passed on, and refused as it is. */
const port = (word: string): number => (/^\d+$/.test(word) ? Number(word) : (word as never))

/** Findings about this process, which is not the server and was not started like it. */
const ofThisProcess: ReadonlySet<FindingCode> = new Set<FindingCode>([
  'HARDEN_CHILDREN',
  'HARDEN_CHILDREN_ROOT',
  'HARDEN_DESCRIPTORS',
  'HARDEN_ENVIRONMENT',
  'HARDEN_NOT_LISTENING',
  'HARDEN_NPROC',
  'HARDEN_OUT_OF_REACH',
  'HARDEN_PRIMARY_ROOT',
  'HARDEN_REUSEPORT',
  'HARDEN_SESSION_ROOT',
  'HARDEN_SIGNAL_REPORT',
  'HARDEN_SOCKETS',
  'HARDEN_TIOCSTI',
  'HARDEN_UNIX_SOCKET',
])
