/**
 * Promises: Exact, and Unchanged or done, which a program with unsound memory cannot keep. The native code is compiled
 * with AddressSanitizer and UndefinedBehaviorSanitizer, and run: in a program of its own, where every call that it
 * makes fails once (core.c); in one with threads of all kinds (test/musl/host.c); and as the addon, by the live tests.
 * The lines that they execute are counted. And 10,000 plans leave nothing behind.
 *
 * The Node that loads it is a copy linked with the sanitizer: a preloaded one would be left out where the kernel asks
 * for a secure execution (ld.so(8)), as with file capabilities.
 *
 * Lines are counted in mapped files (LLVM's continuous mode), so that those of a process that is killed, or that has
 * another root and may write nowhere, count too. Some live tests are left out: those about other machines and Nodes,
 * servers and documents, which execute no further lines, and two that take too long here: churn, and faults, whose part
 * core.c has.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import type { Test } from 'tap'
import { live, type Need } from '../live/live'
import { start } from '../live/subject'

const LIVE = 'access audit chroot end foresight hazards inspector plan powers refusals root sets starts threads'.split(
  ' ',
)
/** Dead file systems, and odd surroundings. */
const EVIDENCE = ['bounds', 'surroundings']
const needs: Need[] = ['root', 'cc', 'libcap', 'clang-16', 'llvm-cov-16', 'ld.lld-16', 'patchelf']

const root = join(__dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'privdrop-'))
process.on('exit', () => rmSync(work, { recursive: true }))
chmodSync(work, 0o755)
/** Whoever a process has become writes here. */
const [profiles, reports] = ['profiles', 'reports'].map((name) => {
  const folder = join(work, name)
  mkdirSync(folder)
  chmodSync(folder, 0o777)
  return folder
}) as [string, string]

/* ---- the sanitized build ---- */

const sanitize =
  '-g -O1 -fno-omit-frame-pointer -shared-libasan -fsanitize=address,undefined -fno-sanitize-recover=all'.split(' ')
const count = `-fprofile-instr-generate=${profiles}/%m%c -fcoverage-mapping -mllvm -runtime-counter-relocation`.split(
  ' ',
)

function buildAddon(tree: string, step: 'rebuild' | 'build', flags: string[]): void {
  const all = flags.join(' ')
  execFileSync('npx', ['--no-install', 'node-gyp', step], {
    cwd: tree,
    env: {
      npm_config_nodedir: join(process.execPath, '../..'),
      ...process.env,
      ...{ CC: 'clang-16', CXX: 'clang++-16', CFLAGS: all, CXXFLAGS: all, LDFLAGS: `${all} -fuse-ld=lld-16` },
    },
    stdio: 'pipe',
  })
}

/** A copy of what it takes to build the addon and to test it; a Node for it; and the sanitizer's library. */
let made: { tree: string; node: string; runtime: string } | undefined

