/**
 * The call graph, from object files that gcc made with one section for each function: whatever a function's code or a
 * table refers to counts as called, which includes calls by pointer.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Functions stay what they are in the source, so that each call shows. */
const APART = [
  ...['-O2', '-w', '-fPIC', '-ffunction-sections', '-fdata-sections', '-fno-jump-tables'],
  ...['-fno-inline', '-fno-ipa-sra', '-fno-ipa-cp', '-fno-ipa-icf', '-fno-partial-inlining'],
]

/** The places that a function or a table names: in its own object ('park.c:table'), or by a global name. */
interface Graph {
  named: Map<string, Set<string>>
  /** In which object a global name is. */
  homes: Map<string, string>
  /** Which functions call by a pointer. */
  byPointer: Set<string>
}

/** 'park' of '.text.park', '.text.unlikely.park' and '.text.park.part.0-0x4'; 'table' of '.bss.table+0x24'. */
function nameOf(place: string): string {
  return place
    .replace(/[+-]0x[0-9a-f]+$/, '')
    .replace(
      /^\.(?:text\.unlikely|text|bss|rodata|data\.rel\.ro\.local|data\.rel\.ro|data\.rel\.local|data\.rel|data)\.(?=\w)/,
      '',
    )
    .replace(/\.(?:part|cold|constprop|isra)(?:\.\d+)?$/, '')
}

const objdump = (flag: string, object: string) =>
  execFileSync('objdump', [flag, '--no-show-raw-insn', object], { encoding: 'utf8', maxBuffer: 2 ** 26 })

/** Each section with its name, which ends before a bracket or a colon. */
function sectionsOf(text: string, head: string): [name: string, text: string][] {
  const parts = text.split(head).slice(1)
  return parts.map((part) => [/^[^\]:]+/.exec(part)?.[0] as string, part])
}

/** Into this folder, 'park.o' of 'park.c'. */
export function compileApart(folder: string, sources: string[], flags: string[]): void {
  execFileSync('gcc', [...APART, ...flags, '-c', ...sources], { cwd: folder })
}

const known = new Map<string, Graph>()

function readObject(object: string): Graph {
  const before = known.get(object)
  if (before) return before
  const home = basename(object).replace(/o$/, 'c')
  const graph: Graph = { named: new Map(), homes: new Map(), byPointer: new Set() }
  for (const line of execFileSync('nm', ['-g', '--defined-only', object], { encoding: 'utf8' }).trim().split('\n'))
    graph.homes.set(line.split(' ')[2] as string, home)
  for (const [section, text] of sectionsOf(objdump('-r', object), 'RELOCATION RECORDS FOR [')) {
    const places = [...text.matchAll(/ R_X86_64_\w+ +(\S+)/g)].map(([, place]) => place as string)
    const named = places.map((place) => (place.startsWith('.') ? `${home}:${nameOf(place)}` : nameOf(place)))
    const from = `${home}:${nameOf(section)}`
    graph.named.set(from, new Set([...(graph.named.get(from) ?? []), ...named]))
  }
  for (const [section, text] of sectionsOf(objdump('-d', object), 'Disassembly of section '))
    if (/\t(?:notrack )?(?:call|jmp) +\*/.test(text)) graph.byPointer.add(`${home}:${nameOf(section)}`)
  known.set(object, graph)
  return graph
}

/** Of all the objects in these folders; of two that have one name the first. */
export function readCalls(...folders: string[]): Graph {
  const objects = new Map<string, Graph>()
  for (const folder of folders)
    for (const name of readdirSync(folder))
      if (name.endsWith('.o') && !objects.has(name)) objects.set(name, readObject(join(folder, name)))
  const all = [...objects.values()]
  return {
    named: new Map(all.flatMap(({ named }) => [...named])),
    homes: new Map(all.flatMap(({ homes }) => [...homes])),
    byPointer: new Set(all.flatMap(({ byPointer }) => [...byPointer])),
  }
}

export interface Reach {
  /** What is reached, with the way there. */
  within: Map<string, string[]>
  /** The same of what none of the objects has. */
  outside: Map<string, string[]>
  byPointer: string[]
}

export function reachOf({ named, homes, byPointer }: Graph, roots: string[]): Reach {
  const within = new Map<string, string[]>()
  const outside = new Map<string, string[]>()
  const rest = roots.map((root): [string, string[]] => [root, [root]])
  for (let next = rest.shift(); next; next = rest.shift()) {
    const [place, way] = next
    if (within.has(place)) continue
    within.set(place, way)
    for (const name of named.get(place) ?? []) {
      const home = homes.get(name)
      if (name.includes(':')) rest.push([name, [...way, name]])
      else if (home) rest.push([`${home}:${name}`, [...way, name]])
      else if (!outside.has(name)) outside.set(name, [...way, name])
    }
  }
  return { within, outside, byPointer: [...byPointer].filter((name) => within.has(name)).sort() }
}
