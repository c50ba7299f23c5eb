/** Promise: the order of the steps is the one that the system's rules ask for; each other one is seen. And clean memory. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { live } from '../live/live'
import { type Outcome, Zone } from './zone'

const native = join(__dirname, '../../src-native')
const sourcesIn = (folder: string) =>
  readdirSync(join(native, folder)).flatMap((name) => (name.endsWith('.c') ? [join(folder, name)] : []))
/** Shared by both systems, and of this one; without the glue. */
const sources = [...sourcesIn('.'), ...sourcesIn('sunos')].filter((file) => file !== 'sunos/addon.c')
const read = (file: string) => readFileSync(join(native, file), 'utf8')

/** Another text of a source. */
interface Mutant {
  file: string
  text: string
}

let made: Zone | undefined
function zone(): Zone {
  made ??= new Zone(t)
  return made
}

const gcc = (cwd: string, ...args: string[]) =>
  execFileSync(
    'gcc',
    [...'-std=gnu11 -D_GNU_SOURCE= -O1 -g -Wall -Wextra -Wshadow -Wstrict-prototypes'.split(' '), ...args],
    {
      cwd,
    },
  )
const headers = ['-I', join(__dirname, 'include'), '-I', join(native, 'sunos'), '-I', native]
const objectOf = (file: string) => `${file.replace('/', '-')}.o`

/** Compiled one by one, into this folder. */
function compile(folder: string, flags: string[]): void {
  for (const file of sources)
    gcc(folder, '-Werror', ...flags, ...headers, '-c', join(native, file), '-o', objectOf(file))
  gcc(folder, '-Werror', ...flags, ...headers, '-c', join(__dirname, 'host.c'), '-o', 'host.o')
}

let plain: string | undefined
/** Once, for all mutants. */
function objects(): string {
  if (plain !== undefined) return plain
  plain = mkdtempSync(join(zone().folder, 'objects-'))
  compile(plain, [])
  return plain
}

/** The program host.c with the objects of that folder: what it says. */
function run(folder: string, files: string[], flags: string[] = []): Outcome {
  gcc(folder, ...flags, ...files, zone().model, '-Wl,-rpath,$ORIGIN/..', '-o', 'host')
  return zone().run(join(folder, 'host'), [], {}, { SUNOS_MODEL_HOST: '1' }, '')
}

function runMutant({ file, text }: Mutant): Outcome {
  const folder = mkdtempSync(join(zone().folder, 'mutant-'))
  chmodSync(folder, 0o755)
  writeFileSync(join(folder, 'mutant.c'), text.replaceAll('"../', `"${native}/`))
  gcc(folder, '-w', ...headers, '-c', 'mutant.c', '-o', objectOf(file))
  const others = [...sources.filter((other) => other !== file).map(objectOf), 'host.o']
  return run(folder, [objectOf(file), ...others.map((name) => join(objects(), name))])
}

live('with sanitizers', ['cc'], async (t) => {
  const folder = mkdtempSync(join(zone().folder, 'host-'))
  chmodSync(folder, 0o777) // gcov writes there, too
  const flags = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '--coverage']
  compile(folder, flags)
  for (const name of readdirSync(folder)) if (/gcno$/.test(name)) chmodSync(join(folder, name), 0o644)
  const files = [...sources.map(objectOf), 'host.o']
  const { stdout, stderr, status } = run(folder, files, [...flags, '-Wl,-u,__gcov_dump'])
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
  for (const file of ['commit.c', 'descriptors.c', 'exchange.c', 'observe.c', 'privileges.c', 'rehearse.c', 'steps.c'])
    t.ok((covered.get(`sunos/${file}`) ?? 0) > 85, file)
  t.equal(covered.get('sunos/steps.c'), 100)
})

/** The same with another text in one place. */
function change(file: string, from: string | RegExp, to: string): Mutant {
  return { file, text: read(file).replace(from, to) }
}

/** The text of one step of the list, with its condition. */
function step(name: string): string {
  const [text] =
    new RegExp(`\\tif \\(due\\(plan, now, STEP_${name}\\).*\\n\\t\\treturn .*\\n`).exec(read('sunos/steps.c')) ?? []
  if (!text) throw new Error(`steps.c has no step ${name}`)
  return text
}
const without = (name: string) => change('sunos/steps.c', step(name), '')
const after = (name: string, other: string): Mutant => {
  const { file, text } = without(name)
  return { file, text: text.replace(step(other), step(other) + step(name)) }
}
const commit = (from: string, to: string) => change('sunos/commit.c', from, to)
const rehearse = (from: string, to: string) => change('sunos/rehearse.c', from, to)

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
  ['an extended policy left', without('XPOLICY'), /^not ok 9 /m],
  ['rights profiles left', without('PFEXEC'), /^not ok 9 /m],
  ['not protected', change('sunos/steps.c', 'if (setpflags(__PROC_PROTECT, 1))', 'if (0)'), /^not ok 4 /m],
  ['SIGUSR1 left as it is', change('sunos/steps.c', '!plan->keep_sigusr1 &&', '0 &&'), /^not ok 1 /m],
  ['SIGCHLD is sent', rehearse('FORK_NOSIGCHLD | FORK_WAITPID', '0'), /^not ok 11 /m],
  ['root may come back', rehearse('if (!regains_root(plan, held))', 'if (1)'), /^not ok 4 /m],
  ['a rehearsal with other bits of a set', rehearse('if (!has_sets(plan))', 'if (0)'), /^not ok 10 /m],
  [
    'chroot after the sets',
    commit(
      'change_root(plan, &why) || apply_identity(plan, &why)',
      'apply_identity(plan, &why) || change_root(plan, &why)',
    ),
    /^not ok 3 /m,
  ],
  [
    'not compared with what it was',
    commit('if (compare_process(space->state, space->size, space->text, plan->before))', 'if (0)'),
    /^not ok 8 /m,
  ],
  [
    'a rehearsal of what the plan was not made for',
    rehearse('if (compare_with_plan(plan, stage))', 'if (0)'),
    /^not ok 4 /m,
  ],
  [
    'not compared with the child',
    commit('if (compare_process(space->state, space->size, space->text, plan->expected))', 'if (0)'),
    /^not ok 14 /m,
  ],
  ['bits without a name not compared', commit('if (!has_sets(plan))', 'if (0)'), /^not ok 14 /m],
  ['directories not looked at again', commit('refuse_directories(plan, why) : 0', '0 : 0'), /^not ok 3 /m],
  [
    'directories not entered',
    change('sunos/descriptors.c', 'if (!is_inside(&directories[i]))', 'if (0)'),
    /^not ok 3 /m,
  ],
  ['a stale directory is refused', change('sunos/descriptors.c', ' || errno == ESTALE', ''), /^not ok 12 /m],
  ['no bound without /proc', change('sunos/descriptors.c', 'limit.rlim_max > MOST_TRIED', '0'), /^not ok 12 /m],
  [
    'asked with all privileges',
    change('sunos/exchange.c', 'setppriv(PRIV_SET, PRIV_EFFECTIVE, inquiry->basic)', '0'),
    /^not ok 15 /m,
  ],
  ['no line without a fork', change('end.c', 'write_at_once();\n\t}', '}'), /^not ok 14 /m],
] as const)
  live(`a mutant is seen: ${name}`, ['cc'], async (t) => {
    t.not(mutant.text, read(mutant.file), 'it is another')
    const { status, stdout } = runMutant(mutant)
    t.equal(status, 1)
    t.match(stdout, red)
  })
