/** Cost over the number of threads, as SVG: one line a method, both axes logarithmic, the quartiles as bars. */
import type { Cell } from './costs'
import { quartiles } from './numbers'
import { isRight } from './page'

const lines = {
  'harden whole': 'harden(), all of it',
  'harden commit': 'commit',
  'floor held commit': 'floor of the commit',
  'psx all whole': 'libpsx, the calls of the floor',
  'set whole': 'process.setgroups + setgid + setuid',
  'harden audit()': 'audit()',
  'harden rehearse': 'rehearsal',
}

/** A method that leaves threads unchanged has no line; the title says so. */
export async function plot(cells: readonly Cell[], libpsx: string): Promise<string> {
  const wrong = cells.filter((cell) => !isRight(cell))
  const shown = Object.entries(lines).filter(([name]) => wrong.length === 0 || !name.startsWith('psx'))
  const left = wrong.map(({ psx, threads }) => `${psx} of ${threads}`)
  const values = cells.flatMap(({ threads, busy, us }) =>
    shown
      .filter(([name]) => us[name])
      .map(([name, method]) => ({
        threads,
        panel: busy ? 'busy threads' : 'idle threads',
        method,
        ...quartiles((us[name] ?? []).map((value) => value / 1000)),
      })),
  )
  const { compile } = await import('vega-lite')
  const { parse, View } = await import('vega')
  const counts = [...new Set(cells.map(({ threads }) => threads))]
  const y = { scale: { type: 'log' }, title: 'milliseconds' } as const
  const color = {
    field: 'method',
    sort: shown.map(([, method]) => method),
    title: null,
    legend: { orient: 'bottom', columns: 2, labelLimit: 400 },
  } as const
  const { spec } = compile({
    data: { values },
    title: wrong.length === 0 ? `libpsx ${libpsx}` : `libpsx ${libpsx} is wrong: changes ${left.join(', ')} threads`,
    background: 'white',
    config: { aria: false }, // shown as an image, which has its own alternative text
    facet: { column: { field: 'panel', sort: ['idle threads', 'busy threads'], title: null, type: 'nominal' } },
    spec: {
      width: 360,
      height: 360,
      encoding: {
        x: {
          field: 'threads',
          type: 'quantitative',
          scale: { type: 'log', domain: [counts.at(0) ?? 1, counts.at(-1) ?? 1], nice: false },
          axis: { values: counts, title: 'threads' },
        },
        color: { ...color, type: 'nominal' },
      },
      layer: [
        {
          mark: { type: 'line', point: true },
          encoding: { y: { ...y, field: 'median', type: 'quantitative' } },
        },
        { mark: 'rule', encoding: { y: { ...y, field: 'q1', type: 'quantitative' }, y2: { field: 'q3' } } },
      ],
    },
  })
  return `${await new View(parse(spec), { renderer: 'none' }).toSVG()}\n`
}
