/** Cost over the number of threads, as SVG: one line a method, both axes logarithmic, the quartiles as bars. */
import type { Cell } from './costs'
import { quartiles } from './numbers'

const lines = {
  'harden whole': 'harden(), all of it',
  'set whole': 'process.setgroups + setgid + setuid',
  'harden commit': 'commit',
  'trimmed commit': 'commit, no bounding set to drop',
  'harden audit': 'audit',
  'harden rehearse': 'rehearsal',
  'floor commit': 'floor of the commit',
  'psx whole': 'libpsx 2.66: wrong, 1 thread of N',
}

export async function plot(cells: readonly Cell[]): Promise<string> {
  const values = cells.flatMap(({ threads, busy, us }) =>
    Object.entries(lines).map(([name, method]) => ({
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
    sort: Object.values(lines),
    title: null,
    legend: { orient: 'bottom', columns: 2, labelLimit: 400 },
  } as const
  const { spec } = compile({
    data: { values },
    background: 'white',
    config: { aria: false }, // it is shown as an image, which has words of its own
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
          encoding: {
            y: { ...y, field: 'median', type: 'quantitative' },
            strokeDash: {
              condition: { test: "indexof(datum.method, 'wrong') >= 0", value: [2, 4] },
              value: [1, 0],
            },
          },
        },
        { mark: 'rule', encoding: { y: { ...y, field: 'q1', type: 'quantitative' }, y2: { field: 'q3' } } },
      ],
    },
  })
  return `${await new View(parse(spec), { renderer: 'none' }).toSVG()}\n`
}
