/**
 * Promises: Unchanged or done, and Bounded, of the parking protocol (src-native/linux/park.c), in every interleaving:
 * SPIN checks its model, test/model/park.pml, exhaustively. Each line of the protocol that matters has a mutant of the
 * model, which SPIN refutes by the property that the line is for. And the model matches the source: function by
 * function, both do the same in the same order.
 */
import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { live } from '../live/live'
import { operationsOf, operationsOfModel } from '../model/operations'

const root = join(__dirname, '../..')
const model = readFileSync(join(root, 'test/model/park.pml'), 'utf8')
const source = readFileSync(join(root, 'src-native/linux/park.c'), 'utf8')
const work = mkdtempSync(join(tmpdir(), 'privdrop-'))
process.on('exit', () => rmSync(work, { recursive: true }))
const execute = promisify(execFile)

/* ---- the model is about park.c ---- */

/** Of park.c, and not in the model. */
const left = { securebits_of: 'reads one flag, while every thread is parked' }

t.test('each function of park.c does what the model says, in that order', async (t) => {
  const [wanted, found] = [operationsOfModel(model), operationsOf(source)]
  t.same(
    [...found.keys()].filter((name) => !wanted.has(name)),
    Object.keys(left),
  )
  for (const [name, operations] of wanted) t.same(found.get(name), operations, name)
})

live('park.c touches no atomic variable but by the operations that have a name', ['clang-16'], async (t) => {
  const implicit = (text: string) => {
    const args = [
      '-std=gnu11',
      '-fsyntax-only',
      '-Watomic-implicit-seq-cst',
      `-I${root}/src-native/linux`,
      '-x',
      'c',
      '-',
    ]
    return spawnSync('clang-16', args, { input: text, encoding: 'utf8' }).stderr
  }
  t.equal(implicit(source), '')
  const right = 'atomic_load(&table.slots[i].applied)'
  t.equal(source.split(right).length, 2, 'it is there once')
  t.match(implicit(source.replace(right, 'table.slots[i].applied')), /-Watomic-implicit-seq-cst/)
})

t.test('a change of park.c shows', async (t) => {
  for (const [name, right, wrong] of [
    ['on_signal', 'atomic_fetch_add(&inside, 1);', ''],
    ['stay_while', 'while (atomic_load(&order)', 'if (atomic_load(&order)'],
    [
      'open_table',
      'atomic_store(&done, 1);\n\tatomic_store(&order, STAY);',
      'atomic_store(&order, STAY);\n\tatomic_store(&done, 1);',
    ],
    ['release_every_thread', 'atomic_store(&order, LEAVE)', 'atomic_store(&order, APPLY)'],
    ['park', 'introduce(slot);\n\tcount_me();', 'count_me();\n\tintroduce(slot);'],
  ] as const) {
    t.equal(source.split(right).length, 2, `${right} is there once`)
    const changed = operationsOf(source.replace(right, wrong))
    t.notSame(changed.get(name), operationsOfModel(model).get(name), name)
  }
})

/* ---- SPIN ---- */

interface Size {
  /** Tasks, and how many of them exist from the beginning. */
  TASKS: number
  BORN: number
  TRIES: number
  /** Of commit(), after a refusal. */
  CALLS: number
  /** May a listing miss a task? */
  MAY_MISS: 0 | 1
  FORGED: number
  KILLED: number
  MAY_INSTALL: 0 | 1
}
const small: Size = { TASKS: 3, BORN: 2, TRIES: 2, CALLS: 1, MAY_MISS: 0, FORGED: 0, KILLED: 0, MAY_INSTALL: 0 }

const properties = {
  exact: 'every living task has the new credentials when the first one runs again',
  still: 'no task runs between the line and the release',
  table: 'no task touches a table that is not mapped, or beyond its end',
  unchanged: 'a refusal leaves no task parked, nothing changed, and no signal that kills',
  ends: 'every run ends, and every task leaves the handler',
  own: 'a task speaks for itself alone, and is parked when it has spoken',
  handler: "another handler's signals go to it, and the one that a task installs stays",
  cause: 'nothing ends a process in which no thread was killed or late',
} as const
type Property = keyof typeof properties

/** Which property a text of the checker is about. */
function lostIn(text: string): string | undefined {
  const said = /^pan:1: (.*)/m.exec(text)?.[1] ?? ''
  return /^(?:acceptance cycle|invalid end state)/.test(said)
    ? 'ends'
    : /^assertion violated .*\bP_(\w+)/.exec(said)?.[1]
}

interface Verdict {
  errors: number
  states: number
  text: string
  property: string | undefined
  /** The last steps that lead there. */
  trace: string
}

/**
 * All interleavings of a model; `fair`: whatever can go on does at last, which it takes to say that something comes. Not by gcc's
 * -O2: its checker finds fewer states than that of -O0, of -O1, and of clang.
 */
