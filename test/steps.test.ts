/**
 * Promise: there is one list of steps, EACH_STEP in src-native/plan.h. The names in TypeScript, the order of each system's
 * plan, the calls that errors name and the table of docs/order.md agree with it.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { QuestionKind } from '../lib/native'
import { callOf as callOfLinux } from '../lib/platform/linux/refusal'
import { callOf as callOfSunos } from '../lib/platform/sunos/refusal'

const read = (path: string) => readFileSync(join(__dirname, '..', path), 'utf8')

interface Line {
  name: string
  linux: string | undefined
  sunos: string | undefined
}

const lines: Line[] = [...read('src-native/plan.h').matchAll(/^\tSTEP\(\w+, "(.*?)", (\S+), (\S+?)\)/gm)]
  .map(([, name = '', linux, sunos]) => ({ name, linux: callIn(linux), sunos: callIn(sunos) }))
  .filter(({ name }) => name !== '')

/** NULL: the system has no such step. */
function callIn(word: string | undefined): string | undefined {
  return word === 'NULL' ? undefined : word?.replaceAll('"', '')
}

/** The strings of a part of a source. */
function strings(path: string, part: RegExp): string[] {
  const [, text = ''] = part.exec(read(path)) ?? []
  return [...text.matchAll(/'(\w[^'\n]*)'/g)].map(([, word = '']) => word)
}

const unique = (names: readonly string[]) => [...new Set(names)]

t.test('it is read whole', async (t) => {
  const [, list = ''] = /#define EACH_STEP\(STEP\) \\\n(.*?)\n\n/s.exec(read('src-native/plan.h')) ?? []
  t.equal(lines.length, list.split('\n').length - 1, 'each line but NONE')
})

t.test('the names', async (t) => {
  const names = strings('lib/native.ts', /export type Step =(.*?)\n\n/s)
  const kinds = strings('lib/native.ts', /export type QuestionKind = (.*?)\n/s)
  t.strictSame([...names, ...kinds].sort(), unique(lines.map(({ name }) => name)).sort())
})

for (const system of ['linux', 'sunos'] as const)
  t.test(`the order of a plan: ${system}`, async (t) => {
    const due = [...read(`lib/platform/${system}/plan.ts`).matchAll(/^ {4}\['([^']+)', .*\],$/gm)].map(
      ([, name = '']) => name,
    )
    t.ok(due.length > 8)
    const ofSystem = unique(lines.filter((line) => line[system]).map(({ name }) => name))
    const ordered = ofSystem.filter((name) => due.includes(name))
    // on Solaris the groups change before the chroot
    const first = system === 'sunos' ? ['setgroups', 'setgid'] : []
    t.strictSame(due, [...first, ...ordered.filter((name) => !first.includes(name))])
  })

t.test('the calls that errors name', async (t) => {
  for (const { name, linux, sunos } of lines.filter(({ name }) => isQuestion(name))) {
    t.equal(callOfLinux(name as QuestionKind), linux, name)
    if (sunos) t.equal(callOfSunos(name as QuestionKind), sunos, name)
  }
})

const isQuestion = (name: string) => /^(read|write|enter|bind|reopen|exchange)$/.test(name)

t.test('docs/order.md', async (t) => {
  const [, shown = ''] = /T->>K: not dumpable, (.*)/.exec(read('docs/order.md')) ?? []
  const begin = lines.findIndex(({ name }) => name === 'bounding')
  const end = lines.findIndex(({ name }) => name === 'no_new_privs')
  const inEachThread = lines.slice(begin, end + 1).filter(({ linux }) => linux)
  t.strictSame(
    shown.split(', '),
    inEachThread.map(({ name }) => name),
  )
})
