/**
 * Copies of this package, each with one bug put in on purpose: exact text replaced in src-native/ or in lib/. The
 * rehearsal or the proof would stop most bugs before they show; a copy whose bug must show has lost its proof as well.
 * The unchanged part of the addon is compiled once.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { build as esbuild, type Plugin } from 'esbuild'
import { nodeHeaders } from '../live/live'
import { copy } from '../live/subject'

type Change = readonly [file: string, from: string, to: string]

export interface Mutant {
  readonly name: string
  readonly changes: readonly Change[]
}

const STEPS = 'src-native/linux/steps.c'
const COMMIT = 'src-native/linux/commit.c'
const PARK = 'src-native/linux/park.c'
const REHEARSE = 'src-native/linux/rehearse.c'
const DESCRIPTORS = 'src-native/linux/descriptors.c'
const EXCHANGE = 'src-native/linux/exchange.c'
const CHILDREN = 'src-native/linux/children.c'
const END = 'src-native/end.c'
const CHILD = 'src-native/child.c'
const ENGINE = 'lib/engine.ts'
const INSPECTOR = 'lib/inspector.ts'
const LINUX = 'lib/platform/linux/index.ts'
const PLAN = 'lib/platform/linux/plan.ts'
const OPTIONS = 'lib/options.ts'
const ACCOUNTS = 'lib/accounts.ts'

/** Neither the rehearsal tries to get back, nor is what the kernel says compared with what was asked for. */
const unproved: Change[] = [
  [REHEARSE, 'if (!plan->without_regain && regains_root(plan)) {', 'if (0 && regains_root(plan)) {'],
  [
    ENGINE,
    'const [difference] = compare(inWords(plan.wanted), rehearsal.state)',
    'const difference = undefined as never',
  ],
  [ENGINE, 'const undumpable = rehearsal.dumpable ?? 0', 'const undumpable = 0'],
  [
    COMMIT,
    'if ((result = compare_text(space, tid, space->expected, false))) {',
    'if ((result = compare_text(space, tid, space->expected, false)) && 0) {',
  ],
  [COMMIT, 'if (has_step(plan->steps, STEP_CHROOT) && !is_jailed(', 'if (0 && !is_jailed('],
  [COMMIT, 'if (securebits_of(tid) != (int64_t)plan->securebits)\n\t\tend_unequal(', 'if (0)\n\t\tend_unequal('],
  [COMMIT, 'if (syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)', 'if (0)'],
  [COMMIT, 'if (check_sigusr1(space->plan->keep_sigusr1))', 'if (0)'],
]

/** As libpsx does by default (PSX_IGNORE). */
const absentLeftOut: Change[] = [
  [PARK, 'quiet_ms + 1 : 0;\n\t}\n\treturn 1;', 'quiet_ms + 1 : 0;\n\t}\n\treturn 0;'],
  [COMMIT, 'if (securebits_of(tid) != (int64_t)space->plan->securebits)', 'if (0)'],
  [
    COMMIT,
    'if (space->done->count == space->capacity)\n\t\tend_unequal(',
    'if (space->done->count == space->capacity)\n\t\treturn 0;\n\tif (0)\n\t\tend_unequal(',
  ],
]

const resultsIgnored: Change = [STEPS, 'return refused(now);', '(void)refused(now);']
const inspectorAccepted: Change[] = [
  [INSPECTOR, 'if (open !== undefined && !allowInspector)', 'if (false)'],
  [INSPECTOR, 'if (!allowInspector && inspectorUrl() !== undefined)', 'if (false)'],
]

const USER = 'if (due(plan, now, STEP_SETRESUID) && syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid))'
const GROUP = 'if (due(plan, now, STEP_SETRESGID) && syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid))'

const directoriesNotCompared: Change = [
  DESCRIPTORS,
  'return has_step(survey->plan->steps, STEP_CHROOT) ? refuse_unless_inside(descriptor, survey) : 0;',
  'return 0;',
]

