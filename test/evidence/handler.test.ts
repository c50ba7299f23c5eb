/**
 * Promise: between parking and release nothing waits for a parked thread. The code that runs then, and in a child that
 * has only the calling thread, makes system calls: no allocation, no lock, no C library function that takes one.
 * Checked by the call graph of the objects, for each C library; and in a process that malloc() and the like end while
 * its threads are parked.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Test } from 'tap'
import { live, type Need } from '../live/live'
import { common, hardened, tasks } from '../live/outside'
import { folder, type Subject, start } from '../live/subject'
import { compileApart, type Reach, reachOf, readCalls } from './calls'
import { build } from './mutants'

const root = join(__dirname, '../..')
const native = join(root, 'src-native')
const work = mkdtempSync(join(tmpdir(), 'privdrop-'))
process.on('exit', () => rmSync(work, { recursive: true }))

/* ---- the rule ---- */

/** Functions of a C library that some part may call, by the reason why it may. */
const reasons = {
  least: {
    why: "a system call as it is, the thread's own errno, and the end of a process whose stack is broken",
    names: 'syscall __errno_location __stack_chk_fail',
  },
  memory: {
    why: 'reads and writes what it is given, and nothing else',
    names: 'memchr memcmp memcpy memmove memset strchr strcmp strcspn strlen strncmp strspn strstr',
  },
  calls: {
    why: 'one system call, and errno',
    names: 'close fstatfs getpid getrlimit kill lseek mmap munmap nanosleep open openat poll read readlinkat umask',
  },
  kept: {
    why: "reads the vDSO's page; _SC_PAGESIZE alone, which the process has from its start",
    names: 'clock_gettime sysconf',
  },
  child: {
    why: 'one system call; clone(3) runs no handler of fork(3)',
    names: 'bind clone geteuid setsockopt socket waitpid write',
  },
  sunosCalls: {
    why: 'the same of that system, where these are functions alone',
    names: `__errno_location _exit _lwp_kill _lwp_self access bind chdir chroot close faccessat fchdir fstat fstatat getcwd gethrtime
      getpflags getpid getppriv getrlimit getsockopt isastream kill nanosleep open openat poll pthread_sigmask readlinkat setgid setgroups
      setpflags setppriv setsockopt setuid sigaction sigemptyset sigfillset socket stat sysconf waitpid write`,
  },
  sunosMemory: { why: 'as above', names: 'memcmp memcpy memmove memset strcmp strcspn strlen strspn' },
  sunosFork: {
    why: "no thread stands still there; takes libc's locks, so that the child has them free. fdwalk(3C) is made for such a child",
    names: 'forkx fdwalk',
  },
  sunosSets: {
    why: 'they allocate, which a child of forkx(2) may: its locks are free',
    names: `calloc free priv_allocset priv_freeset priv_intersect priv_isemptyset priv_isequalset priv_ismember priv_issubset
      priv_set_to_str priv_str_to_set ucred_free ucred_get ucred_getegid ucred_geteuid ucred_getgroups ucred_getrgid ucred_getruid
      ucred_getsgid ucred_getsuid`,
  },
} as const
type Reason = keyof typeof reasons
const namesOf = (allowed: readonly Reason[]) => allowed.flatMap((reason) => reasons[reason].names.split(/\s+/))

interface Part {
  roots: string[]
  allowed: Reason[]
}
interface Library {
  needs: Need[]
  folder: 'linux' | 'sunos'
  flags: string[]
  parts: Record<string, Part>
  /** Which functions call by a pointer, and what: functions that are named where the pointer is made. */
  byPointer: Record<string, string[]>
}

