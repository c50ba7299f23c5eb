/**
 * What a function of the parking protocol does, in order: its atomic operations, its futexes, the system calls of the
 * protocol, its calls of functions that do such things, and the loops and conditions around these. Read from park.c;
 * and from its model, where they are in comments that begin with an equals sign.

/** Of the whole call the text counts; of others only the name. */
const WHOLE = /^(?:atomic_\w+|futex_\w+|signal_action|munmap|nanosleep|each_number|count_tasks)$/
const NAMED = /^(?:mmap|SYS_rt_tgsigqueueinfo)$/

/** The functions of a source: name, and what is between its braces. Comments and texts are left out. */
function functionsOf(source: string): Map<string, string> {
  const bare = source.replace(/\/\*[\s\S]*?\*\//g, ' ').replace(/"(?:\\.|[^"\\])*"/g, '""')
  return new Map(
    [...bare.matchAll(/^[a-z][^;={}#]*?(\w+)\([^;{}]*\)\n\{\n([\s\S]*?)^\}/gm)].map(([, name, body]) => [
      name as string,
      body as string,
    ]),
  )
}

/** Where what begins at `open`, a bracket, ends. */
function closing(text: string, open: number): number {
  let depth = 0
  for (let at = open; at < text.length; at++) {
    if ('({'.includes(text[at] as string)) depth++
    if (')}'.includes(text[at] as string) && --depth === 0) return at
  }
  throw new Error(`no end of ${text.slice(open, open + 40)}`)
}

/** The end of the statement whose condition begins at `open`. */
function endOf(text: string, open: number): number {
  const next = text.slice(closing(text, open) + 1)
  const begin = closing(text, open) + 1 + (/^\s*/.exec(next)?.[0].length ?? 0)
  if (text[begin] === '{') return closing(text, begin)
  const inner = /^(?:if|while|for) \(/.exec(text.slice(begin))
  if (inner) return endOf(text, begin + inner[0].length - 1)
  return text.indexOf(';', begin)
}

interface Operation {
  at: number
  text: string
}

function operationsIn(body: string, own: Set<string>): string[] {
  const found: Operation[] = []
  for (const { 0: text, 1: name = '', index } of body.matchAll(/\b(\w+)\b\s*(\(?)/g)) {
    const open = index + text.length - 1
    const calls = text.endsWith('(')
    if (calls && WHOLE.test(name)) {
      const end = closing(body, open)
      found.push({ at: end, text: body.slice(index, end + 1).replace(/\s+/g, ' ') })
    } else if (calls && own.has(name)) {
      found.push({ at: closing(body, open), text: `${name}()` })
    } else if (NAMED.test(name)) {
      found.push({ at: index, text: name })
    }
  }
  const blocks = [...body.matchAll(/\b(if|while|for) \(/g)].flatMap(({ 0: text, 1: keyword = '', index }) => {
    const end = endOf(body, index + text.length - 1)
    return found.some(({ at }) => at > index && at <= end) ? [{ at: index, text: keyword }] : []
  })
  return [...found, ...blocks].sort((one, other) => one.at - other.at).map(({ text }) => text)
}

/** The functions of the C source that take part, each with what it does. */
export function operationsOf(source: string): Map<string, string[]> {
  const functions = functionsOf(source)
  const own = new Set<string>()
  for (let size = -1; own.size !== size; ) {
    size = own.size
    for (const [name, body] of functions) if (!/^futex_/.test(name) && operationsIn(body, own).length) own.add(name)
  }
  return new Map([...own].map((name) => [name, operationsIn(functions.get(name) as string, own)]))
}

/** The same, of the model: its inlines that have such comments. */
export function operationsOfModel(model: string): Map<string, string[]> {
  const blocks = model.matchAll(/^inline (\w+)\([^)]*\)\n\{\n([\s\S]*?)^\}/gm)
  const operations = [...blocks].map(([, name, body]): [string, string[]] => [
    name as string,
    [...(body as string).matchAll(/\/\* = ([\s\S]*?) \*\//g)].flatMap(([, steps]) => (steps as string).split('; ')),
  ])
  return new Map(operations.filter(([, steps]) => steps.length))
}