export const mutants = {
  unproved: { name: 'nothing but the proof is missing', changes: unproved },
  ignored: { name: 'what the calls return is ignored', changes: [...unproved, resultsIgnored] },
  saved: {
    name: 'the saved user id is left',
    changes: [...unproved, [STEPS, 'plan->uid, plan->uid, plan->uid))', 'plan->uid, plan->uid, -1))']],
  },
  order: {
    name: 'the user before the group, results ignored',
    changes: [
      ...unproved,
      resultsIgnored,
      [STEPS, USER, 'if (the user)'],
      [STEPS, GROUP, USER],
      [STEPS, 'if (the user)', GROUP],
    ],
  },
  groups: {
    name: 'setgroups left out',
    changes: [...unproved, [PLAN, "['setgroups', setsGroups,", "['setgroups', false,"]],
  },
  inheritable: {
    name: 'the inheritable set left as it was',
    changes: [
      ...unproved,
      [
        STEPS,
        'return syscall(SYS_capset, &header, data);',
        `struct __user_cap_data_struct own[2];
	syscall(SYS_capget, &header, own);
	data[0].inheritable = own[0].inheritable;
	data[1].inheritable = own[1].inheritable;
	return syscall(SYS_capset, &header, data);`,
      ],
    ],
  },
  table: {
    name: 'a table that ends with the capabilities of 2014',
    changes: [
      ...unproved,
      [
        STEPS,
        'capability < 64; capability++)\n\t\t\tif (in(plan->bounding_drop',
        'capability < 37; capability++)\n\t\t\tif (in(plan->bounding_drop',
      ],
    ],
  },
  ambient: {
    name: 'what is retained is made ambient',
    changes: [[PLAN, "parseAmbient(options.ambientCapabilities ?? '', own.permitted)", 'own.permitted']],
  },
  capset: {
    name: 'no capset where nothing is retained',
    changes: [
      ...unproved,
      [PLAN, "['capset', true,", "['capset', wanted.sets.permitted.length + wanted.sets.inheritable.length > 0,"],
    ],
  },
  main: {
    name: 'the main thread alone applies the list',
    changes: [
      ...unproved,
      [PARK, 'apply_here(slot);\n\t\tcount_me();', 'atomic_store(&slot->applied, true);\n\t\tcount_me();'],
    ],
  },
  absent: { name: 'threads that do not come are left out', changes: [...unproved, ...absentLeftOut] },
  ring: {
    name: 'io_uring not looked for, nor its threads',
    changes: [
      ...unproved,
      ...absentLeftOut,
      [DESCRIPTORS, '*kind = said == NO_POLLER ? DESCRIPTOR_PLAIN : DESCRIPTOR_RING;', '*kind = DESCRIPTOR_PLAIN;'],
    ],
  },
  silence: {
    name: 'an io_uring that says nothing is taken for harmless',
    changes: [...unproved, ...absentLeftOut, [DESCRIPTORS, '*kind = said == NO_POLLER ?', '*kind = said != REFUSED ?']],
  },
  chdir: {
    name: 'no chdir with the chroot',
    changes: [
      ...unproved,
      [
        STEPS,
        'if (syscall(SYS_fchdir, plan->root))',
        'long here = syscall(SYS_openat, -100, ".", 010000000);\n\tif (syscall(SYS_fchdir, plan->root))',
      ],
      [STEPS, 'if (syscall(SYS_chdir, "/"))', 'if (syscall(SYS_fchdir, here) || syscall(SYS_close, here))'],
      ['lib/root.ts', "process.chdir('/')", ''],
    ],
  },
  root: {
    name: "a root directory of a thread's own is not looked for",
    changes: [
      ...unproved,
      [
        COMMIT,
        '(has_step(space->plan->steps, STEP_CHROOT) && !shares_root(space, tid))',
        '(0 && !shares_root(space, tid))',
      ],
    ],
  },
  directory: {
    name: 'open directories are not looked for',
    changes: [
      ...unproved,
      [DESCRIPTORS, 'return 1;\n\t}\n\tsurvey->inside[', 'return 0;\n\t}\n\tsurvey->inside['],
      directoriesNotCompared,
    ],
  },
  tasks: {
    name: 'the task directory is left open',
    changes: [...unproved, [COMMIT, 'if (close(space->tasks))\n\t\tend_here(STEP_READ_BACK);', '']],
  },
  traceable: {
    name: 'made dumpable afterwards, as nginx does',
    changes: [
      ...unproved,
      [
        STEPS,
        'PR_SET_DUMPABLE, 0, 0, 0, 0))\n\t\treturn refused(now);\n\n\tnow->step = STEP_NONE;',
        'PR_SET_DUMPABLE, 1, 0, 0, 0))\n\t\treturn refused(now);\n\n\tnow->step = STEP_NONE;',
      ],
    ],
  },
  dumpable: {
    name: 'dumpable left to the kernel',
    changes: [...unproved, [STEPS, 'if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0))', 'if (0)']],
  },
  inspector: { name: 'an open inspector is not looked for', changes: inspectorAccepted },
  deaf: {
    name: 'SIGUSR1 ignored after the switch',
    changes: [
      ...unproved,
      ...inspectorAccepted,
      ['lib/harden.ts', 'keepSigusr1 = holdSigusr1()', 'keepSigusr1 = false'],
      [COMMIT, 'if (!plan->keep_sigusr1 && ignore_signal(SIGUSR1))\n\t\tend_here(STEP_SIGUSR1);', ''],
      [
        COMMIT,
        'if (restore_signals(mask))\n\t\t\tend_here(STEP_MASK);',
        'if (restore_signals(mask))\n\t\t\tend_here(STEP_MASK);\n\t\tif (!refused)\n\t\t\tignore_signal(SIGUSR1);',
      ],
    ],
  },
  atoi: {
    name: 'ids read by parseInt()',
    changes: [
      ...unproved,
      [OPTIONS, 'Number.isInteger(value) && value >= 0 && value <= LARGEST_ID', 'true'],
      [OPTIONS, "if (value === '')", 'if (false)'],
      [
        ACCOUNTS,
        'const found = isPossible(user) ?',
        'const found = !Number.isInteger(parseInt(user)) && isPossible(user) ?',
      ],
      [
        ACCOUNTS,
        'const found = isPossible(group) ?',
        'const found = !Number.isInteger(parseInt(group)) && isPossible(group) ?',
      ],
      [ACCOUNTS, 'if (!/^[0-9]+$/.test(name))', 'if (false)'],
      [ACCOUNTS, 'usable(Number(name), option, name)', '(parseInt(name) | 0)'],
    ],
  },
  nul: {
    name: 'a NUL byte in a text is let through',
    changes: [[OPTIONS, "if (value.includes('\\0'))", 'if (false)']],
  },
  cut: {
    name: 'the capability text is copied to a buffer of 4 KB',
    changes: [
      [
        'src-native/linux/captext.c',
        'cap_t parsed = cap_from_text(text);',
        'char copied[17 * 256] = {0};\n\tfor (size_t i = 0; text[i] && i < sizeof copied - 1; i++)\n\t\tcopied[i] = text[i];\n\tcap_t parsed = cap_from_text(copied);',
      ],
    ],
  },
  abort: {
    name: 'the process writes its last line itself, as process.abort() does',
    changes: [
      [
        END,
        'writer = may_write() ? start_writer(write_line) : -1;',
        'writer = (int)write(STDERR_FILENO, last_line.text, last_line.length) < 0 ? -1 : -1;',
      ],
    ],
  },
  signal: {
    name: 'the end by SIGABRT alone',
    changes: [[END, 'exit_now(ABORTED);', 'for (;;)\n\t\tpause();']],
  },
  access: {
    name: 'access(2) asked instead of faccessat2(2)',
    changes: [
      [DESCRIPTORS, 'SYS_faccessat2, AT_FDCWD, path, mode, AT_EACCESS)', 'SYS_faccessat, AT_FDCWD, path, mode)'],
    ],
  },
  pipes: {
    name: 'descriptors of all kinds are asked about',
    changes: [
      [DESCRIPTORS, "else if (path[0] == '/' && judge_file(found))", "else if (judge_file(found) || path[0] != '/')"],
      [DESCRIPTORS, 'if (type == S_IFSOCK || type == S_IFIFO)', 'if (type == S_IFSOCK)'],
    ],
  },
  parent: {
    name: 'the rehearsing child reads what the kernel says of its parent',
    changes: [
      [
        REHEARSE,
        'if ((securebits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0)) < 0 ||',
        `char parent[6 + DECIMAL_SIZE + 7] = "/proc/", *end = parent + 6;
	decimal(end, getppid());
	while (*end)
		end++;
	for (unsigned i = 0; i < 8; i++)
		end[i] = "/status"[i];
	if (open(parent, O_RDONLY | O_CLOEXEC) < 0)
		return;
	if ((securebits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0)) < 0 ||`,
      ],
    ],
  },
  killed: {
    name: 'a rehearsal that was killed counts as one',
    changes: [
      ...unproved,
      [CHILD, 'if (!WIFSIGNALED(status))\n\t\treturn 0;', 'return 0;'],
      [REHEARSE, 'if (child > 0 && result == 0 && stage->now.step != STEP_NONE) {', 'if (0) {'],
      [
        LINUX,
        'const { status, securebits, jailed, answers, dumpable, inside } = left',
        'const { securebits, jailed, answers, dumpable, inside } = left; const status = left.status || plan.before.text;',
      ],
    ],
  },
  blind: {
    name: 'an audit that cannot look finds nothing',
    changes: [
      [
        'lib/platform/linux/threads.ts',
        'throw noProc((error as Error).message)',
        "return { source: 'proc', kinds: [], sigusr1: 'ignored' };",
      ],
    ],
  },
  exchange: {
    name: 'that a component can be exchanged is never said',
    changes: [[EXCHANGE, 'inquiry->answer->by = by;', 'inquiry->answer->by = EXCHANGED_BY_NONE;']],
  },
  unanswered: {
    name: 'a question that is not answered counts as a good answer',
    changes: [[EXCHANGE, 'answers[i].error = NOT_ANSWERED;', '']],
  },
  inside: {
    name: 'open directories are looked for in the rehearsal alone',
    changes: [...unproved, directoriesNotCompared],
  },
  sharing: {
    name: 'processes that share the memory are not looked for',
    changes: [
      [CHILDREN, 'return grows_with_us(search, other.tid);', 'return grows_with_us(search, other.tid) && false;'],
    ],
  },
  children: {
    name: 'among its children alone processes that share the memory are looked for',
    changes: [
      [CHILDREN, 'static int refuse_if_shared(', 'static pid_t parent_of(int, pid_t);\n\nstatic int refuse_if_shared('],
      [CHILDREN, 'pid == search->own ? 0', 'pid == search->own || parent_of(search->proc, pid) != search->own ? 0'],
    ],
  },
  headless: {
    name: 'the main thread alone tells whether a process shares the memory',
    changes: [[CHILDREN, 'if (found.size)\n', 'if (found.size >= 0)\n']],
  },
  counted: {
    name: 'a process of two threads is taken for one of a single thread',
    changes: [[CHILDREN, 'tasks.stx_nlink <= 3', 'tasks.stx_nlink <= 4']],
  },
  traced: {
    name: 'the process that answers gives up its permitted capabilities, too',
    changes: [[EXCHANGE, 'held.effective = 0;', 'held = (struct capability_sets){0};']],
  },
  filters: {
    name: 'the seccomp filters of a thread are not compared',
    changes: [
      [COMMIT, 'compare_text(space, tid, space->before, true)', 'compare_text(space, tid, space->before, false)'],
      [COMMIT, 'select_into(&space->before, plan->before, true,', 'select_into(&space->before, plan->before, false,'],
    ],
  },
  terminal: {
    name: 'the terminal is not looked at',
    changes: [
      [
        'lib/platform/linux/hazards.ts',
        "if (!statField(read(scene, '/proc/self/stat'), 7)) return undefined",
        'return undefined',
      ],
    ],
  },
  unforeseen: {
    name: 'what root does at its next start is not looked at',
    changes: [
      [
        'lib/foresight.ts',
        "(each) => isUsers(each) && (each.question.role !== 'socket' || isOpenToOthers(each.question.path)),",
        '() => false,',
      ],
    ],
  },
  unasked: {
    name: 'what `rehearse` names is not asked',
    changes: [
      [
        ENGINE,
        'bind = [] }: NonNullable<typeof rehearse> = rehearse ??',
        'bind = [] }: NonNullable<typeof rehearse> =',
      ],
    ],
  },
  grouped: {
    name: 'what the groups amount to is not looked at',
    changes: [
      [
        'lib/hazards.ts',
        '.map((gid) => wayOfGroup(nameOf(scene, gid)))',
        '.map(() => undefined as [string, string] | undefined)',
      ],
    ],
  },
} satisfies Record<string, Mutant>

