/** Promise: NODE_DEBUG=privdrop shows what was decided and why, and prints nothing that controls a terminal. */
import * as util from 'node:util'
import t, { type Test } from 'tap'
import type { Platform, Question } from '../lib/contract'
import type { Answer, Failure } from '../lib/native'
import { plan } from './states'

/** A module of the package with the lines that it writes. */
function withLog<Module>(t: Test, path: string): Module & { lines: string[] } {
  const lines: string[] = []
  const log = (...args: unknown[]) => lines.push(util.format(...args))
  const debuglog = (section: string) => {
    t.equal(section, 'privdrop')
    return Object.assign(log, { enabled: true })
  }
  return { ...t.mockRequire<Module & object>(path, { 'node:util': { ...util, debuglog } }), lines }
}

type Debug = typeof import('../lib/debug')
const yes: Answer = { errno: 0, by: 'none', found: undefined }
const read: Question = { kind: 'read', path: '/etc/x', number: 0, option: 'rehearse.read[0]', role: '' }

t.test('steps, and why one is left out', async (t) => {
  const { dueSteps, lines } = withLog<Debug>(t, '../lib/debug')
  t.strictSame(
    dueSteps([
      ['chroot', false, 'it is not asked for'],
      ['capset', true, ''],
      ['ambient', false, 'it is empty'],
      ['no_new_privs', true, ''],
    ]),
    ['capset', 'no_new_privs'],
  )
  t.strictSame(lines, [
    "step 'chroot' is left out: it is not asked for",
    "step 'ambient' is left out: it is empty",
    'steps: capset, no_new_privs',
  ])
  t.strictSame(dueSteps([]), [])
  t.equal(lines.at(-1), 'steps: none')
})

t.test('questions, and their answers', async (t) => {
  const { debugAnswer, lines } = withLog<Debug>(t, '../lib/debug')
  const exchange: Question = { ...read, kind: 'exchange', path: '/srv', option: undefined, role: '' }
  const table: [Question, Partial<Answer>, line: string][] = [
    [read, {}, "question 'read' '/etc/x' (rehearse.read[0]): yes"],
    [read, { errno: 13 }, "question 'read' '/etc/x' (rehearse.read[0]): EACCES"],
    [
      { ...read, kind: 'bind', path: '', number: 25, option: 'rehearse.bind[0]' },
      {},
      "question 'bind' 25 (rehearse.bind[0]): yes",
    ],
    [exchange, {}, "question 'exchange' '/srv': no process can"],
    [exchange, { by: 'user', found: '/srv/a' }, "question 'exchange' '/srv': user can, at '/srv/a'"],
    [exchange, { by: 'others' }, "question 'exchange' '/srv': others can, at '/srv'"],
    [exchange, { errno: 2 }, "question 'exchange' '/srv': ENOENT"],
    [
      { ...read, kind: 'reopen', path: '', number: 3, option: undefined, role: '/x\x1b[2J\n' },
      {},
      "question 'reopen' 3 (/x\\u{1b}[2J\\u{a}): yes",
    ],
    [{ ...read, path: '/\x1b\u202e' }, {}, "question 'read' '/\\x1B\\u{202e}' (rehearse.read[0]): yes"],
  ]
  for (const [question, answer, line] of table) {
    debugAnswer(question, { ...yes, ...answer })
    t.equal(lines.pop(), line)
  }
})

t.test('what is tried again, and what for', async (t) => {
  const { rehearsals, lines } = withEngine(t)
  const failure: Failure = { step: 'compare', syscall: 'kcmp', errno: 0, signal: 31, tid: 0, item: 0 }
  const open: Failure = { ...failure, step: 'descriptors', syscall: 'open', signal: 0 }
  t.strictSame(rehearsals([failure, open]), 3)
  t.strictSame(lines.slice(0, 3), [
    "rehearsal: once more, after step 'compare' (kcmp): signal 31",
    "rehearsal: once more, after step 'descriptors' (open): no answer",
    "question 'read' '/etc/x' (rehearse.read[0]): yes",
  ])
})

/** examine() of a system whose rehearsal fails so first. */
function withEngine(t: Test) {
  const { examine, lines } = withLog<typeof import('../lib/engine')>(t, '../lib/engine')
  const rehearsals = (failures: Failure[]): number => {
    let tries = 0
    const rehearse: Platform['rehearse'] = (_plan, questions) =>
      failures[tries++] ?? {
        ...{ state: plan.wanted, text: '', answers: questions.map(() => yes), dumpable: 0 },
        inside: new ArrayBuffer(0),
      }
    const platform = { addon: () => ({ descriptors: () => [] }), hazards: [], libraries: () => [], rehearse }
    examine(platform as never, { ...plan, questions: [read] }, [], (part) => part())
    return tries
  }
  return { rehearsals, lines }
}
