/** Promise: audit() trusts a /proc only if it shows this very process, and leaves out none of its threads. */
import fs, { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { Threads } from '../lib/contract'
import * as addon from '../lib/native'
import { readThreads as realRead } from '../lib/platform/linux/threads'
import { refusal } from './refused'
import { mail, observed, stateOf, statusOf } from './states'

const PROC = 0x9fa0
const task = '/proc/self/task'

/** What a path of /proc gives; a code is an error. */
type Answers = Record<string, string | { code: string } | { dev: bigint; ino: bigint } | { type: number } | string[]>

/** A process of one thread. */
const own: Answers = {
  '/proc/self/status': statusOf(mail),
  '/proc': { type: PROC },
  [task]: [`${process.pid}`],
  [`${task}/${process.pid}/status`]: statusOf(mail),
}
const withStatus = (change: (status: string) => string) => ({ ...own, '/proc/self/status': change(statusOf(mail)) })
const withPids = (pids: string) => withStatus((status) => status.replace(/^NStgid:.*$/m, `NStgid:\t${pids}`))

function reader(t: Test, answers: Answers): (root?: string) => Threads {
  const ask = (path: string) => {
    const answer = answers[path]
    if (answer === undefined) throw new Error(`${path} was not expected`)
    if (typeof answer === 'object' && 'code' in answer) throw Object.assign(new Error(answer.code), answer)
    return answer
  }
  const text = { openSync: (path: string) => path, readFileSync: ask, closeSync: () => {} }
  const calls = { ...text, readdirSync: ask, readlinkSync: ask, statfsSync: ask, statSync: ask }
  const { readThreads } = t.mockRequire<typeof import('../lib/platform/linux/threads')>(
    '../lib/platform/linux/threads',
    {
      '../lib/native': addon, // it would look for its file there
      'node:fs': { ...fs, ...calls },
    },
  )
  return (root) => readThreads(root)
}

const threads = [{ tid: process.pid, name: 'node' }]
const state = stateOf({ ...mail, securebits: undefined })

t.test('ours', async (t) => {
  const found = { source: 'proc', kinds: [{ state, threads, extra: '' }], sigusr1: 'ignored' }
  t.strictSame(reader(t, own)(), found)
  const old = withStatus((status) => status.replace(/^NStgid.*\n/m, ''))
  t.strictSame(reader(t, old)(), found, 'before Linux 4.1 there is no telling')
})

t.test('whose /proc it is', async (t) => {
  const table: [title: string, answers: Answers, reason: string][] = [
    ...[
      `${process.pid + 1}\t${process.pid}`,
      `${process.pid + 1}`,
      `${process.pid}\t7`,
      `${process.pid}0`,
      '1',
      '',
    ].map((pids): [string, Answers, string] => [
      `it shows the process as ${JSON.stringify(pids)}`,
      withPids(pids),
      `it shows this process as ${pids}, not as ${process.pid}`,
    ]),
    ['files in an ordinary directory', { ...own, '/proc': { type: 0xef53 } }, 'it is not procfs'],
    ['none', { ...own, '/proc/self/status': { code: 'ENOENT' } }, 'ENOENT'],
    ['none to be asked', { ...own, '/proc': { code: 'EACCES' } }, 'EACCES'],
    ['no threads to be listed', { ...own, [task]: { code: 'EMFILE' } }, 'EMFILE'],
    ['a thread that cannot be read', { ...own, [`${task}/${process.pid}/status`]: { code: 'EIO' } }, 'EIO'],
    [
      'a text that cannot be read',
      { ...own, [`${task}/${process.pid}/status`]: statusOf(mail).replace(/^Uid.*\n/m, '') },
      'the status of the thread has no line Uid',
    ],
  ]
  for (const [title, answers, reason] of table) {
    const error = refusal(() => reader(t, answers)())
    t.match(error, { code: 'ERR_HARDEN_PROC', step: 'proc', remedy: /^mount procfs.*npx privdrop audit/ }, title)
    t.ok(error.message.startsWith(`the threads of this process cannot be read from /proc: ${reason}. Remedy: `), title)
    t.notOk('syscall' in error || 'errno' in error)
  }
})

t.test('the root in which each thread should be', async (t) => {
  const links = { [`${task}/${process.pid}/root`]: { dev: 8n, ino: 2n }, [`${task}/${process.pid}/cwd`]: '/' }
  const read = reader(t, { ...own, ...links })
  t.equal(read('8:2').kinds[0]?.state.jailed, true)
  t.equal(read('8:3').kinds[0]?.state.jailed, false)
  t.equal(read().kinds[0]?.state.jailed, false)
})

t.test('what SIGUSR1 does', async (t) => {
  const table: [ignored: string, caught: string | undefined, Threads['sigusr1']][] = [
    ['0000000000000200', '0000000000000000', 'ignored'],
    ['0000000000000200', undefined, 'ignored'],
    ['0000000000000000', '0000000000000200', 'caught'],
    ['fffffffffffffdff', '0000000188004202', 'caught'],
    ['0000000000000000', '0000000000000000', 'default'],
    ['fffffffffffffdff', 'fffffffffffffdff', 'default'],
    ['0000000000000000', undefined, 'default'],
  ]
  for (const [ignored, caught, expected] of table) {
    const lines = `SigIgn:\t${ignored}\n${caught === undefined ? '' : `SigCgt:\t${caught}\n`}`
    const { sigusr1 } = reader(
      t,
      withStatus((status) => status.replace(/^SigIgn:.*\n/m, lines)),
    )()
    t.equal(sigusr1, expected, lines)
  }
  const { sigusr1 } = reader(
    t,
    withStatus((status) => status.replace(/^SigIgn:.*\n/m, '')),
  )()
  t.equal(sigusr1, 'default', 'unknown is not ignored')
})

t.test('this process, as its own kernel has it', async (t) => {
  const listener = () => {}
  process.on('SIGUSR1', listener)
  t.teardown(() => process.removeListener('SIGUSR1', listener))
  const { source, kinds, sigusr1 } = realRead(undefined)
  t.strictSame([source, sigusr1], ['proc', 'caught'])
  t.equal(kinds[0]?.threads[0]?.tid, process.pid)
  t.equal(kinds[0]?.threads[0]?.name, readFileSync('/proc/self/comm', 'latin1').trimEnd())
})

t.test('the texts of these tests are texts', async (t) => {
  t.strictSame({ ...reader(t, own)().kinds[0]?.state, securebits: 0 }, observed(mail).state)
})
