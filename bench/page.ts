/** The results as tables in Markdown. */
import type { Aim } from './aims'
import type { Calls } from './calls'
import type { Cell } from './costs'
import { type Quartiles, quartiles, show, spread } from './numbers'

export interface Results {
  machine: { node: string; kernel: string; cores: number }
  cells: Cell[]
  calls: Calls
  /** Milliseconds, with few threads and with many. */
  standstill: Record<'nothing' | 'process.set*' | 'harden()', [Quartiles, Quartiles]>
  load: Record<'empty' | 'package' | 'more', Quartiles>
  memory: Record<'before' | 'more', Quartiles>
  throughput: Record<'nothing' | 'harden', Quartiles>
  /** By megabytes. */
  rehearsal: Record<string, { rehearse: Quartiles; whole: Quartiles }>
  aims: Aim[]
}

const table = (head: string[], rows: string[][]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const methods = {
  'set whole': 'process.setgroups + setgid + setuid',
  'harden whole': '`harden()`, all of it',
  'harden rehearse': 'of it: rehearsal',
  'harden commit': 'of it: commit',
  'harden audit': 'of it: audit',
  'trimmed whole': '`harden()` with no bounding set to drop',
  'trimmed commit': 'of it: commit',
  'floor commit': 'the floor of the commit',
  'floor held commit': 'the same, with what the promises take',
  'floor trimmed commit': 'floor with no bounding set to drop',
  'floor trimmed held commit': 'the same, with what the promises take',
  'floor audit': 'the floor of the audit',
}

function costs(cells: readonly Cell[], busy: boolean): string {
  const shown = cells.filter((cell) => cell.busy === busy)
  return table(
    [`${busy ? 'busy' : 'idle'} threads`, ...shown.map(({ threads }) => threads.toLocaleString('en-US'))],
    [
      ...Object.entries(methods).map(([name, method]) => [
        method,
        ...shown.map(({ us }) => spread(quartiles((us[name] ?? []).map((value) => value / 1000)))),
      ]),
      [
        'libpsx 2.66, **wrong**: threads that it has changed',
        ...shown.map(
          ({ us, psx }) => `${spread(quartiles((us['psx whole'] ?? []).map((value) => value / 1000)))}: ${psx}`,
        ),
      ],
    ],
  )
}

function aims(list: readonly Aim[]): string {
  return table(
    ['aim', 'at most', 'measured', 'met', 'floor'],
    list.map(({ aim, most, measured, floor }) => [
      aim,
      String(most),
      measured.runs > 1 ? spread(measured) : show(measured.median),
      measured.median <= most ? 'yes' : '**no**',
      floor === undefined ? '' : show(floor),
    ]),
  )
}

/** For bench/results.md. */
export function page(results: Results): string {
  const { machine, cells, calls, standstill, load, memory, throughput, rehearsal } = results
  const row = (name: string, values: Quartiles): string[] => [name, spread(values)]
  return `# What it costs

Made by \`npm run bench\`: Node ${machine.node}, Linux ${machine.kernel}, ${machine.cores} cores. Milliseconds unless it says
otherwise, medians of fresh processes that ran in turn, with their quartiles; after each of them every thread was read from outside.

![cost over the number of threads](../docs/cost.svg)

${costs(cells, false)}

${costs(cells, true)}

Of the busy ones every sixteenth computes without pause; the others are in and out of a system call.

## Aims

Against process.setgroups + setgid + setuid of the same round, threads idle. The floor is a program in C that makes the system calls
which the promises take, and nothing else: it looks for nobody who was born meanwhile, compares nothing, and reads what it reads
without understanding it ([floor.c](floor.c), hold).

${aims(results.aims)}

## System calls for each thread more

${table(['', 'calls'], [...Object.entries(calls.each).map(([name, count]) => [name, String(count)]), ['`harden()`', String(calls.harden)], ['floor', String(calls.floor)]])}

## An SMTP client's longest wait for the answer to a NOOP

${table(
  ['', '11 threads', '500 threads'],
  Object.entries(standstill).map(([way, [few, many]]) => [way, spread(few), spread(many)]),
)}

## The rest

${table(
  ['', ''],
  [
    row('node, an empty script', load.empty),
    row('node, a script that loads the package', load.package),
    row('loading, more than the empty script', load.more),
    row('MB of its own, a server without the package', memory.before),
    row('MB more with it, after `harden()`', memory.more),
    row('SMTP throughput after `harden()`, of that before', throughput.harden),
    row('the same without `harden()`', throughput.nothing),
    ...Object.entries(rehearsal).map(([heap, { rehearse }]) => row(`rehearsal, ${heap} MB of memory`, rehearse)),
    ...Object.entries(rehearsal).map(([heap, { whole }]) => row(`\`harden()\`, ${heap} MB of memory`, whole)),
  ],
)}
`
}

/** For docs/cost.md: the whole and its parts, and what was not reached. */
export function summary({ machine, cells, standstill, load }: Results): string {
  const idle = cells.filter(({ busy }) => !busy)
  const shown = [
    'set whole',
    'harden whole',
    'harden rehearse',
    'harden commit',
    'floor commit',
    'floor held commit',
    'harden audit',
    'floor audit',
  ] as const
  return `![milliseconds over the number of threads](cost.svg)

Milliseconds, once in the life of a process: medians of fresh processes with their quartiles, Node ${machine.node}, ${machine.cores} cores.

${table(
  ['idle threads', ...idle.map(({ threads }) => threads.toLocaleString('en-US'))],
  [
    ...shown.map((name) => [
      methods[name],
      ...idle.map(({ us }) => spread(quartiles((us[name] ?? []).map((value) => value / 1000)))),
    ]),
    ['libpsx 2.66: **wrong**, threads changed', ...idle.map(({ psx }) => psx)],
  ],
)}

An SMTP client waits ${show(standstill['harden()'][0].median)} ms for the answer during which it happens (500 threads: ${show(standstill['harden()'][1].median)} ms).
Loading the package takes ${show(load.more.median)} ms.
bench/results.md in the repository has all of it: busy threads, memory, throughput, system calls, and what was aimed at, met or not.`
}