/** As the addon is compiled (src-native/privdrop.gypi). */
const PROTECTED = '-fstack-protector-strong'
const linux: Pick<Library, 'folder' | 'parts' | 'byPointer'> = {
  folder: 'linux',
  parts: {
    'the handler': { roots: ['park.c:on_signal'], allowed: ['least'] },
    'between parking and release': {
      roots: ['commit.c:park_and_cross'],
      allowed: ['least', 'memory', 'calls', 'kept', 'child'], // the last for a process that ends
    },
    'the rehearsing child': { roots: ['rehearse.c:rehearse_as_child'], allowed: ['least', 'memory', 'calls', 'child'] },
    'the end': { roots: ['end.c:end_process', 'end.c:write_line'], allowed: ['least', 'memory', 'calls', 'child'] },
  },
  byPointer: {
    'park.c:on_signal': [], // the handler that the C library had before: for its own signal, as if we were not there
    'proc.c:each_number': [
      ...['park.c:call_task', 'commit.c:compare_before', 'commit.c:prove_thread'],
      ...['children.c:refuse_if_shared', 'children.c:look_at_children_of', 'children.c:look_if_child'],
      ...['descriptors.c:refuse_descriptor', 'descriptors.c:list_if_inside', 'descriptors.c:close_if_it_listens'],
    ],
    'signals.c:run_writer': ['end.c:write_line'],
    'walk.c:walk_path': ['exchange.c:judge'],
  },
}

const libraries: Record<string, Library> = {
  glibc: { ...linux, needs: ['gcc'], flags: [PROTECTED] },
  musl: {
    ...linux,
    needs: ['gcc', 'musl'],
    // the kernel's headers are where they always are
    flags: [PROTECTED, '-isystem', '/usr/include/x86_64-linux-musl'],
  },
  sunos: {
    needs: ['gcc'],
    folder: 'sunos',
    flags: ['-D_GNU_SOURCE=', `-I${root}/test/sunos/include`],
    parts: {
      'past the line': {
        roots: ['commit.c:cross'],
        allowed: ['sunosCalls', 'sunosMemory', 'sunosSets', 'sunosFork'],
      },
      'the children': {
        roots: ['rehearse.c:run_here', 'rehearse.c:rehearse_here', 'rehearse.c:exchange_here'],
        allowed: ['sunosCalls', 'sunosMemory', 'sunosSets', 'sunosFork'],
      },
      'the end': {
        roots: ['end.c:end_process', 'end.c:write_line'],
        allowed: ['sunosCalls', 'sunosMemory', 'sunosFork'],
      },
    },
    byPointer: {
      'rehearse.c:run_here': ['rehearse.c:rehearse_here', 'rehearse.c:exchange_here'],
      'signals.c:start_writer': ['end.c:write_line'],
      'walk.c:walk_path': ['exchange.c:judge'],
    },
  },
}

/* ---- the call graph ---- */

/** Not reached, and it needs headers that are not there: what is reached and is in none of the objects is seen. */
const leftOut = ['captext.c', 'addon.c']

const sourcesOf = (library: Library) =>
  [native, join(native, library.folder)].flatMap((place) =>
    readdirSync(place).flatMap((name) => (name.endsWith('.c') && !leftOut.includes(name) ? [join(place, name)] : [])),
  )

const made = new Map<string, string>()

const flagsOf = ({ folder, flags }: Library) => ['-std=gnu11', `-I${native}/${folder}`, `-I${native}`, ...flags]

/** The folder of the objects, which are made once for each library. */
function objectsFor(name: string, library: Library): string {
  const known = made.get(name)
  if (known) return known
  const place = mkdtempSync(join(work, name))
  compileApart(place, sourcesOf(library), flagsOf(library))
  made.set(name, place)
  return place
}

/** What breaks the rule: 'park.c:on_signal > park.c:park > malloc'. */
function broken(reach: Reach, allowed: readonly Reason[]): string[] {
  const names = namesOf(allowed)
  return [...reach.outside].flatMap(([name, way]) => (names.includes(name) ? [] : [way.join(' > ')]))
}