export type MutantName = keyof typeof mutants

const run = promisify(execFile)
const checkout = join(__dirname, '../..')

/** The flags of binding.gyp that matter here. */
const defines = [
  'NAPI_VERSION=8',
  'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
  'NODE_ADDON_API_DISABLE_DEPRECATED',
  '_GLIBCXX_ASSERTIONS',
]
const flags = [...defines.map((name) => `-D${name}`), '-fPIC', '-fvisibility=hidden', '-O1', '-w']
const includes = ['-I', nodeHeaders, '-I', join(checkout, 'node_modules/node-addon-api')]
const exceptions = ['-fno-exceptions', '-fno-asynchronous-unwind-tables']

const sources = ['src-native', 'src-native/linux'].flatMap((folder) =>
  readdirSync(join(checkout, folder)).flatMap((file) => (/\.cc?$/.test(file) ? `${folder}/${file}` : [])),
)

const objectOf = (folder: string, source: string) => join(folder, `${basename(source)}.o`)

async function compile(source: string, object: string): Promise<void> {
  // a changed source lies elsewhere, and still finds its headers
  const headers = ['-I', join(checkout, 'src-native/linux'), '-I', join(checkout, 'src-native')]
  if (source.endsWith('.cc'))
    await run('c++', ['-std=c++20', ...flags, ...exceptions, ...includes, ...headers, '-c', source, '-o', object])
  else await run('cc', ['-std=gnu11', ...flags, ...headers, '-c', source, '-o', object])
}