function build() {
  if (made) return made
  const tree = join(work, 'tree')
  const parts = ['package.json', '.taprc', 'tsconfig.json', 'binding.gyp', 'src-native', 'lib', 'dist', 'test']
  for (const part of parts) cpSync(join(root, part), join(tree, part), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  buildAddon(tree, 'rebuild', [...sanitize, ...count])
  const resources = execFileSync('clang-16', ['-print-resource-dir'], { encoding: 'utf8' }).trim()
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const runtime = join(resources, `lib/linux/libclang_rt.asan-${machine}.so`)
  const [node, options] = [join(work, 'node'), join(work, 'asan.so')]
  execFileSync('clang-16', [`-DREPORTS="${reports}/of"`, '-shared', '-fPIC', '-o', options, join(__dirname, 'asan.c')])
  cpSync(process.execPath, node, { dereference: true })
  // each before those that are there: the options first
  execFileSync('patchelf', ['--add-needed', runtime, '--add-needed', options, node])
  made = { tree, node, runtime }
  // whoever counts in it later
  plans(tree, '')
  for (const name of readdirSync(profiles)) chmodSync(join(profiles, name), 0o666)
  return made
}

/** What the sanitizers have reported since this was asked last. */
function takeReports(): string {
  const texts = readdirSync(reports).map((name) => {
    const path = join(reports, name)
    const text = readFileSync(path, 'utf8')
    rmSync(path)
    return text
  })
  return texts.join('\n')
}

/** A Node with the addon of that tree, in which many plans are made, good ones and wrong ones. */
function plans(tree: string, options: string) {
  const program = `
    const { plan, audit } = require(${JSON.stringify(tree)})
    const wrong = [{ user: 'no-such-user' }, { user: 'nobody', group: 'no-such-group' }, { user: 'nobody', capabilities: 'x' }]
    const rehearse = { read: ['/'], bind: [25] }
    for (let i = 0; i < 20; i++) {
      plan({ user: 'nobody', supplementalGroups: ['mail'], capabilities: 'cap_kill+p', chroot: '/', rehearse })
      for (const options of wrong) try { plan(options) } catch {}
      audit()
    }`
  const { node } = build()
  return spawnSync('env', ['-u', 'NODE_OPTIONS', `ASAN_OPTIONS=${options}`, node, '-e', program], { encoding: 'utf8' })
}

/** The programs whose lines are counted. */
const counted: string[] = []

/** A program around the core. `change`: a source, its text, and what takes its place. */
function buildProgram(t: Test, source: string, flags: string[], change?: Change): string {
  const { tree, runtime } = build()
  const folder = mkdtempSync(join(work, 'program-'))
  const program = join(folder, 'program')
  if (flags.includes('-fcoverage-mapping')) counted.push(program)
  const native = join(tree, 'src-native')
  const sources = [native, join(native, 'linux')].flatMap((folder) =>
    readdirSync(folder).flatMap((name) => (name.endsWith('.c') ? [join(folder, name)] : [])),
  )
  sources.push(join(__dirname, 'asan.c'))
  if (change) sources[sources.indexOf(join(native, change.file))] = mutate(t, native, folder, change)
  const compile = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', ...sanitize, ...flags]
  const link = ['-l:libcap.a', '-lpthread', '-fuse-ld=lld-16', `-Wl,-rpath,${join(runtime, '..')}`]
  execFileSync('clang-16', [...compile, '-o', program, ...sources, join(tree, source), ...link])
  return program
}

/** Each function that core.c stands before. */
function wraps(): string[] {
  const names = [...readFileSync(join(__dirname, 'core.c'), 'utf8').matchAll(/__wrap_(\w+)\(|^WRAP\(.+?(\w+), \(/gm)]
  return [...new Set(names.map(([, wrapped, listed]) => `-Wl,--wrap=${wrapped ?? listed}`))]
}

/** In a pid namespace, for the core looks at every process that there is. */
function runProgram(program: string, ...args: string[]) {
  const env = {
    PATH: process.env.PATH,
    ASAN_OPTIONS: 'use_sigaltstack=0:detect_stack_use_after_return=0:exitcode=99',
  }
  const alone = ['--pid', '--fork', '--kill-child', '--mount-proc', '--', program, ...args]
  return spawnSync('unshare', alone, { env, encoding: 'utf8', maxBuffer: 2 ** 28 })
}

/* ---- the core ---- */

/**
 * Where nothing has changed, only the return can fail: with all signals blocked, or with the signal that was borrowed. And a
 * descriptor that is listed and not there (ENOENT) counts as closed, so that the directory which is to be refused is not seen.
 */
const RETURN = /^(?:'signal (?:33|mask)', errno \d+|'read back', errno 2)$/

live('the core, while each of its calls fails in turn', needs, async (t) => {
  const program = buildProgram(t, 'test/evidence/core.c', [...count, ...wraps()])
  const { status, stdout, stderr } = runProgram(program, 'break')
  const lines = stdout.split('\n').filter(Boolean)
  t.equal(status, 0, status ? stderr : 'it ends well')
  const outcomes = lines.flatMap((line) =>
    [/^(.+): (\d+) done, (\d+) refused, (\d+) ended$/.exec(line) ?? []].filter(([all]) => all),
  )
  const endings = lines.flatMap((line) => [/^(.+) ended in (.+)$/.exec(line) ?? []].filter(([all]) => all))
  t.equal(outcomes.length + endings.length, lines.length, 'no other line')
  for (const [, act = '', done, refused, ended] of outcomes) {
    t.comment(`${act}: ${done} done, ${refused} refused, ${ended} ended`)
    t.ok(Number(done) && Number(refused), `${act}: some are done, some refused`)
    const own = endings.filter(([, of]) => of === act)
    t.equal(own.length, Number(ended))
    if (act.startsWith('commit')) t.ok(own.length > 100, `${act}: ${ended} ended the process`)
    else for (const [, , how = ''] of own) t.match(how, RETURN, `${act}: ${how}`)
  }
  t.equal(outcomes.length, 11)
})

live('the core, over and over: nothing is left', needs, async (t) => {
  const { status, stdout, stderr } = runProgram(buildProgram(t, 'test/evidence/core.c', wraps()), 'repeat')
  t.equal(status, 0, status ? stderr : 'it ends well')
  const lines = stdout.split('\n').filter(Boolean)
  t.equal(lines.length, 9)
  for (const line of lines) t.match(line, /^[a-z ]+: \d+ rounds, 0 bytes, 0 descriptors, (?:0|-\d+) mappings more$/) // two may become one
})

live('the core in a process with threads of all kinds', needs, async (t) => {
  const { status, stdout, stderr } = runProgram(buildProgram(t, 'test/musl/host.c', count))
  t.equal(status, 0, status ? stderr : 'it ends well')
  t.notMatch(stdout, /^not ok/m)
  t.match(stdout, /^1\.\.9$/m)
})

/* ---- the addon ---- */

live('the live tests, with the addon of the sanitizers', [...needs, 'strace'], async (t) => {
  const { tree, node } = build()
  const files = [
    ...LIVE.map((name) => `test/live/${name}.test.ts`),
    ...EVIDENCE.map((name) => `test/evidence/${name}.test.ts`),
  ]
  const { NODE_OPTIONS: _, ...env } = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)),
  )
  const tap = spawn('npx', ['--no-install', 'tap', '--disable-coverage', '--timeout=0', ...files], {
    cwd: tree,
    env: { ...env, NODE_UNDER_TEST: node },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  tap.stdout.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  const [code] = await once(tap, 'close')
  for (const line of said.match(/^ *not ok .*|^ok .*|^# \{ total: .*/gm) ?? []) t.comment(line)
  t.equal(takeReports(), '')
  t.equal(code, 0)
  t.equal(said.match(/^ok /gm)?.length, files.length)
})

live('nothing leaks out of the addon', needs, async (t) => {
  const { tree } = build()
  const { status, stderr } = plans(tree, 'detect_leaks=1')
  t.equal(status, 0, status ? stderr : 'it ends well')
  t.equal(takeReports(), '')
})

/* ---- which lines were executed ---- */

/** Not executed, and why. */
const unexecuted: [file: string, lines: RegExp, reason: string][] = [
  ['addon.cc', /^void \*?operator /, 'nothing that is used calls them: the linker leaves them out'],
  ['linux/children.c', /grows_with_us/, 'field.test.ts: a process shares the memory'],
  ['linux/children.c', /look_if_child/, 'a kernel without CONFIG_PROC_CHILDREN'],
  ['end.c', /write_at_once|end_process/, 'test/sunos: no child can be made; the inspector is opened meanwhile'],
  ['initgroups.c', /./, 'a C library without the call, and more groups than a system has'],
]

interface Line {
  number: number
  hits: number
  /** The first line of the function that it is in. */
  head: string
  text: string
}

/** Of each source, those that are code. */
function executed(tree: string): Map<string, Line[]> {
  const data = join(work, 'profile')
  execFileSync('llvm-profdata-16', ['merge', '-o', data, ...readdirSync(profiles).map((name) => join(profiles, name))])
  const [addon, ...others] = [join(tree, 'build/Release/privdrop.node'), ...counted]
  const more = others.flatMap((program) => ['-object', program])
  const args = ['export', addon as string, ...more, '-format=lcov', `-instr-profile=${data}`, join(tree, 'src-native')]
  const lcov = execFileSync('llvm-cov-16', args, { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const files = new Map<string, Line[]>()
  for (const record of lcov.split('end_of_record\n').filter(Boolean)) {
    const path = /^SF:(.+)$/m.exec(record)?.[1] as string
    const texts = readFileSync(path, 'utf8').split('\n')
    const lines = [...record.matchAll(/^DA:(\d+),(\d+)/gm)].map(([, number, hits]) => ({
      number: Number(number),
      hits: Number(hits),
      head: texts.slice(0, Number(number)).findLast((line) => /^[a-z_[].*\(/i.test(line)) ?? '',
      text: texts[Number(number) - 1] as string,
    }))
    files.set(relative(join(tree, 'src-native'), path), lines)
  }
  return files
}

live('and nearly all of its lines have been executed', needs, async (t) => {
  const files = executed(build().tree)
  t.equal(files.size, 19)
  for (const [file, lines] of files) {
    const left = unexecuted.filter(([of]) => of === file)
    const missed = lines.filter(({ hits }) => hits === 0)
    const named = missed.filter(({ head }) => left.some(([, pattern]) => pattern.test(head)))
    const percent = 100 * (1 - (missed.length - named.length) / (lines.length - named.length))
    t.comment(`${file}: ${lines.length} lines, ${missed.length} not executed, ${named.length} of them left out`)
    for (const { number, text } of missed)
      t.comment(`    ${number}${named.some((line) => line.number === number) ? ' (left out)' : ''}: ${text.trim()}`)
    t.ok(percent >= 95, `${file}: ${percent.toFixed(1)} %`)
  }
})

/* ---- what they see ---- */

interface Change {
  file: string
  right: string
  wrong: string
}

function mutate(t: Test, native: string, folder: string, { file, right, wrong }: Change): string {
  const text = readFileSync(join(native, file), 'utf8')
  t.equal(text.split(right).length, 2, 'it is there once')
  const mutant = join(folder, basename(file))
  writeFileSync(mutant, text.replace(right, wrong))
  return mutant
}

for (const [title, act, report, file, right, wrong] of [
  [
    'one byte too many',
    'observe',
    /stack-buffer-overflow/,
    'linux/proc.c',
    'DECIMAL_SIZE - end)',
    'DECIMAL_SIZE - end + 1)',
  ],
  [
    'memory that is given back twice',
    'observe',
    /attempting double-free/,
    'linux/proc.c',
    'free(*status);\n\t\tclose(tasks);',
    'free(*status); free(*status);\n\t\tclose(tasks);',
  ],
  [
    'memory that is never given back',
    'observe',
    /LeakSanitizer/,
    'linux/proc.c',
    'free(*status);\n\t\tclose(tasks);',
    'close(tasks);',
  ],
  [
    'a number that does not fit',
    'park and refuse',
    /signed integer overflow/,
    'linux/park.c',
    '(uint64_t)now.tv_sec *',
    '(int)now.tv_sec *',
  ],
  ['a descriptor that stays open', 'rehearse', /descriptors\n became/, 'linux/rehearse.c', '\tclose(ends[0]);\n', ''],
] as const)
  live(`a mistake is seen in the core: ${title}`, needs, async (t) => {
    const flags = [...wraps(), `-I${join(build().tree, 'src-native')}`, `-I${join(build().tree, 'src-native/linux')}`]
    const program = buildProgram(t, 'test/evidence/core.c', flags, { file, right, wrong })
    const { status, stdout } = runProgram(program, 'break', act)
    t.equal(status, 1)
    t.match(stdout, report)
  })

for (const [title, options, report, right, wrong] of [
  [
    'memory that has been given back',
    '',
    /heap-use-after-free/,
    'int root = open_root(path, walked, &why);',
    'free(path); $&',
  ],
  [
    'memory that is never given back',
    'detect_leaks=1',
    /detected memory leaks/,
    'free(text);\n\tif (error)',
    'if (error)',
  ],
] as const)
  live(`a mistake is seen in the addon: ${title}`, needs, async (t) => {
    const { tree } = build()
    const source = join(tree, 'src-native/addon.cc')
    const text = readFileSync(source, 'utf8')
    t.equal(text.split(right).length, 2, 'it is there once')
    writeFileSync(source, text.replace(right, wrong))
    buildAddon(tree, 'build', [...sanitize, ...count])
    const { status } = plans(tree, options)
    writeFileSync(source, text)
    t.not(status, 0)
    t.match(takeReports(), report)
  })

/* ---- 10,000 plans ---- */

live('10,000 plans leave nothing behind', ['root'], async (t) => {
  const subject = await start(t, { execArgv: ['--expose-gc'] })
  // in the first half Node takes what it needs itself
  const before = await subject.ask('plans', 5000)
  for (let round = 0; round < 5; round++) {
    const { heap, resident, mapped, ...counts } = await subject.ask('plans', 1000)
    t.comment(`${heap} bytes of heap, ${resident} KB resident, ${mapped} KB mapped`)
    t.same(counts, { descriptors: before.descriptors, children: '' })
    // all that a plan maps has two pages or more; natively nothing is left at all, as above
    t.ok(mapped - before.mapped < 5000 * 8, `${mapped - before.mapped} KB more`)
    t.ok(heap - before.heap < 5000 * 100, `${heap - before.heap} bytes more`)
  }
})