for (const [name, library] of Object.entries(libraries)) {
  live(`what runs there keeps to the rule: ${name}`, library.needs, async (t) => {
    const graph = readCalls(objectsFor(name, library))
    for (const [part, { roots, allowed }] of Object.entries(library.parts)) {
      for (const place of roots) t.ok(graph.named.has(place), `${place} is there`)
      t.same(broken(reachOf(graph, roots), allowed), [], part)
    }
    const all = reachOf(
      graph,
      Object.values(library.parts).flatMap(({ roots }) => roots),
    )
    t.same(all.byPointer, Object.keys(library.byPointer).sort(), 'every call by a pointer is known')
    for (const place of Object.values(library.byPointer).flat()) t.ok(all.within.has(place), `${place} is reached`)
    const allowed = namesOf(Object.values(library.parts).flatMap((part) => part.allowed))
    t.same(
      [...new Set(allowed)].filter((one) => !all.outside.has(one)),
      [],
      'nothing is allowed that is not called',
    )
  })
}

/* ---- what is planted is seen ---- */

interface Plant {
  name: string
  libraries: string[]
  part: string
  file: string
  /** In the place of this text that text stands before it. */
  before: string
  planted: string
  /** The end of the way to what is planted. */
  found: string
}
const MALLOC = '{ static void *volatile kept; kept = malloc(1); }'
const plants: Record<string, Plant> = {
  handler: {
    name: 'malloc() in the handler',
    libraries: ['glibc', 'musl'],
    part: 'the handler',
    file: 'linux/park.c',
    before: '\t\tapply_here(slot);',
    planted: MALLOC,
    found: 'park.c:on_signal > park.c:park > malloc',
  },
  cross: {
    name: 'printf() past the line',
    libraries: ['glibc', 'musl'],
    part: 'between parking and release',
    file: 'linux/commit.c',
    before: '\tprove(space);',
    planted: 'puts("all have applied the list");',
    found: 'commit.c:park_and_cross > commit.c:cross > puts',
  },
  compare: {
    name: 'a lock where parked threads are compared',
    libraries: ['glibc', 'musl'],
    part: 'between parking and release',
    file: 'linux/commit.c',
    before: '\tif (securebits_of(tid) != (int64_t)space->plan->securebits)',
    planted: '{ static pthread_mutex_t lock; pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock); }',
    found: 'commit.c:prepare > commit.c:compare_before > pthread_mutex_lock',
  },
  child: {
    name: 'malloc() in the rehearsing child',
    libraries: ['glibc', 'musl'],
    part: 'the rehearsing child',
    file: 'linux/rehearse.c',
    before: '\tnow->step = STEP_READ_BACK;\n\tif ((securebits',
    planted: MALLOC,
    found: 'rehearse.c:rehearse_as_child > rehearse.c:rehearse_here > malloc',
  },
  end: {
    name: 'printf() in the child that writes the last line',
    libraries: ['glibc', 'musl', 'sunos'],
    part: 'the end',
    file: 'end.c',
    before: '\texit_now(0);',
    planted: 'printf("%s", last_line.text);',
    found: 'end.c:write_line > printf',
  },
  sunos: {
    name: 'printf() past the line of that system',
    libraries: ['sunos'],
    part: 'past the line',
    file: 'sunos/commit.c',
    before: '\tprove(space);',
    planted: 'puts("the list is applied");',
    found: 'commit.c:cross > puts',
  },
}

const HEADERS = '#include <pthread.h>\n#include <stdio.h>\n#include <stdlib.h>\n'
const OWN = /#include "(?:linux|shared|sunos)\.h"\n/

function withPlant({ file, before, planted }: Pick<Plant, 'file' | 'before' | 'planted'>): string {
  const text = readFileSync(join(native, file), 'latin1')
  return text.replace(OWN, `$&${HEADERS}`).replace(before, `\t${planted}\n$&`)
}

/** Of the library with that source in the place of its own. */
function callsWith(name: string, library: Library, file: string, text: string): ReturnType<typeof readCalls> {
  const place = mkdtempSync(join(work, 'planted-'))
  writeFileSync(join(place, basename(file)), text)
  compileApart(place, [basename(file)], flagsOf(library))
  return readCalls(place, objectsFor(name, library))
}

