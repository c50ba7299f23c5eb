/**
 * Promise: no undefined behaviour in the code that runs as root. gcc's analyzer, cppcheck and clang-tidy read all of
 * src-native/ and report nothing; a line that is excused says why. And each of them finds a planted mistake.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { live, type Need, nodeHeaders } from '../live/live'

const root = join(__dirname, '../..')
const own = join(root, 'src-native')
const sourcesIn = (folder: string) =>
  readdirSync(folder).flatMap((name) => (name.endsWith('.c') ? [join(folder, name)] : []))

/** What is compiled alike. */
interface Part {
  sources: string[]
  flags: string[]
}
const linux: Part = { sources: [own, join(own, 'linux')].flatMap(sourcesIn), flags: ['-std=gnu11', `-I${own}/linux`] }
const solaris: Part = {
  sources: sourcesIn(join(own, 'sunos')),
  // that system's headers are not to be had here
  flags: ['-std=gnu11', '-D_GNU_SOURCE=', `-I${root}/test/sunos/include`, `-I${own}/sunos`, `-isystem${nodeHeaders}`],
}
const glue: Part = {
  sources: [join(own, 'addon.cc')],
  flags: ['-std=c++17', `-I${own}`, `-isystem${nodeHeaders}`, `-isystem${root}/node_modules/node-addon-api`].concat([
    '-DNAPI_VERSION=8',
    '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
    '-DNODE_ADDON_API_DISABLE_DEPRECATED',
  ]),
}

/** All that finds mistakes, less what objects to a manner of writing. */
const checks = [
  ...['-*', 'clang-analyzer-*', 'bugprone-*', 'concurrency-*', 'portability-*'],
  // `if ((length = read(...)) < 0)`, `strcmp() && ...`, `#define _GNU_SOURCE`, two numbers in a row
  '-bugprone-assignment-in-if-condition',
  '-bugprone-suspicious-string-compare',
  '-bugprone-reserved-identifier',
  '-bugprone-easily-swappable-parameters',
  // it wants memcpy_s(), which no C library here has
  '-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling',
].join()

interface Tool {
  needs: Need[]
  parts: Record<string, Part>
  arguments: (part: Part) => string[]
}
const tools: Record<string, Tool> = {
  gcc: {
    needs: ['cc', 'libcap'],
    parts: { linux, solaris }, // in gcc 12 it is for C alone
    arguments: ({ sources, flags }) => [
      ...[...flags, '-O1', '-Wall', '-Wextra', '-Wshadow', '-Wstrict-prototypes', '-Werror', '-fanalyzer'],
      ...['-c', ...sources],
    ],
  },
  cppcheck: {
    needs: ['cppcheck'],
    parts: { linux, solaris, glue },
    arguments: ({ sources, flags }) => [
      ...['--enable=warning,style,performance,portability', '--inline-suppr', '--error-exitcode=1', '--quiet'],
      ...[
        flags[0]?.startsWith('-std=c++') ? '--std=c++17' : '--std=c11',
        '--platform=unix64',
        '-D__x86_64__',
        ...sources,
      ],
    ],
  },
  'clang-tidy-16': {
    needs: ['clang-tidy-16', 'cc', 'libcap'],
    parts: { linux, solaris, glue },
    arguments: ({ sources, flags }) => [
      ...['--quiet', '--warnings-as-errors=*', `--checks=${checks}`, ...sources, '--', ...flags],
    ],
  },
}

/** Wrong on purpose: a text of captext.c, what takes its place, and what that is called. */
const mistakes: Record<keyof typeof tools, [right: string, wrong: string, name: string]> = {
  gcc: ['cap_free(name);', 'free(name); free(name);', '-Werror=analyzer-double-free'],
  cppcheck: [
    'cap_t parsed = cap_from_text(text);',
    'char four[4]; four[4] = *text; cap_t parsed = cap_from_text(four);',
    '[arrayIndexOutOfBounds]',
  ],
  'clang-tidy-16': ['uint64_t mask = 0;', 'uint64_t mask;', '[clang-analyzer-core.'],
}

for (const [tool, { needs, parts, arguments: args }] of Object.entries(tools)) {
  const run = (part: Part, cwd: string) => {
    const { status, stdout, stderr } = spawnSync(tool, args(part), { cwd, encoding: 'utf8' })
    return { status, said: `${stdout}${stderr}` }
  }
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))

  for (const [name, part] of Object.entries(parts))
    live(`${tool} has nothing to say: ${name}`, needs, async (t) => {
      const { status, said } = run(part, folder)
      t.equal(status, 0, said)
      t.notMatch(said, /warning:|error:/)
    })

  live(`${tool} sees a mistake`, needs, async (t) => {
    const [right, wrong, name] = mistakes[tool] as (typeof mistakes)[string]
    const text = readFileSync(join(own, 'linux/captext.c'), 'utf8')
    const mutant = join(folder, 'captext.c')
    writeFileSync(mutant, `#include <stdlib.h>\n${text.replace('../plan.h', `${own}/plan.h`).replace(right, wrong)}`)
    const { status, said } = run({ ...linux, sources: [mutant] }, folder)
    t.match(text, right)
    t.not(status, 0)
    t.match(said, name)
  })
}
