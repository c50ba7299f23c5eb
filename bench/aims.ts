/**
 * The aims, and whether they are met. Each is a ratio to something that ran in the same rounds, so that it holds on a
 * slower machine too; the milliseconds in brackets are those of the machine on which it was set.
 */
import { type Quartiles, quartiles, ratio } from './numbers'
import type { Aim, Results } from './results'

type Measured = Omit<Results, 'aims'>

const START = 'the start of node with an empty script'
const FLOOR = 'the floor'
const SET = 'process.setgroups + setgid + setuid'

export function judge(results: Measured): Aim[] {
  return [...ofNode(results), ...ofThreads(results), ...ofWaiting(results)]
}

const over = ({ q1, median, q3, runs }: Quartiles, base: number): Quartiles => ({
  q1: q1 / base,
  median: median / base,
  q3: q3 / base,
  runs,
})

function ofNode({ load, cells }: Measured): Aim[] {
  const first = cells.find(({ threads, busy }) => threads === 11 && !busy)
  const whole = quartiles((first?.us['harden whole'] ?? []).map((us) => us / 1000))
  const aim = (aim: string, most: number, measured: Quartiles): Aim => ({
    aim,
    against: START,
    most,
    measured: over(measured, load.start.median),
  })
  return [
    aim('loading, after node:net and node:worker_threads (5 ms)', 0.1, load.server),
    aim('loading, first of all (8 ms)', 0.15, load.empty),
    aim('`harden()`, 11 threads (5 ms)', 0.1, whole),
  ]
}

function ofThreads({ cells, calls }: Measured): Aim[] {
  const idle = cells.filter(({ busy }) => !busy)
  const growth = (name: string) => {
    const of = (threads: number) => idle.find((cell) => cell.threads === threads)?.us[name] ?? []
    const small = quartiles(of(100)).median
    return quartiles(of(1000).map((us) => us / small))
  }
  return [
    ...idle.map(({ threads, us }) => ({
      aim: `commit, ${threads} threads`,
      against: FLOOR,
      most: threads === 11 ? 1.3 : 1.15,
      measured: ratio(us['harden commit'] ?? [], us['floor held commit'] ?? []),
    })),
    ...idle.map(({ threads, us }) => ({
      aim: `\`audit()\`, ${threads} threads`,
      against: FLOOR,
      most: threads === 11 ? 2.5 : 1.3,
      measured: ratio(us['harden audit()'] ?? [], us['floor audit'] ?? []),
    })),
    ...['commit', 'whole'].map((part) => ({
      aim: `${part === 'whole' ? '`harden()`' : part}, 1,000 threads`,
      against: 'the same, 100 threads',
      most: 12,
      measured: growth(`harden ${part}`),
    })),
    {
      aim: 'system calls for each thread',
      against: FLOOR,
      most: 1.3,
      measured: quartiles([calls.harden / calls.floor]),
    },
  ]
}

function ofWaiting({ standstill, rehearsal }: Measured): Aim[] {
  const [few, many] = standstill['harden()']
  const [fewSet, manySet] = standstill['process.set*']
  return [
    { aim: 'the pause, 11 threads (6 ms)', against: SET, most: 5.5, measured: over(few, fewSet.median) },
    { aim: 'the pause, 500 threads (60 ms)', against: SET, most: 3.6, measured: over(many, manySet.median) },
    ...['500', '2000'].flatMap((heap) => {
      const cell = rehearsal[heap]
      if (!cell) return []
      const measured = over(cell.rehearse, cell.clone.median)
      return [{ aim: `rehearsal, ${heap} MB of memory`, against: 'an empty copy of the process', most: 1.3, measured }]
    }),
  ]
}