/**
 * What the changes make of a file.
 * @throws Error what is to be exchanged is not in it
 */
export function change(file: string, { changes }: Mutant): string {
  let text = readFileSync(join(checkout, file), 'latin1')
  for (const [changed, from, to] of changes) {
    if (changed !== file) continue
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
    text = text.replaceAll(from, () => to)
  }
  return text
}

let unchanged: Promise<string> | undefined

/** The folder of all object files as they are. */
async function compileUnchanged(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))
  const rest = [...sources]
  const lane = async () => {
    for (let next = rest.shift(); next; next = rest.shift()) await compile(join(checkout, next), objectOf(folder, next))
  }
  await Promise.all([lane(), lane()])
  return folder
}

export const filesOf = ({ changes }: Mutant): string[] => [...new Set(changes.map(([file]) => file))]

/** The main file of a package that has this bug. */
export async function build(mutant: Mutant): Promise<string> {
  unchanged ??= compileUnchanged()
  const objects = await unchanged
  const home = copy()
  const release = join(home, 'build/Release')
  mkdirSync(release, { recursive: true })
  const own: string[] = []
  for (const file of filesOf(mutant)) {
    if (file.startsWith('lib/')) continue
    const place = join(home, 'build', basename(file))
    writeFileSync(place, change(file, mutant), 'latin1')
    await compile(place, objectOf(release, file))
    own.push(file)
  }
  const all = sources.map((source) => objectOf(own.includes(source) ? release : objects, source))
  const exported = `-Wl,--version-script=${join(checkout, 'src-native/exports.map')}`
  await run('cc', ['-shared', ...all, exported, '-l:libcap.a', '-o', join(release, 'privdrop.node')])
  return bundle(mutant, home)
}

/** With what is changed in lib/. */
async function bundle(mutant: Mutant, home: string): Promise<string> {
  const outfile = join(home, 'dist/index.js')
  const changed: Plugin = {
    name: 'changed',
    setup({ onLoad }) {
      for (const file of filesOf(mutant).filter((file) => file.startsWith('lib/')))
        onLoad({ filter: new RegExp(`/${file}$`) }, () => ({ contents: change(file, mutant), loader: 'ts' }))
    },
  }
  const entryPoints = [join(checkout, 'lib/index.ts')]
  const external = ['*/addon']
  await esbuild({
    entryPoints,
    outfile,
    external,
    bundle: true,
    platform: 'node',
    allowOverwrite: true,
    plugins: [changed],
  })
  return outfile
}
