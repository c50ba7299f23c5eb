/** The results as tables in Markdown. */
import type { Cell } from './costs'
import { type Quartiles, quartiles, show, spread } from './numbers'
import type { Aim, Results } from './results'

const table = (head: string[], rows: string[][]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const methods = {
  'set whole': 'process.setgroups + setgid + setuid',
  'harden whole': '`harden()`, all of it',
  'harden rehearse': 'of it: rehearsal',
  'harden commit': 'of it: commit',
  'harden proof': 'of it: proof, every thread read and compared',
  'harden audit()': '`audit()`',
  'harden audit() again': '`audit()` again',
  'trimmed whole': '`harden()` with no bounding set to drop',
  'trimmed commit': 'of it: commit',
  'floor commit': 'the floor of the commit',
  'floor held commit': 'the same, with what the promises take',
  'floor trimmed commit': 'floor with no bounding set to drop',
  'floor trimmed held commit': 'the same, with what the promises take',
  'floor audit': 'the floor of the audit',
}

/** A way that has not changed every thread has no time. */
export const isRight = ({ psx, threads }: Cell): boolean => psx === threads

const psx = (cell: Cell, name: string): string =>
  isRight(cell)
    ? spread(quartiles((cell.us[`${name} whole`] ?? []).map((us) => us / 1000)))
    : `**wrong**: ${cell.psx} of ${cell.threads} threads changed`

function costs(cells: readonly Cell[], busy: boolean, libpsx: string): string {
  const shown = cells.filter((cell) => cell.busy === busy)
  return table(
    [`${busy ? 'busy' : 'idle'} threads`, ...shown.map(({ threads }) => threads.toLocaleString('en-US'))],
    [
      ...Object.entries(methods).map(([name, method]) => [
        method,
        ...shown.map(({ us }) => spread(quartiles((us[name] ?? []).map((value) => value / 1000)))),
      ]),
      ...(busy
        ? []
        : [
            [`libpsx ${libpsx}, the calls of the floor`, ...shown.map((cell) => psx(cell, 'psx all'))],
            [`libpsx ${libpsx}, no bounding set to drop`, ...shown.map((cell) => psx(cell, 'psx'))],
          ]),
    ],
  )
}

function aims(list: readonly Aim[]): string {
  return table(
    ['aim', 'against', 'at most', 'measured', 'met'],
    list.map(({ aim, against, most, measured }) => [
      aim,
      against,
      String(most),
      measured.runs > 1 ? spread(measured) : show(measured.median),
      measured.median <= most ? 'yes' : '**no**',
    ]),
  )
}

/** The tables of bench/results.md. */
export function page(results: Results): string {
  const { machine, cells, calls, standstill, load, memory, throughput, rehearsal } = results
  const row = (name: string, values: Quartiles): string[] => [name, spread(values)]
  return `# What it costs

Made by \`npm run bench\`: Node ${machine.node}, Linux ${machine.kernel}, ${machine.cores} cores. Milliseconds unless it says
otherwise, medians of fresh processes that ran in turn, with their quartiles; after each of them every thread was read from outside.

![cost over the number of threads](../docs/cost.svg)

${costs(cells, false, machine.libpsx)}

${costs(cells, true, machine.libpsx)}

Of the busy ones every sixteenth computes without pause; the others are in and out of a system call.

## Aims

Ratios to what ran in the same rounds, threads idle; in brackets the milliseconds of the machine on which the aim was set, where
node started in 54 ms. The floor is a program in C that makes the system calls which the promises take, and nothing else
([floor.c](floor.c), hold), in a process that was copied before: it finds no thread that starts meanwhile, compares nothing, and
does not parse what it reads.

${aims(results.aims)}

These aims cannot be met, because a part that cannot be left out takes longer alone:

${table(
  ['aim', 'against', 'at most', 'that part', 'measured'],
  results.ruledOut.map(({ aim, against, most, what, least, measured }) => [
    aim,
    against,
    String(most),
    `${what}: ${spread(least)}`,
    spread(measured),
  ]),
)}

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
    row('node, an empty script', load.start),
    row('loading, after node:net and node:worker_threads', load.server),
    row('loading, first of all', load.empty),
    row('of the former, at the least: the addon, and dist/index.js read and compiled', load.floor),
    row('of the latter, at the least: the same, and node:inspector', load.floorOfAll),
    row('`harden()`, 11 threads, after plan() has run twenty times', load.warm),
    row('the same, 500 threads', load.warmMany),
    row('MB of its own, a server without the package', memory.before),
    row('MB more with it, after `harden()`', memory.more),
    row('SMTP throughput after `harden()`, of that before', throughput.harden),
    row('the same without `harden()`', throughput.nothing),
    ...Object.entries(rehearsal).map(([heap, { rehearse }]) => row(`rehearsal, ${heap} MB of memory`, rehearse)),
    ...Object.entries(rehearsal).map(([heap, { clone }]) => row(`its floor: an empty copy, ${heap} MB`, clone)),
    ...Object.entries(rehearsal).map(([heap, { whole }]) => row(`\`harden()\`, ${heap} MB of memory`, whole)),
  ],
)}
`
}

/** For docs/cost.md: the total and its parts. */
export function summary({ machine, cells, standstill, load }: Results): string {
  const idle = cells.filter(({ busy }) => !busy)
  const shown = [
    'set whole',
    'harden whole',
    'harden rehearse',
    'harden commit',
    'floor commit',
    'floor held commit',
    'harden proof',
    'harden audit()',
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
    [`libpsx ${machine.libpsx}, the calls of the floor`, ...idle.map((cell) => psx(cell, 'psx all'))],
  ],
)}

An SMTP client waits ${show(standstill['harden()'][0].median)} ms for the answer during which it happens (500 threads: ${show(standstill['harden()'][1].median)} ms).
Loading the package takes ${show(load.server.median)} ms in a server, where an empty script takes node ${show(load.start.median)} ms.
bench/results.md in the repository has all of it: busy threads, memory, throughput, system calls, and what was aimed at, met or not.`
}
