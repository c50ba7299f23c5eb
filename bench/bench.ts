/**
 * What harden() costs, in fresh processes that run in turn: writes results.json and results.md beside itself, docs/cost.svg, and a
 * part of docs/cost.md. Needs root, cc, libcap-dev and strace.
 *
 * npm run bench [-- --libpsx FOLDER]: FOLDER/lib and FOLDER/include have another libpsx than the system's.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { judge, ruleOut } from './aims'
import { countCalls } from './calls'
import { measureCosts } from './costs'
import { compile } from './fresh'
import { least, leastOfAll, load, memory, rehearsal, server, start, warm } from './load'
import { type Quartiles, quartiles, ratio } from './numbers'
import { page, summary } from './page'
import { plot } from './plot'
import type { Results } from './results'
import { standstill, throughput } from './smtp'

/** How often each runs, in turn. */
async function inTurn<Name extends string, T>(
  runs: number,
  ways: Record<Name, () => T | Promise<T>>,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(ways) as Name[]
  const found = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, T[]>
  for (let run = 0; run < runs; run++) for (const name of names) found[name].push(await ways[name]())
  return found
}

const without = (more: readonly number[], less: readonly number[]): Quartiles =>
  quartiles(more.map((value, run) => value - (less[run] ?? Number.NaN)))

async function measureStandstill(): Promise<Results['standstill']> {
  const found = await inTurn(15, {
    nothing: async () => [await standstill('nothing', 11), await standstill('nothing', 500)],
    'process.set*': async () => [await standstill('set', 11), await standstill('set', 500)],
    'harden()': async () => [await standstill('harden', 11), await standstill('harden', 500)],
  })
  const of = (pairs: number[][]): [Quartiles, Quartiles] => [
    quartiles(pairs.map(([few]) => few as number)),
    quartiles(pairs.map(([, many]) => many as number)),
  ]
  return { nothing: of(found.nothing), 'process.set*': of(found['process.set*']), 'harden()': of(found['harden()']) }
}

async function measureRest(): Promise<Pick<Results, 'load' | 'memory' | 'throughput' | 'rehearsal'>> {
  const loads = await inTurn(41, {
    start,
    server: () => load("require('privdrop')", server),
    empty: () => load("require('privdrop')"),
    floor: () => load(least, server),
    floorOfAll: () => load(leastOfAll),
    warm: () => warm(11),
    warmMany: () => warm(500),
  })
  const sizes = await inTurn(15, { before: () => memory('nothing'), after: () => memory('harden') })
  const mail = await inTurn(7, { nothing: () => throughput('nothing'), harden: () => throughput('harden') })
  const heaps = await inTurn(9, { 50: () => rehearsal(50), 500: () => rehearsal(500), 2000: () => rehearsal(2000) })
  const kept = (runs: { before: number; after: number }[]) =>
    ratio(
      runs.map(({ after }) => after),
      runs.map(({ before }) => before),
    )
  return {
    load: {
      start: quartiles(loads.start),
      server: quartiles(loads.server),
      empty: quartiles(loads.empty),
      floor: quartiles(loads.floor),
      floorOfAll: quartiles(loads.floorOfAll),
      warm: quartiles(loads.warm),
      warmMany: quartiles(loads.warmMany),
    },
    memory: { before: quartiles(sizes.before), more: without(sizes.after, sizes.before) },
    throughput: { nothing: kept(mail.nothing), harden: kept(mail.harden) },
    rehearsal: Object.fromEntries(
      Object.entries(heaps).map(([heap, runs]) => [
        heap,
        {
          rehearse: quartiles(runs.map(({ rehearse }) => rehearse)),
          whole: quartiles(runs.map(({ whole }) => whole)),
          clone: quartiles(runs.map(({ clone }) => clone)),
        },
      ]),
    ),
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { libpsx: { type: 'string' } } })
  const libpsx = compile(values.libpsx)
  const calls = countCalls()
  const cells = await measureCosts()
  const measured = {
    machine: { node: process.versions.node, kernel: release(), cores: availableParallelism(), libpsx },
    calls,
    standstill: await measureStandstill(),
    ...(await measureRest()),
    cells,
  }
  const results: Results = { ...measured, aims: judge(measured), ruledOut: ruleOut(measured) }
  const folder = join(__dirname, '../..')
  const cost = join(folder, '../docs/cost.md')
  const figures = cells.map(({ us, ...cell }) => ({
    ...cell,
    us: Object.fromEntries(Object.entries(us).map(([name, values]) => [name, quartiles(values)])),
  }))
  writeFileSync(join(folder, 'results.json'), `${JSON.stringify({ ...results, cells: figures }, null, 2)}\n`)
  writeFileSync(join(folder, 'results.md'), page(results))
  writeFileSync(join(folder, '../docs/cost.svg'), await plot(cells, libpsx))
  const text = readFileSync(cost, 'utf8')
  writeFileSync(
    cost,
    text.replace(/(?<=<!-- bench -->\n).*(?=<!-- \/bench -->)/s, () => `\n${summary(results)}\n\n`),
  )
  console.log(page(results))
}

if (process.getuid?.() !== 0) {
  console.error('The benchmark gives up root, so it has to be started as root.')
  process.exitCode = 77
} else void main()