async function check(name: string, text: string, size: Size, fair: boolean, level = '-O0'): Promise<Verdict> {
  const cwd = join(work, name.replace(/\W+/g, '-'))
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'park.pml'), text)
  const run = async (program: string, ...args: string[]) => {
    const { stdout } = await execute(program, args, { cwd, maxBuffer: 2 ** 26 })
    return stdout
  }
  const defines = [...Object.entries(size).map(([key, value]) => `-D${key}=${value}`), ...(fair ? ['-DFAIR'] : [])]
  await run('spin', '-a', ...defines, 'park.pml')
  const kind = fair ? ['-DNFAIR=3'] : ['-DSAFETY', '-DNOCLAIM']
  await run('gcc', '-w', level, ...kind, '-DMEMLIM=4000', '-o', 'pan', 'pan.c')
  const output = await run('./pan', '-m100000', ...(fair ? ['-a', '-f'] : []))
  const errors = Number(/errors: (\d+)/.exec(output)?.[1])
  const trace = errors ? await run('spin', '-k', 'park.pml.trail', '-t', '-p', ...defines, 'park.pml') : ''
  return {
    errors,
    states: Number(/(\d+) states, stored/.exec(output)?.[1]),
    text: output,
    property: lostIn(output),
    trace,
  }
}

/** As many at once as there are processors. */
async function each<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const rest = [...all]
  const lane = async () => {
    for (let next = rest.shift(); next; next = rest.shift()) await run(next)
  }
  await Promise.all([lane(), lane()])
}

const complete: [name: string, size: Size, fair: boolean][] = [
  ['four tasks', { ...small, TASKS: 4, BORN: 3 }, false],
  ['anything may happen once to three', { ...small, MAY_MISS: 1, FORGED: 1, KILLED: 1, MAY_INSTALL: 1 }, false],
  ['a second call', { ...small, CALLS: 2, KILLED: 1 }, false],
  ['it ends', small, true],
  ['it ends though a thread is killed', { ...small, TRIES: 1, KILLED: 1 }, true],
]

live('the properties hold in every interleaving', ['spin', 'gcc'], async (t) => {
  await each(complete, async ([name, size, fair]) => {
    const { errors, states, text } = await check(name, model, size, fair, '-O1')
    t.equal(errors, 0, `${name}: ${states} states`)
    t.notMatch(text, /Search not completed|max search depth too small/, `${name}: all of them`)
  })
})

/* ---- the protocol without one of its lines ---- */