for (const { name: what, libraries: names, part, found, ...plant } of Object.values(plants))
  for (const name of names) {
    const library = libraries[name] as Library
    live(`${what} is seen: ${name}`, library.needs, async (t) => {
      const { roots, allowed } = library.parts[part] as Part
      t.equal(readFileSync(join(native, plant.file), 'latin1').split(plant.before).length, 2, 'it is there once')
      const ways = broken(reachOf(callsWith(name, library, plant.file, withPlant(plant)), roots), allowed)
      t.ok(
        ways.some((way) => way.endsWith(found)),
        ways.join('\n'),
      )
    })
  }

live('a call by a pointer that is not known is seen', ['gcc'], async (t) => {
  const { glibc } = libraries as { glibc: Library }
  const planted = '{ static void (*volatile any)(void); any(); }'
  const text = withPlant({ file: 'linux/park.c', before: '\t\tapply_here(slot);', planted })
  const { byPointer } = reachOf(callsWith('glibc', glibc, 'park.c', text), ['park.c:on_signal'])
  t.same(byPointer, ['park.c:on_signal', 'park.c:park'])
})

live('no name is looked up at its first call, for which ld.so has a lock', ['gcc'], async (t) => {
  for (const name of [
    'linux-x64/privdrop.glibc',
    'linux-x64/privdrop.musl',
    'linux-arm64/privdrop.glibc',
    'linux-arm64/privdrop.musl',
  ])
    t.match(
      execFileSync('readelf', ['-d', join(root, `prebuilds/${name}.node`)], { encoding: 'utf8' }),
      /\(FLAGS\) +BIND_NOW/,
      name,
    )
})

/* ---- in a process ---- */

const WARMED = 8
const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

function trap(t: Test): string {
  const library = join(folder(t), 'trap.so')
  execFileSync('gcc', [
    '-shared',
    '-fPIC',
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    library,
    join(__dirname, 'trap.c'),
  ])
  return library
}

/** Many threads, which have used the C library's heap and its locks. */
async function startTrapped(t: Test, from?: string): Promise<Subject> {
  const subject = await start(t, {
    env: { LD_PRELOAD: trap(t), UV_THREADPOOL_SIZE: String(WARMED) },
    ...(from && { from }),
  })
  await subject.ask('warmPool', WARMED)
  await subject.ask('startWorkers', 2)
  t.ok(tasks(subject.pid).length > 11, `${tasks(subject.pid).length} threads`)
  return subject
}

live('while all are parked none allocates or locks', ['root', 'gcc'], async (t) => {
  const subject = await startTrapped(t)
  await subject.ask('harden', options)
  t.same(common(subject.pid), hardened)
  subject.kill()
  t.equal((await subject.ended).stderr, 'trap: it was set for all\n')
})

const planted = ({ file, before, planted }: Plant) =>
  build({
    name: planted,
    changes: [
      [`src-native/${file}`, '#include "linux.h"\n', `#include "linux.h"\n${HEADERS}`],
      [`src-native/${file}`, before, `\t${planted}\n${before}`],
    ],
  }).then((main) => join(main, '../..'))

for (const [plant, said] of [
  ['handler', 'malloc'],
  ['cross', 'puts'],
  ['compare', 'pthread_mutex_lock'],
] as const) {
  const { name } = plants[plant] as Plant
  live(`the trap catches ${name}`, ['root', 'gcc', 'cc', 'c++'], async (t) => {
    const subject = await startTrapped(t, await planted(plants[plant] as Plant))
    subject.tell('harden', options)
    t.match(await subject.ended, { code: null, signal: 'SIGILL', stderr: new RegExp(`^trap: ${said}$`, 'm') })
  })
}

live('the trap catches malloc() in the rehearsing child', ['root', 'gcc', 'cc', 'c++'], async (t) => {
  const subject = await startTrapped(t, await planted(plants.child as Plant))
  t.match(await subject.refusal('harden', options), { step: 'read', message: /ended by signal 4\./ })
})
