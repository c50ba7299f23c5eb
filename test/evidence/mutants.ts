/**
 * Copies of this package, each with one bug put in on purpose: exact text exchanged in src-native/ or in dist/. Most bugs
 * would be found out by the rehearsal or by the read-back, and never show; what is to show is let through by a copy that has
 * lost its proof as well. The unchanged part of the addon is compiled once.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { nodeHeaders } from '../live/live'
import { copy } from '../live/subject'

type Change = readonly [file: string, from: string, to: string]

export interface Mutant {
  readonly name: string
  readonly changes: readonly Change[]
}

const STEPS = 'src-native/linux/steps.c'
const COMMIT = 'src-native/linux/commit.c'
const THREADS = 'src-native/linux/every_thread.c'
const ATTEMPTS = 'src-native/linux/attempts.c'
const REHEARSE = 'src-native/linux/rehearse.c'
const HAZARDS = 'src-native/linux/hazards.c'
const LINUX = 'dist/platform/linux.js'
const PLAN = 'dist/platform/linux/plan.js'
const OPTIONS = 'dist/options.js'
const ACCOUNTS = 'dist/accounts.js'

/** Neither the rehearsal tries to get back, nor does anybody compare what the kernel says with what was asked for. */
const unproved: Change[] = [
  [ATTEMPTS, 'if (regains_root(plan)) {', 'if (0 && regains_root(plan)) {'],
  [LINUX, 'function firstDifference(plan, threads, { dumpable }) {', 'function firstDifference() { return'],
  [LINUX, 'function ignoresSigusr1({ tasks: [task] }) {', 'function ignoresSigusr1() { return true'],
]

/** As libpsx does by default (PSX_IGNORE). */
const absentLeftOut: Change[] = [
  [
    THREADS,
    'quiet_ms + 1 : 0;\n\t}\n\treturn 1;\n}\n\n/* Sized by',
    'quiet_ms + 1 : 0;\n\t}\n\treturn 0;\n}\n\n/* Sized by',
  ],
  [
    COMMIT,
    'if (reading->count == reading->capacity)\n\t\treturn -1;',
    'if (reading->count == reading->capacity)\n\t\treturn 0;',
  ],
]

const resultsIgnored: Change = [STEPS, 'return refused(now);', '(void)refused(now);']
const inspectorAccepted: Change = ['dist/inspector.js', 'if (open !== undefined && !allowInspector)', 'if (false)']