interface Mutant {
  name: string
  property: Property
  size?: Partial<Size>
  changes: [from: string, to: string][]
}
const LATER: Partial<Size> = { KILLED: 1, TASKS: 4, BORN: 3, TRIES: 1 }
const GIVEN_BACK = 'give_park_signal_back();\n\t\t'
const RELEASED = 'if\n\t\t:: all -> release_every_thread()\n\t\t:: else\n\t\tfi;\n\t\t'
const COUNTED_IN = 'inside++; /* = if; atomic_fetch_add(&inside, 1) */\n\t'
const mutants: Mutant[] = [
  {
    name: 'the kernel is not asked how many tasks there are',
    property: 'still',
    changes: [['here == present && counted == present &&', 'here == present &&']],
  },
  {
    name: 'the kernel counts after the listing: a parked task is killed in between',
    property: 'still',
    size: { KILLED: 1, MAY_MISS: 1 },
    changes: [
      ['counted = TOTAL; /*', 'skip; /*'],
      ['counted == present && done', 'TOTAL == present && done'],
    ],
  },
  {
    name: 'the kernel counts before the parked are counted',
    property: 'still',
    size: { TRIES: 1 },
    changes: [
      [
        'count_parked_threads(present); /* = count_parked_threads() */\n\t\tcounted = TOTAL;',
        'counted = TOTAL; count_parked_threads(present);',
      ],
    ],
  },
  {
    name: 'another may have parked during the listing',
    property: 'still',
    size: LATER,
    changes: [['all = (here == present)', 'all = true']],
  },
  {
    name: 'the parked are not looked for in the listing',
    property: 'still',
    size: { KILLED: 1 },
    changes: [[':: here == present && counted', ':: counted']],
  },
  {
    name: 'a parked task may not have counted itself yet',
    property: 'cause',
    changes: [['counted == present && done == present ->', 'counted == present ->']],
  },
  {
    name: 'the generation is not compared',
    property: 'table',
    changes: [[':: ticket != 0 && ticket == generation', ':: ticket != 0']],
  },
  {
    name: 'generation 0 is one like others',
    property: 'table',
    size: { FORGED: 1 },
    changes: [[':: ticket != 0 && ticket == generation', ':: ticket == generation']],
  },
  {
    name: 'the generation is not withdrawn',
    property: 'table',
    changes: [['generation = 0; /*', 'skip; /*']],
  },
  {
    name: 'a forged index beyond the table is taken',
    property: 'table',
    size: { FORGED: 1 },
    changes: [[':: index < CAPACITY ->\n\t\tatomic', ':: index < REJECTED ->\n\t\tatomic']],
  },
  {
    name: "a forged index of another task's slot is taken",
    property: 'own',
    size: { FORGED: 1, BORN: 3 },
    changes: [['slot_tid[SLOT(table, index)] == me &&', 'true &&']],
  },
  {
    name: 'a task counts itself in only when the generation is right',
    property: 'table',
    changes: [
      [COUNTED_IN, ''],
      ['&& ticket == generation', '&& ticket == generation -> goto right'],
      ['ticket = 0\n\t}\n\tif', 'ticket = 0\n\t}\nright:\tinside++;\n\tif'],
    ],
  },
  {
    name: 'the table goes while tasks are inside',
    property: 'table',
    changes: [[':: left -> unmap()', ':: true -> unmap()']],
  },
  {
    name: 'the next try begins while tasks are inside',
    property: 'cause',
    changes: [
      [':: left && serial < TRIES', ':: serial < TRIES'],
      [':: !left -> break', ':: !left'],
    ],
  },
  {
    name: 'the next call begins while tasks are inside',
    property: 'cause',
    size: { CALLS: 2 },
    changes: [
      ['have_all_left(); /* = if; have_all_left() */\n\tdo', 'do'],
      [':: left && serial < TRIES', ':: serial < TRIES'],
    ],
  },
  {
    name: 'the release wakes no task',
    property: 'ends',
    changes: [['wake(); /* = futex_wake_all(&order) */\n\thave', 'have']],
  },
  {
    name: 'a task sleeps without looking at the order again',
    property: 'ends',
    changes: [[':: atomic { order == present -> asleep[me] = true };', ':: order == present -> asleep[me] = true;']],
  },
  {
    name: 'a try has no limit',
    property: 'ends',
    changes: [[':: TIME_IS_UP -> all = false; break\n', '']],
  },
  {
    name: 'the release has no limit',
    property: 'ends',
    size: { KILLED: 1, TRIES: 1 },
    changes: [[':: left = false /* = if; futex_wait(&inside, still, 10) */\n', '']],
  },
  {
    name: 'the list has no limit',
    property: 'ends',
    size: { KILLED: 1, TRIES: 1 },
    changes: [[':: timed_out = true /* = await() */\n', '']],
  },
  {
    name: 'a task that has not applied the list is not looked for',
    property: 'exact',
    changes: [[':: parked[SLOT(table, slot)] && !applied[SLOT(table, slot)] ->', ':: false ->']],
  },
  {
    name: 'a task goes when it has applied the list',
    property: 'still',
    changes: [['stay_while(APPLY) /*', 'skip /*']],
  },
  {
    name: 'a task that is released applies the list',
    property: 'unchanged',
    changes: [[':: order == APPLY -> /* = if; atomic_load(&order) */', ':: true ->']],
  },
  {
    name: 'the signal is given back without being discarded',
    property: 'unchanged',
    changes: [[':: foreign == DEFAULT -> replace_ours(IGNORE)', ':: false -> replace_ours(IGNORE)']],
  },
  {
    name: 'the release comes before the signal is given back',
    property: 'handler',
    size: { MAY_INSTALL: 1 },
    changes: [[GIVEN_BACK + RELEASED, RELEASED + GIVEN_BACK]],
  },
  {
    name: 'the handler that a task has installed is not put back',
    property: 'handler',
    size: { MAY_INSTALL: 1 },
    changes: [[':: replaced == INSTALLED -> action = replaced', ':: false -> action = replaced']],
  },
  {
    name: 'the signal is taken before its handler is known',
    property: 'handler',
    changes: [
      ['foreign = action; /* = if; signal', 'skip; /* = if; signal'],
      ['d_step { foreign = action; action = OURS }', 'action = OURS; foreign = DEFAULT'],
    ],
  },
]

t.test('each property is lost by some mutant', async (t) => {
  for (const property of Object.keys(properties))
    t.ok(
      mutants.some((mutant) => mutant.property === property),
      property,
    )
})

async function checkMutant(t: Test, { name, property, size, changes }: Mutant): Promise<void> {
  let text = model
  for (const [from, to] of changes) {
    t.equal(text.split(from).length, 2, `it is there once: ${from}`)
    text = text.replace(from, to)
  }
  const {
    errors,
    states,
    property: lost,
    text: output,
    trace,
  } = await check(name, text, { ...small, ...size }, property === 'ends')
  t.equal(errors, 1, `${name}: ${states} states`)
  t.equal(lost, property, /^pan:1: .*/m.exec(output)?.[0].slice(0, 200) ?? '')
  t.match(trace, property === 'ends' ? /START OF CYCLE|#processes/ : /assertion violated/, 'with a trace')
}

live('each line is needed', ['spin', 'gcc'], async (t) => {
  await each(mutants, (mutant) => checkMutant(t, mutant))
})

live('each outcome is reached', ['spin', 'gcc'], async (t) => {
  for (const outcome of ['outcome = DONE', 'outcome = REFUSED', 'outcome = ENDED']) {
    t.equal(model.split(outcome).length, 2, 'it is there once')
    const { text } = await check(outcome, model.replace(outcome, `${outcome}; assert(false)`), small, false)
    t.match(text, /assertion violated 0/, outcome)
  }
})
