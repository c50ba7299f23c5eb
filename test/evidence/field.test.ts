/**
 * Promise: what goes wrong where other programs give up root does not go wrong here (Exact, Unchanged or done, Proved,
 * For good). Each bug of the field, and each that was found when this package's own design was attacked, is a test with
 * its number. Each test can fail: it also catches what people do instead of harden(), or a copy of this package with
 * that bug.
 * The last test prints the matrix: rows are bugs, columns are ways to give up root.
 */
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { HardenOptions } from '../../lib/options'
import type { HardenReport } from '../../lib/report'
import { live } from '../live/live'
import { rest, tasks } from '../live/outside'
import { Refusal, start } from '../live/subject'
import { fieldModule, type Row, rows, type Scene, type Setting } from './rows'
import { type Way, type WayName, ways } from './ways'

interface Cell {
  /** caught: the bug shows. refused: and nothing has changed. ended: by itself. */
  readonly outcome: 'done' | 'refused' | 'ended' | 'caught'
  /** How it shows, and how it is refused. */
  readonly why: string
  readonly fields?: Record<string, unknown>
}

/** rest(), of a process of which parts may be ending. */
function restNow(pid: number): string | undefined {
  try {
    return rest(pid)
  } catch {
    return undefined
  }
}

const LOOKS_MS = 3000
const LOOKS_MAX = 40

const FOR_EVER = Symbol('it takes for ever')

/** For ever: none of its threads has run from one look to the next, however busy the machine is; or two minutes. */
async function unlessForEver<T>(pid: number, what: Promise<T>): Promise<T | typeof FOR_EVER> {
  let looks: NodeJS.Timeout | undefined
  const over = new Promise<typeof FOR_EVER>((resolve) => {
    let last: string | undefined
    let count = 0
    looks = setInterval(() => {
      const now = restNow(pid)
      if ((now !== undefined && now === last) || ++count === LOOKS_MAX) resolve(FOR_EVER)
      last = now
    }, LOOKS_MS)
  })
  const first = await Promise.race([what, over])
  clearInterval(looks)
  return first
}

/** What threads there are, by all that is given up. */
function kinds(pid: number): string {
  const all = tasks(pid).map(({ tid: _tid, name: _name, ...rest }) => JSON.stringify(rest))
  return [...new Set(all)].sort().join() + readlinkSync(`/proc/${pid}/root`) + readlinkSync(`/proc/${pid}/cwd`)
}

const optionsOf = ({ options = {} }: Setting): HardenOptions[] => [options].flat()

/** Nobody is asked for what he does not offer. */
function applies({ can, ours }: Way, setting: Setting): boolean {
  const chroot = optionsOf(setting).some((options) => options.chroot !== undefined)
  return (ours || !setting.ours) && can !== (chroot ? 'no chroot' : 'only chroot')
}

async function give(scene: Scene, setting: Setting, way: Way, options: HardenOptions): Promise<Cell> {
  const { pid, subject } = scene
  const caught = (why: string): Cell => ({ outcome: 'caught', why })
  const before = kinds(pid)
  const answer = await unlessForEver(
    pid,
    way.drop(subject, options).catch((error) => error),
  )
  if (answer === FOR_EVER) return caught('it takes for ever')
  if (answer instanceof Refusal) {
    if (kinds(pid) !== before) return caught(`it throws, and something has changed: ${answer.message}`)
    if (setting.unjust) return caught(answer.message)
    return { outcome: 'refused', why: answer.message, fields: answer.fields }
  }
  if (answer instanceof Error) {
    const { stderr } = await subject.ended
    return setting.avoidable ? caught(stderr) : { outcome: 'ended', why: stderr }
  }
  const shows = async () => setting.shows({ ...scene, report: answer as HardenReport })
  const why = await unlessForEver(
    pid,
    shows().catch((error: Error) => error.message),
  )
  if (why === FOR_EVER) return caught('what it goes on with takes for ever')
  return why ? caught(why) : { outcome: 'done', why: '' }
}

