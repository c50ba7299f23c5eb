/** Promise: each thread is as its /proc shows it; one that ends meanwhile is none, and what cannot be read is no success. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseStatus } from '../lib/audit'
import { placeOf } from '../lib/chroot'
import { idsOf, isProcOurs, readThreads } from '../lib/threads'

const PROC = 0x9fa0

/** The text of a thread of this name, in a process that has these numbers. */
function textOf(name: string, pids = String(process.pid)): string {
  return `Name:\t${name}
NStgid:\t${pids}
NSpid:\t4711
Uid:\t990\t991\t992\t993
Gid:\t890\t891\t892\t893
Groups:\t8 12${' '}
CapInh:\t0000000000000001
CapPrm:\t0000000000000002
CapEff:\t0000000000000004
CapBnd:\t0000000000000008
CapAmb:\t0000000000000010
NoNewPrivs:\t1
Seccomp:\t0
`
}
const stateOf = (tid: number, name: string, jailed: boolean) => ({
  tid,
  name,
  user: { real: 990, effective: 991, saved: 992, fs: 993 },
  group: { real: 890, effective: 891, saved: 892, fs: 893 },
  groups: [8, 12],
  inheritable: 1n,
  permitted: 2n,
  effective: 4n,
  bounding: 8n,
  ambient: 16n,
  noNewPrivileges: true,
  jailed,
})

/** What a path of /proc gives: a text, the target of a link, a place; a code is an error. */
type Answers = Record<string, string | { code: string } | { dev: bigint; ino: bigint } | { type: number } | string[]>

/** lib/threads.ts where /proc has this, and nothing else is asked for. */
function on(t: Test, answers: Answers) {
  const asked: string[] = []
  const ask = (path: string) => {
    asked.push(path)
    const answer = answers[path]
    if (answer === undefined) throw new Error(`${path} was not expected`)
    if (typeof answer === 'object' && 'code' in answer) throw Object.assign(new Error(answer.code), answer)
    return answer
  }
  const threads = t.mockRequire<typeof import('../lib/threads')>('../lib/threads', {
    'node:fs': {
      readdirSync: ask,
      readFileSync: ask,
      readlinkSync: ask,
      statfsSync: ask,
      statSync: (path: string, options: unknown) => {
        t.strictSame(options, { bigint: true })
        return ask(path)
      },
    },
  })
  return { ...threads, asked }
}

t.test('whose /proc it is', async (t) => {
  const own = { '/proc/self/status': textOf('node'), '/proc': { type: PROC } }
  const table: [title: string, answers: Answers, ours: boolean][] = [
    ['ours', own, true],
    ['ours, before Linux 4.1', { ...own, '/proc/self/status': textOf('node').replace(/^NStgid.*\n/m, '') }, true],
    [
      'of a pid namespace above',
      { ...own, '/proc/self/status': textOf('node', `${process.pid + 1}\t${process.pid}`) },
      false,
    ],
    ['of another one', { ...own, '/proc/self/status': textOf('node', `${process.pid + 1}`) }, false],
    ['files in an ordinary directory', { ...own, '/proc': { type: 0xef53 } }, false],
    ['none', { ...own, '/proc/self/status': { code: 'ENOENT' } }, false],
    ['none to be asked', { ...own, '/proc': { code: 'EACCES' } }, false],
  ]
  for (const [title, answers, ours] of table) t.equal(on(t, answers).isProcOurs(), ours, title)
})

t.test('the numbers of a process', async (t) => {
  t.equal(idsOf('Name:\tnode\nNStgid:\t4711\nNSpid:\t4712\n'), '4711', 'of the process, not of the thread')
  t.equal(idsOf('Name:\tnode\nNStgid:\t4711\t7\n'), '4711\t7')
  t.equal(idsOf('Name:\tnode\nNStgid:\t\n'), '')
  t.equal(idsOf('NSpid:\t4711\n'), String(process.pid), 'before Linux 4.1 there is no telling')
  t.equal(idsOf('Name:\tNStgid:\t1\n'), String(process.pid), 'the name of a thread is no line')
})

const folder = '/proc/self/task'
const two = { [folder]: ['4711', '4712'], [`${folder}/4711/status`]: textOf('node') }
const other = { [`${folder}/4712/status`]: textOf('libuv-worker') }

t.test('no chroot: nobody is asked for a root', async (t) => {
  const { readThreads, asked } = on(t, { ...two, ...other })
  t.strictSame(readThreads(undefined), [stateOf(4711, 'node', false), stateOf(4712, 'libuv-worker', false)])
  t.strictSame(asked, [folder, `${folder}/4711/status`, `${folder}/4712/status`])
})

