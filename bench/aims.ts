/**
 * The aims, and whether they are met. Each is a ratio to something that ran in the same rounds, so that it holds on a
 * slower machine too; the milliseconds in brackets are those of the machine on which it was set.
 */
import { type Quartiles, quartiles, ratio } from './numbers'
import type { Aim, Results, RuledOut } from './results'

type Measured = Omit<Results, 'aims' | 'ruledOut'>

const START = 'the start of node with an empty script'
const FLOOR = 'the floor'
const SET = 'process.setgroups + setgid + setuid'

export function judge(results: Measured): Aim[] {
  const reachable = withParts(results).filter((aim) => !isRuledOut(aim))
  return [...reachable, ...ofNode(results), ...ofThreads(results), ...ofRehearsal(results)]
}

const over = ({ q1, median, q3, runs }: Quartiles, base: number): Quartiles => ({
  q1: q1 / base,
  median: median / base,
  q3: q3 / base,
  runs,
})

function ofNode({ load, cells }: Measured): Aim[] {
  const idle = (threads: number, name: string) =>
    cells.find((cell) => cell.threads === threads && !cell.busy)?.us[name] ?? []
  const few = quartiles(idle(100, 'harden audit()')).median
  const of = (aim: string, most: number, measured: Quartiles): Aim => ({
    aim,
    against: START,
    most,
    measured: over(measured, load.start.median),
  })
  return [
    of('`audit()`, 11 threads (0.6 ms)', 0.011, inMilliseconds(idle(11, 'harden audit()'))),
    of('the same again (0.6 ms)', 0.011, inMilliseconds(idle(11, 'harden audit() again'))),
    of(
      '`audit()`, 900 threads more (22.5 ms)',
      0.42,
      inMilliseconds(idle(1000, 'harden audit()').map((us) => us - few)),
    ),
  ]
}

const inMilliseconds = (microseconds: readonly number[]): Quartiles => quartiles(microseconds.map((us) => us / 1000))

/** Aims of which a part that cannot be left out takes more alone. */
export const ruleOut = (results: Measured): RuledOut[] => withParts(results).filter(isRuledOut)

const isRuledOut = ({ least, most }: RuledOut): boolean => least.median > most

/** Aims for what has such a part. */
function withParts({ load, cells, standstill }: Measured): RuledOut[] {
  const first = cells.find(({ threads, busy }) => threads === 11 && !busy)
  const [pause, longPause] = standstill['harden()']
  const [set, longSet] = standstill['process.set*']
  const warm = '`harden()` where its JavaScript has run before'
  return [
    {
      aim: 'loading, after node:net and node:worker_threads (5 ms)',
      against: START,
      most: 0.1,
      what: 'the addon, and dist/index.js read and compiled',
      least: over(load.floor, load.start.median),
      measured: over(load.server, load.start.median),
    },
    {
      aim: 'loading, first of all (8 ms)',
      against: START,
      most: 0.15,
      what: 'node:inspector, the addon, and dist/index.js read and compiled',
      least: over(load.floorOfAll, load.start.median),
      measured: over(load.empty, load.start.median),
    },
    {
      aim: '`harden()`, 11 threads (5 ms)',
      against: START,
      most: 0.1,
      what: warm,
      least: over(load.warm, load.start.median),
      measured: over(inMilliseconds(first?.us['harden whole'] ?? []), load.start.median),
    },
    {
      aim: 'the pause, 11 threads (6 ms)',
      against: SET,
      most: 5.5,
      what: warm,
      least: over(load.warm, set.median),
      measured: over(pause, set.median),
    },
    {
      aim: 'the pause, 500 threads (60 ms)',
      against: SET,
      most: 3.6,
      what: warm,
      least: over(load.warmMany, longSet.median),
      measured: over(longPause, longSet.median),
    },
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

function ofRehearsal({ rehearsal }: Measured): Aim[] {
  return ['500', '2000'].flatMap((heap) => {
    const cell = rehearsal[heap]
    if (!cell) return []
    const measured = over(cell.rehearse, cell.clone.median)
    return [{ aim: `rehearsal, ${heap} MB of memory`, against: 'an empty copy of the process', most: 1.3, measured }]
  })
}