const USER = 'if (due(plan, now, STEP_SETRESUID) && syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid))'
const GROUP = 'if (due(plan, now, STEP_SETRESGID) && syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid))'

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
    changes: [
      ...unproved,
      [
        PLAN,
        'setgroups: wanted.groups.join() !== before.groups.join() || (before.groups.length > 0 && maySetGroups),',
        'setgroups: false,',
      ],
    ],
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
    changes: [
      [PLAN, "(0, capabilities_1.parseAmbient)(options.ambientCapabilities ?? '', own.permitted)", 'own.permitted'],
    ],
  },
  capset: {
    name: 'no capset where nothing is retained',
    changes: [...unproved, [PLAN, 'capset: true,', 'capset: (wanted.permitted | wanted.inheritable) !== 0n,']],
  },
  main: {
    name: 'the main thread alone applies the list',
    changes: [
      ...unproved,
      [THREADS, 'apply_here(slot);\n\t\tcount_me();', 'atomic_store(&slot->applied, true);\n\t\tcount_me();'],
    ],
  },
  absent: { name: 'threads that do not come are left out', changes: [...unproved, ...absentLeftOut] },
  ring: {
    name: 'io_uring not looked for, nor its threads',
    changes: [
      ...unproved,
      ...absentLeftOut,
      [HAZARDS, '*kind = said == NO_POLLER ? DESCRIPTOR_PLAIN : DESCRIPTOR_RING;', '*kind = DESCRIPTOR_PLAIN;'],
    ],
  },
  silence: {
    name: 'an io_uring that says nothing is taken for harmless',
    changes: [...unproved, ...absentLeftOut, [HAZARDS, '*kind = said == NO_POLLER ?', '*kind = said != REFUSED ?']],
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
      ['dist/chroot.js', "process.chdir('/');", ''],
    ],
  },
  root: {
    name: "a root directory of a thread's own is not looked for",
    changes: [
      ...unproved,
      [THREADS, 'return syscall(SYS_kcmp, table.slots[0].tid, tid, KCMP_FS, 0, 0) > 0;', 'return tid < 0;'],
    ],
  },
  directory: {
    name: 'open directories are not looked for',
    changes: [
      ...unproved,
      [HAZARDS, 'if (S_ISDIR(found.stx_mode) &&', 'if (0 && S_ISDIR(found.stx_mode) &&'],
      [ATTEMPTS, 'if (chroot && refuse_exits(', 'if (0 && chroot && refuse_exits('],
    ],
  },
  tasks: {
    name: 'the task directory is left open',
    changes: [
      ...unproved,
      [COMMIT, 'if (close(tasks))\n\t\tend_here(STEP_READ_BACK);\n\treading->read_us', 'reading->read_us'],
    ],
  },
  traceable: {
    name: 'made dumpable afterwards, as nginx does',
    changes: [
      ...unproved,
      [
        STEPS,
        'PR_SET_DUMPABLE). */\n\tnow->step = STEP_DUMPABLE;\n\tif (syscall(SYS_prctl, PR_SET_DUMPABLE, 0,',
        'PR_SET_DUMPABLE). */\n\tnow->step = STEP_DUMPABLE;\n\tif (syscall(SYS_prctl, PR_SET_DUMPABLE, 1,',
      ],
    ],
  },
  dumpable: {
    name: 'dumpable left to the kernel',
    changes: [...unproved, [STEPS, 'if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0))', 'if (0)']],
  },
  inspector: { name: 'an open inspector is not looked for', changes: [inspectorAccepted] },
  deaf: {
    name: 'SIGUSR1 ignored after the switch',
    changes: [
      ...unproved,
      inspectorAccepted,
      [COMMIT, 'if (!plan->keep_sigusr1 && ignore_signal(SIGUSR1))\n\t\tend_here(STEP_SIGUSR1);', ''],
      [
        COMMIT,
        'if (restore_signals(mask))\n\t\tend_here(STEP_MASK);\n\tunlock_threads();\n\tif (refused)',
        'if (restore_signals(mask))\n\t\tend_here(STEP_MASK);\n\tif (!refused)\n\t\tignore_signal(SIGUSR1);\n\tunlock_threads();\n\tif (refused)',
      ],
    ],
  },
  atoi: {
    name: 'ids read by parseInt()',
    changes: [
      ...unproved,
      [OPTIONS, 'if (!Number.isInteger(value) || value < 0 || value > exports.LARGEST_ID)', 'if (false)'],
      [OPTIONS, "if (value === '')", 'if (false)'],
      [
        ACCOUNTS,
        'const found = answer(',
        'const found = Number.isInteger(parseInt(arguments[0])) ? undefined : answer(',
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
    name: 'the end by process.abort()',
    changes: [
      [
        LINUX,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: text of the program
        'throw new Error(`${(0, audit_1.describe)(difference)}; the process ends because it is not what was asked for`);',
        'process.abort();',
      ],
    ],
  },
  signal: {
    name: 'the end by SIGABRT alone',
    changes: [['src-native/linux/signals.c', 'syscall(SYS_exit_group, 134);', 'pause();']],
  },
  access: {
    name: 'access(2) asked instead of faccessat2(2)',
    changes: [[ATTEMPTS, 'SYS_faccessat2, AT_FDCWD, path, mode, AT_EACCESS)', 'SYS_faccessat, AT_FDCWD, path, mode)']],
  },
  pipes: {
    name: 'descriptors of all kinds are asked about',
    changes: [[ATTEMPTS, '!(S_ISREG(file.stx_mode) || S_ISCHR(file.stx_mode) || S_ISBLK(file.stx_mode)))', '0)']],
  },
  parent: {
    name: 'the rehearsing child reads what the kernel says of its parent',
    changes: [
      [
        REHEARSE,
        'stage->foreign_count = list_foreign(',
        `char parent[6 + DECIMAL_SIZE + 7] = "/proc/", *end = parent + 6;
	decimal(end, getppid());
	while (*end)
		end++;
	for (unsigned i = 0; i < 8; i++)
		end[i] = "/status"[i];
	if (open(parent, O_RDONLY | O_CLOEXEC) < 0)
		return;
	stage->foreign_count = list_foreign(`,
      ],
    ],
  },
  killed: {
    name: 'a rehearsal that was killed counts as one',
    changes: [
      [REHEARSE, 'if (!WIFSIGNALED(status))\n\t\treturn 0;', 'if (!WIFSIGNALED(status))\n\t\treturn 0;\n\treturn 1;'],
      [REHEARSE, 'close(ends[0]);\n\treturn result;', 'close(ends[0]);\n\treturn result > 0 ? 0 : result;'],
      [LINUX, 'const difference = readable(', 'const difference = undefined && readable('],
    ],
  },
  blind: {
    name: 'an audit that cannot look finds nothing',
    changes: [
      [
        LINUX,
        'if (stat === undefined)\n',
        "if (stat === undefined)\n        return { source: 'proc', threads: [], wanted };\n    if (stat === undefined)\n",
      ],
    ],
  },
  terminal: {
    name: 'the terminal is not looked at',
    changes: [['dist/hazards/dangers.js', 'function terminal() {', 'function terminal() { return;']],
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

const sources = [
  ...['src-native/addon.cc', 'src-native/accounts.c'],
  ...readdirSync(join(checkout, 'src-native/linux')).flatMap((file) =>
    file.endsWith('.c') ? `src-native/linux/${file}` : [],
  ),
]

const objectOf = (folder: string, source: string) => join(folder, `${basename(source)}.o`)

async function compile(source: string, object: string): Promise<void> {
  // what is changed lies elsewhere, and finds its headers all the same
  const headers = ['-I', join(checkout, 'src-native/linux'), '-I', join(checkout, 'src-native')]
  if (source.endsWith('.cc'))
    await run('c++', ['-std=c++20', ...flags, ...exceptions, ...includes, ...headers, '-c', source, '-o', object])
  else await run('cc', ['-std=gnu11', ...flags, ...headers, '-c', source, '-o', object])
}

/** What the changes make of a text. */
function change(text: string, file: string, changes: readonly Change[]): string {
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

/** The main file of a package that has this bug. */
export async function build({ changes }: Mutant): Promise<string> {
  unchanged ??= compileUnchanged()
  const objects = await unchanged
  const home = copy()
  const release = join(home, 'build/Release')
  mkdirSync(release, { recursive: true })
  const own: string[] = []
  for (const file of new Set(changes.map(([file]) => file))) {
    const text = change(readFileSync(join(checkout, file), 'latin1'), file, changes)
    const place = join(home, file.startsWith('dist/') ? file : join('build', basename(file)))
    writeFileSync(place, text, 'latin1')
    if (file.startsWith('dist/')) continue
    await compile(place, objectOf(release, file))
    own.push(file)
  }
  const all = sources.map((source) => objectOf(own.includes(source) ? release : objects, source))
  const exported = `-Wl,--version-script=${join(checkout, 'src-native/exports.map')}`
  await run('cc', ['-shared', ...all, exported, '-l:libcap.a', '-o', join(release, 'privdrop.node')])
  return join(home, 'dist/index.js')
}
