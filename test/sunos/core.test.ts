/** Promise: the order of the steps is the one that the system's rules ask for; each other one is seen. And clean memory. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { live } from '../live/live'
import { type Outcome, Zone } from './zone'

const native = join(__dirname, '../../src-native')
const sources = readdirSync(join(native, 'sunos')).filter((name) => name.endsWith('.c') && name !== 'addon.c')
const steps = readFileSync(join(native, 'sunos/steps.c'), 'utf8')

let made: Zone | undefined

/** The core, with another steps.c where one is given, in the program host.c: what that program says. */
function run(mutant: string | undefined, ...flags: string[]): Outcome & { folder: string } {
  made ??= new Zone(t)
  const folder = mkdtempSync(join(made.folder, 'host-'))
  chmodSync(folder, 0o777) // gcov writes there, too
  const files = sources.map((name) => join(native, 'sunos', name))
  if (mutant !== undefined) {
    mkdirSync(join(folder, 'src-native/sunos'), { recursive: true })
    const copy = join(folder, 'src-native/sunos/steps.c')
    writeFileSync(copy, mutant)
    files[sources.indexOf('steps.c')] = copy
  }
  const warnings = '-std=gnu11 -D_GNU_SOURCE= -O1 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror'.split(' ')
  const headers = ['-I', join(__dirname, 'include'), '-I', join(native, 'sunos')]
  const host = [join(native, 'accounts.c'), join(__dirname, 'host.c')]
  execFileSync(
    'gcc',
    [...warnings, ...flags, ...headers, ...files, ...host, made.model, '-Wl,-rpath,$ORIGIN/..', '-o', 'host'],
    { cwd: folder },
  )
  for (const note of readdirSync(folder)) if (/gcno$/.test(note)) chmodSync(join(folder, note), 0o644)
  return { ...made.run(join(folder, 'host'), [], {}, { SUNOS_MODEL_HOST: '1' }, ''), folder }
}

live('with sanitizers', ['cc'], async (t) => {
  const { stdout, stderr, status, folder } = run(
    undefined,
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=all',
    '--coverage',
    '-Wl,-u,__gcov_dump',
  )
  t.equal(status, 0, stderr)
  const cases = stdout.split('\n').filter(Boolean)
  t.equal(cases.pop(), `1..${cases.length}`)
  t.ok(cases.length > 5)
  for (const [index, line] of cases.entries()) t.match(line, new RegExp(`^ok ${index + 1} - `))
  t.notMatch(stderr, /./)

  const notes = readdirSync(folder).filter((name) => name.endsWith('.gcda'))
  const report = execFileSync('gcov', ['--no-output', ...notes], { cwd: folder, encoding: 'utf8' })
  const covered = new Map(
    [...report.matchAll(/File '.*src-native\/(.*\.c)'\nLines executed:([\d.]+)%/g)].map(([, file = '', percent]) => [
      file,
      Number(percent),
    ]),
  )
  for (const [file, percent] of covered) t.comment(`${file}: ${percent} % of the lines`)
  for (const file of ['steps.c', 'attempts.c', 'observe.c', 'privileges.c', 'rehearse.c', 'descriptors.c'])
    t.ok((covered.get(`sunos/${file}`) ?? 0) > 85, file)
  t.equal(covered.get('sunos/steps.c'), 100)
})

/** The text of one step of the list, with its condition. */
function step(name: string): string {
  const [text] = new RegExp(`\\tif \\(due\\(plan, now, STEP_${name}\\).*\\n\\t\\treturn .*\\n`).exec(steps) ?? []
  if (!text) throw new Error(`steps.c has no step ${name}`)
  return text
}
const without = (name: string) => steps.replace(step(name), '')
const after = (name: string, other: string) => without(name).replace(step(other), step(other) + step(name))

for (const [name, mutant, red] of [
  ['setuid after setppriv', after('SETUID', 'EFFECTIVE'), /^not ok 1 /m],
  ['setuid in a process that is not aware', without('SETPFLAGS'), /^not ok 1 /m],
  ['aware only after setuid', after('SETPFLAGS', 'SETUID'), /^not ok 1 /m],
  ['Permitted after Effective', after('PERMITTED', 'EFFECTIVE'), /^not ok 4 /m],
  ['Limit left out', without('LIMIT'), /^not ok 1 /m],
  ['Permitted left out', without('PERMITTED'), /^not ok 1 /m],
  ['Effective left out', without('EFFECTIVE'), /^not ok 1 /m],
  ['groups left out', without('SETGROUPS'), /^not ok 1 /m],
  ['groups after the sets', after('SETGROUPS', 'EFFECTIVE'), /^not ok 1 /m],
  ['chroot after the sets', after('CHROOT', 'EFFECTIVE'), /^not ok 3 /m],
  ['an extended policy left', without('XPOLICY'), /^not ok 9 /m],
  ['rights profiles left', without('PFEXEC'), /^not ok 9 /m],
  ['not protected', steps.replace('if (protect_process())', 'if (0)'), /^not ok 1 /m],
  ['SIGUSR1 left as it is', steps.replace('!plan->keep_sigusr1 &&', '0 &&'), /^not ok 1 /m],
] as const)
  live(`a mutant is seen: ${name}`, ['cc'], async (t) => {
    t.not(mutant, steps, 'it is another')
    const { status, stdout } = run(mutant)
    t.equal(status, 1)
    t.match(stdout, red)
  })