async function cellOf(t: Test, setting: Setting, way: Way): Promise<Cell> {
  const subject = (await setting.begin?.(t)) ?? (await start(t))
  await subject.ask('load', fieldModule())
  const pid = setting.pid?.(subject) ?? subject.pid
  const audit = () => way.audit?.(subject) ?? Promise.reject(new Error('it has no audit'))
  const scene: Scene = { t, subject, pid, report: undefined, prepared: undefined, audit }
  const prepared = await setting.before?.(scene)
  let cell: Cell = { outcome: 'refused', why: '' }
  for (const options of optionsOf(setting)) {
    cell = await give({ ...scene, prepared }, setting, way, options)
    if (cell.outcome !== 'refused') break
  }
  // its parent's death does not reach it any more (PR_SET_PDEATHSIG(2const))
  if (pid !== subject.pid && existsSync(`/proc/${pid}/root`)) process.kill(pid, 'SIGKILL')
  subject.kill()
  await subject.ended
  return cell
}

/** Of the copies many are made, and of the cells many are looked at, while a process waits. */
async function inLanes<T>(queue: T[], each: (item: T) => Promise<void>): Promise<void> {
  const lane = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await each(next)
  }
  await Promise.all([lane(), lane(), lane()])
}

live('the copies with a bug in them', ['root', 'cc', 'c++', 'libcap'], async (t) => {
  await inLanes([...ways.values()], async ({ make }) => {
    await make?.()
  })
  t.pass('each bug has found its place')
})

const matrix = new Map<Row, Map<WayName, Cell>>()

for (const row of rows)
  live(row.name, ['root', 'cc', 'c++', 'libcap', ...row.needs], async (t) => {
    const setting = row.prepare(t)
    const cells = new Map<WayName, Cell>()
    await inLanes([...ways], async ([name, way]) => {
      if (applies(way, setting)) cells.set(name, await cellOf(t, setting, way))
    })
    matrix.set(row, cells)

    const own = cells.get('harden')
    t.equal(own?.outcome, setting.wants, `harden(): ${own?.why}`)
    if (setting.refusal) t.match(own?.fields, setting.refusal)
    for (const name of row.caught)
      t.equal(cells.get(name)?.outcome, 'caught', `${ways.get(name)?.name}: ${cells.get(name)?.why}`)
    // where a fault is injected, it is the proof that keeps the bug from showing
    if (setting.wants !== 'ended')
      t.not(cells.get('unproved')?.outcome, 'caught', `only the proof is missing: ${cells.get('unproved')?.why}`)
  })

/** The headings of SECURITY.md, in their order. */
const security = readFileSync(join(__dirname, '../../SECURITY.md'), 'utf8')
const promises = [...security.matchAll(/^\d\. \*\*(.+)\.\*\*/gm)].map(([, promise = '']) => promise)

const signs = { done: '-', refused: 'r', ended: 'e', caught: 'X' }

function print(t: Test): void {
  const names = [...ways.keys()]
  const line = (name: string, signs: string[]) =>
    t.comment(`${name.padEnd(74)}${signs.map((sign) => ` ${sign}`).join('')}`)
  const numbers = names.map((_, index) => String(index + 1).padStart(2))
  for (const digit of [0, 1])
    line(
      '',
      numbers.map((number) => number.charAt(digit)),
    )
  for (const promise of promises) {
    t.comment(promise)
    for (const [row, cells] of matrix)
      if (row.promise === promise)
        line(
          `  ${row.name}`,
          names.map((way) => signs[cells.get(way)?.outcome as Cell['outcome']] ?? '.'),
        )
  }
  t.comment(
    'X: the bug shows; r: it refuses, and nothing has changed; e: the process ends itself; -: none of these; .: not asked',
  )
  for (const [index, { name }] of [...ways.values()].entries()) t.comment(`${numbers[index]} ${name}`)
}

void t.test('the matrix', async (t) => {
  print(t)
  t.equal(promises.length, 8)
  for (const promise of promises)
    t.ok(
      rows.some((row) => row.promise === promise),
      promise,
    )
  for (const { caught, name, promise } of rows) {
    t.ok(caught.length > 0, `${name} can fail`)
    t.ok(promises.includes(promise), `${name}: ${promise}`)
  }
  const caught = (way: WayName) => [...matrix.values()].some((cells) => cells.get(way)?.outcome === 'caught')
  if (matrix.size === rows.length) for (const [name, way] of ways) t.equal(caught(name), name !== 'harden', way.name)
})
