/** What was aimed at, what has come of it, and the least that there is to be had. */
import type { Calls } from './calls'
import type { Cell, Samples } from './costs'
import { type Quartiles, quartiles, ratio } from './numbers'

export interface Aim {
  aim: string
  most: number
  measured: Quartiles
  /** The same of what does only what cannot be left out, as far as there is such a thing. */
  floor?: number
}

const sum = (us: Samples, ...parts: string[]): number[] =>
  (us[parts[0] as string] ?? []).map((_, run) =>
    parts.reduce((total, part) => total + (us[part]?.[run] ?? Number.NaN), 0),
  )

export function judge(cells: readonly Cell[], calls: Calls): Aim[] {
  const idle = cells.filter(({ busy }) => !busy)
  const at = (threads: number): Samples => idle.find((cell) => cell.threads === threads)?.us ?? {}
  const against = (us: Samples, part: string) => ratio(sum(us, part), sum(us, 'set whole'))
  const least = (us: Samples, ...parts: string[]) => ratio(sum(us, ...parts), sum(us, 'set whole')).median
  const growth = (name: string) => {
    const small = quartiles(sum(at(100), name)).median
    return quartiles(sum(at(1000), name).map((us) => us / small))
  }
  return [
    ...idle.map(({ threads, us }) => ({
      aim: `commit, ${threads} threads`,
      most: 1.5,
      measured: against(us, 'harden commit'),
      floor: least(us, 'floor held commit'),
    })),
    ...idle.map(({ threads, us }) => ({
      aim: `commit with no bounding set to drop, ${threads} threads`,
      most: threads === 11 ? 0.8 : 1,
      measured: against(us, 'trimmed commit'),
      floor: least(us, 'floor trimmed held commit'),
    })),
    ...idle.map(({ threads, us }) => ({
      aim: `audit, microseconds a thread, ${threads} threads`,
      most: 25,
      measured: quartiles(sum(us, 'harden audit').map((audit) => audit / threads)),
      floor: quartiles(sum(us, 'floor audit')).median / threads,
    })),
    ...idle.flatMap(({ threads, us }) => {
      const most = { 11: 6, 100: 4, 500: 3 }[threads]
      if (!most) return []
      const floor = least(us, 'floor held commit', 'floor audit')
      return [{ aim: `harden(), ${threads} threads`, most, measured: against(us, 'harden whole'), floor }]
    }),
    ...['commit', 'whole'].map((part) => ({
      aim: `${part === 'whole' ? 'harden()' : part}, 1,000 threads against 100`,
      most: 12,
      measured: growth(`harden ${part}`),
    })),
    {
      aim: 'system calls for each thread, beyond the floor',
      most: 4,
      measured: quartiles([calls.harden - calls.floor]),
    },
  ]
}