t.test('first the main thread, then the others by number', async (t) => {
  const listed = ['1005', String(process.pid), '976', '99']
  const texts = listed.map((tid) => [`${folder}/${tid}/status`, textOf('node')])
  const { readThreads } = on(t, { [folder]: listed, ...Object.fromEntries(texts) })
  t.strictSame(
    readThreads(undefined).map(({ tid }) => tid),
    [process.pid, 99, 976, 1005],
  )
})

t.test('a chroot: each one is in it with root and working directory', async (t) => {
  const inside = { root: { dev: 8n, ino: 2n }, cwd: '/' }
  const table: [title: string, other: Partial<{ root: { dev: bigint; ino: bigint }; cwd: string }>, jailed: boolean][] =
    [
      ['inside', {}, true],
      ['deeper', { cwd: '/var/spool' }, true],
      ['another root', { root: { dev: 8n, ino: 3n } }, false],
      ['another device', { root: { dev: 9n, ino: 2n } }, false],
      ['numbers that only run together alike', { root: { dev: 82n, ino: 2n } }, false],
      ['a working directory outside', { cwd: '(unreachable)/home' }, false],
    ]
  for (const [title, changed, jailed] of table) {
    const { root, cwd } = { ...inside, ...changed }
    const { readThreads } = on(t, {
      ...two,
      ...other,
      [`${folder}/4711/root`]: inside.root,
      [`${folder}/4711/cwd`]: inside.cwd,
      [`${folder}/4712/root`]: root,
      [`${folder}/4712/cwd`]: cwd,
    })
    t.strictSame(
      readThreads('8:2'),
      [stateOf(4711, 'node', true), stateOf(4712, 'libuv-worker', jailed)],
      `${title}: each by its own`,
    )
  }
})

t.test('a thread that ends meanwhile is none', async (t) => {
  const place = { dev: 8n, ino: 2n }
  const first = { ...two, [`${folder}/4711/root`]: place, [`${folder}/4711/cwd`]: '/' }
  const links = { [`${folder}/4712/root`]: place, [`${folder}/4712/cwd`]: '/' }
  for (const code of ['ENOENT', 'ESRCH'])
    for (const file of ['status', 'root', 'cwd']) {
      const { readThreads } = on(t, { ...first, ...other, ...links, [`${folder}/4712/${file}`]: { code } })
      t.strictSame(readThreads('8:2'), [stateOf(4711, 'node', true)], `${file}: ${code}`)
    }
})

t.test('what cannot be read, or not understood, is thrown', async (t) => {
  const place = { dev: 8n, ino: 2n }
  const first = { ...two, [`${folder}/4711/root`]: place, [`${folder}/4711/cwd`]: '/' }
  const links = { [`${folder}/4712/root`]: place, [`${folder}/4712/cwd`]: '/' }
  for (const code of ['EACCES', 'EPERM', 'EMFILE', 'EIO'])
    for (const file of ['4712/status', '4712/root', '4712/cwd']) {
      const { readThreads } = on(t, { ...first, ...other, ...links, [`${folder}/${file}`]: { code } })
      t.throws(() => readThreads('8:2'), { code }, `${file}: ${code}`)
    }
  for (const code of ['ENOENT', 'EACCES', 'EMFILE'])
    t.throws(() => on(t, { [folder]: { code } }).readThreads(undefined), { code }, 'not even who there is')
  const odd = textOf('odd one').replace(/^CapBnd.*\n/m, '')
  const { readThreads } = on(t, { ...two, [`${folder}/4712/status`]: odd })
  t.throws(() => readThreads(undefined), { name: 'Error', message: 'the status of thread 4712 has no line CapBnd' })
})

t.test('this process, as its own kernel has it', async (t) => {
  const status = readFileSync(`/proc/self/task/${process.pid}/status`, 'latin1')
  t.equal(isProcOurs(), idsOf(status) === String(process.pid))
  const known = new Set(readdirSync('/proc/self/task'))
  const threads = readThreads(undefined)
  t.ok(threads.every(({ tid }) => known.has(String(tid))))
  t.strictSame(
    threads.find(({ tid }) => tid === process.pid),
    parseStatus({ tid: process.pid, status, jailed: false }),
  )

  // the root of this process is a root that it might have been asked to have; its working directory is inside
  const root = placeOf(statSync('/', { bigint: true }))
  t.ok(readThreads(root).every(({ jailed }) => jailed))
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-threads-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  t.notOk(readThreads(placeOf(statSync(folder, { bigint: true }))).some(({ jailed }) => jailed))
})
