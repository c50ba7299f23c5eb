/**
 * Promises: Exact, and Proved. This package is not its own judge of what a capability text means and what every thread
 * is. The installed libcap judges the texts, in a program that reads the sets bit by bit (oracle.c); getpcaps(8) and
 * ps(1) judge the threads. Texts are different each time; SEED repeats them.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Test } from 'tap'
import { HardenError } from '../../lib/errors'
import type { Masks } from '../../lib/native'
import { plan } from '../../lib/plan'
import { capabilityNames, kernelMask, parseCapabilities } from '../../lib/platform/linux/capabilities'
import { live } from '../live/live'
import { loadThreads, plainNode, type Subject, start } from '../live/subject'

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)
const TEXTS = 100_000

const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
process.on('exit', () => rmSync(folder, { recursive: true }))
chmodSync(folder, 0o755)

/** The sets that libcap reads out of a text, and the text that it makes of them; undefined: EINVAL. */
type Verdict = (Masks & { text: string }) | undefined

let built: string | undefined

function askLibcap(texts: readonly string[]): Verdict[] {
  if (!built) {
    built = join(folder, 'oracle')
    const flags = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-o', built]
    execFileSync('cc', [...flags, join(__dirname, 'oracle.c'), '-lcap'])
  }
  const input = texts.map((text) => `${text}\0`).join('')
  const lines = execFileSync(built, { input, encoding: 'utf8', maxBuffer: 2 ** 30 })
    .split('\n')
    .slice(0, -1)
  if (lines.length !== texts.length) throw new Error(`${texts.length} texts, ${lines.length} answers`)
  return lines.map((line) => {
    if (line === 'EINVAL') return undefined
    const [permitted, effective, inheritable] = line.split(' ', 3).map((set) => BigInt(`0x${set}`))
    return { permitted, effective, inheritable, text: /^(?:\S+ ){3}(.*)$/.exec(line)?.[1] } as Verdict
  })
}

/** linux/capability.h of this machine: names by number, in the kernel's own order. */
function namesOfKernel(): string[] {
  const header = readFileSync('/usr/include/linux/capability.h', 'latin1')
  const names: string[] = []
  for (const [, name = '', number] of header.matchAll(/^#define (CAP_\w+)\s+(\d+)$/gm))
    names[Number(number)] = name.toLowerCase()
  return names
}

/* ---- texts, by the grammar of cap_from_text(3), nearly, and not at all ---- */

const anyCase = (word: string): fc.Arbitrary<string> =>
  fc
    .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
    .map((large) => [...word].map((letter, index) => (large[index] ? letter.toUpperCase() : letter)).join(''))
const cased = (word: string) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(word) }, fc.constant(word.toUpperCase()), anyCase(word))

const names = capabilityNames(kernelMask())
const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...names).chain(cased) },
  { weight: 2, arbitrary: fc.nat(63).map(String) },
  cased('all'),
)
const list = fc.array(name, { minLength: 1, maxLength: 4 }).map((all) => all.join())
const flags = (minLength: number) =>
  fc.array(fc.constantFrom('e', 'i', 'p'), { minLength, maxLength: 3 }).map((all) => all.join(''))
const change = (...operators: string[]) =>
  fc.tuple(fc.constantFrom(...operators), flags(1)).map((parts) => parts.join(''))
const permit = fc.constantFrom('+ep', '=ep', '+p', '+pi', '=eip')
const assign = flags(0).map((all) => `=${all}`)
/** = only comes first. */
const changes = fc
  .tuple(
    fc.oneof({ weight: 4, arbitrary: permit }, change('+', '-'), assign),
    fc.array(change('+', '-'), { maxLength: 2 }),
  )
  .map(([first, more]) => first + more.join(''))
const clause = fc.oneof({ weight: 8, arbitrary: fc.tuple(list, changes).map((parts) => parts.join('')) }, assign)
const space = fc.constantFrom(' ', ' ', ' ', '  ', '\n', '\t', '\r\n', '\v', '\f')
const rowOf = (maxLength: number) =>
  fc
    .tuple(fc.constantFrom('', '', ' '), fc.array(fc.tuple(clause, space), { maxLength }))
    .map(([before, clauses]) => before + clauses.map((parts) => parts.join('')).join(''))
const row = fc.oneof({ weight: 40, arbitrary: rowOf(5) }, rowOf(200))
const valid = fc.tuple(row, clause).map((parts) => parts.join(''))

/** What a slip of the finger makes of it. */
const slip = fc.tuple(
  fc.constantFrom('insert', 'delete', 'repeat', 'swap', 'large', 'cut'),
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.oneof(fc.constantFrom(...' =+-eip,_0cC:;"\u00a0\u2028é'), fc.string({ minLength: 1, maxLength: 1 })),
)
const slipped = fc.tuple(valid, fc.array(slip, { minLength: 1, maxLength: 2 })).map(([text, slips]) =>
  slips.reduce((text, [kind, where, letter]) => {
    const at = Math.floor(where * text.length)
    const [before, here, after] = [text.slice(0, at), text.charAt(at), text.slice(at + 1)]
    switch (kind) {
      case 'insert':
        return before + letter + here + after
      case 'delete':
        return before + after
      case 'repeat':
        return before + here + here + after
      case 'swap':
        return before + after.charAt(0) + here + after.slice(1)
      case 'large':
        return before + here.toUpperCase() + after
      default:
        return before
    }
  }, text),
)
const arbitrary = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: fc.constantFrom(...'=+-eip,al 01369\ncap_kill'), maxLength: 20 }),
)
const texts = fc
  .oneof({ weight: 6, arbitrary: valid }, { weight: 2, arbitrary: slipped }, { weight: 2, arbitrary })
  // a lone surrogate is no text, and what is NUL is refused before (test/options.test.ts)
  .map((text) => Buffer.from(text.replaceAll('\0', ' ')).toString())

/* ---- what is compared ---- */

type Parse = (text: string) => Masks

/** The first that libcap refuses by itself, in the text. */
function wrongClauses(refused: readonly string[]): Map<string, string | undefined> {
  const clauses = refused.map((text) => text.match(/\S+/g) ?? [])
  const unlike = [...new Set(clauses.flat())]
  const alone = new Map(askLibcap(unlike).map((verdict, index) => [unlike[index], verdict]))
  return new Map(refused.map((text, index) => [text, clauses[index]?.find((clause) => !alone.get(clause))]))
}

/** One line for each text of which it says other than libcap; and how many were what. */
function differences(parse: Parse, texts: readonly string[]) {
  const verdicts = askLibcap(texts)
  const wrong = wrongClauses(texts.filter((_, index) => !verdicts[index]))
  const counts = { accepted: 0, refused: 0, beyond: 0 }
  const found = texts.flatMap((text, index) => {
    const verdict = verdicts[index]
    const beyond = verdict && (verdict.effective & ~verdict.permitted) !== 0n
    counts[!verdict ? 'refused' : beyond ? 'beyond' : 'accepted']++
    const atFault = wrong.get(text) ?? text
    const wanted = verdict && !beyond ? words(verdict) : `ERR_HARDEN_CAPABILITIES ${atFault.slice(0, 64)}`
    const said = sayOf(parse, text)
    return said === wanted ? [] : [JSON.stringify({ text, wanted, said })]
  })
  return { found, counts }
}

const words = ({ permitted, effective, inheritable }: Masks) =>
  [permitted, effective, inheritable].map((set) => set.toString(16)).join(' ')

function sayOf(parse: Parse, text: string): string {
  try {
    return words(parse(text))
  } catch (error) {
    if (!(error instanceof HardenError)) return `threw ${error}`
    const { code, option, found, message, remedy } = error
    if (option !== 'capabilities' || !remedy) return `${code} of ${option}`
    // where it says that the clause begins
    const at = Number(/ at character (\d+) /.exec(message)?.[1] ?? 1) - 1
    return `${code} ${found === undefined || text.startsWith(found, at) ? found : `misplaced ${found}`}`
  }
}

function sample(count: number): string[] {
  return fc.sample(texts, { numRuns: count, seed })
}

live(`${TEXTS} texts mean what libcap says`, ['cc', 'libcap'], async (t) => {
  t.comment(`SEED=${seed}`)
  const all = sample(TEXTS)
  const { found, counts } = differences(parseCapabilities, all)
  t.comment(`${counts.accepted} accepted, ${counts.refused} refused, ${counts.beyond} effective beyond permitted`)
  t.comment(
    `${new Set(all).size} different ones, the longest of ${Math.max(...all.map(({ length }) => length))} characters`,
  )
  t.same(found.slice(0, 10), [])
  for (const count of Object.values(counts)) t.ok(count > TEXTS / 20, 'some of each kind')
})

live('and so does the text that libcap makes of them', ['cc', 'libcap'], async (t) => {
  const told = askLibcap(sample(TEXTS / 10)).flatMap((verdict) => (verdict ? [verdict] : []))
  const ours = told.filter(({ effective, permitted }) => !(effective & ~permitted))
  const wrong = ours.filter((verdict) => sayOf(parseCapabilities, verdict.text) !== words(verdict))
  t.same(
    wrong.slice(0, 10).map(({ text }) => text),
    [],
  )
  t.ok(ours.length > 1000)
})

const all = kernelMask()
/** Wrong parsers. */
const mutants: Record<string, Parse> = {
  'the flags in whatever case': (text) => parseCapabilities(text.toLowerCase()),
  'the names in small letters only': (text) => parseCapabilities(text.replace(/[A-Z]+/g, 'x')),
  '= as if it were +': (text) => parseCapabilities(text.replaceAll('=', '+')),
  '- as if it were =': (text) => parseCapabilities(text.replaceAll('-', '=')),
  'only the first clause': (text) => parseCapabilities(text.trim().split(/\s/)[0] as string),
  'only the first name': (text) => parseCapabilities(text.replaceAll(/,[^\s,=+-]+/g, '')),
  'every space a space': (text) => parseCapabilities(text.replace(/\s+/g, ' ')),
  'half of the sets': (text) => eachSet(parseCapabilities(text), (set) => set & 0xffff_ffffn),
  'what the kernel has alone': (text) => eachSet(parseCapabilities(text), (set) => set & all),
  'effective left to permitted': (text) => {
    const masks = parseCapabilities(text)
    return { ...masks, effective: masks.permitted }
  },
  'no inheritable ones': (text) => ({ ...parseCapabilities(text), inheritable: 0n }),
  'nothing is refused': (text) => {
    try {
      return parseCapabilities(text)
    } catch {
      return { permitted: 0n, effective: 0n, inheritable: 0n }
    }
  },
}
const eachSet = (masks: Masks, change: (set: bigint) => bigint): Masks => ({
  permitted: change(masks.permitted),
  effective: change(masks.effective),
  inheritable: change(masks.inheritable),
})

for (const [title, mutant] of Object.entries(mutants))
  live(`a wrong parser is seen: ${title}`, ['cc', 'libcap'], async (t) => {
    t.ok(differences(mutant, sample(5000)).found.length > 0)
  })

live('plan() says so, too', ['cc', 'libcap'], async (t) => {
  const some = sample(300)
  const kernel = kernelMask()
  const parse: Parse = (text) => {
    const { capabilities } = plan({ user: 65534, group: 65534, capabilities: text })
    return eachName(capabilities as NonNullable<typeof capabilities>)
  }
  const wrong = askLibcap(some).flatMap((verdict, index) => {
    const text = some[index] as string
    const said = sayOf(parse, text)
    const refused = !verdict || (verdict.effective & ~verdict.permitted) !== 0n
    // what this kernel does not have it leaves out, and says so
    const right = refused
      ? said.startsWith('ERR_HARDEN_CAPABILITIES ')
      : said === words(eachSet(verdict, (set) => set & kernel))
    return right ? [] : [`${JSON.stringify(text)}: ${said}`]
  })
  t.same(wrong, [])
})

const order = namesOfKernel()
function eachName(sets: Record<'permitted' | 'effective' | 'inheritable', readonly string[]>): Masks {
  const mask = (names: readonly string[]) => names.reduce((set, name) => set | (1n << BigInt(order.indexOf(name))), 0n)
  return { permitted: mask(sets.permitted), effective: mask(sets.effective), inheritable: mask(sets.inheritable) }
}

live('names are those of the kernel, in its order', ['libcap'], async (t) => {
  t.same(names, order.slice(0, names.length))
})

live('and of capsh(1)', ['capsh'], async (t) => {
  const sets = fc.sample(fc.bigInt({ min: 0n, max: kernelMask() }), { numRuns: 100, seed })
  const decode = (set: bigint) => execFileSync('capsh', [`--decode=${set.toString(16)}`], { encoding: 'utf8' }).trim()
  t.same(
    sets.map((set) => capabilityNames(set).join()),
    sets.map((set) => decode(set).replace(/^0x[0-9a-f]{16}=/, '')),
  )
})

/* ---- every thread ---- */

interface Thread {
  tid: number
  name: string
  user: Record<string, number>
  group: Record<string, number>
  groups: number[]
  capabilities: Record<'permitted' | 'effective' | 'inheritable' | 'bounding' | 'ambient', string[]>
}

/** ps(1): tid, four user ids, four group ids, groups, name. By tid. */
function askPs(pid: number): string[] {
  const columns = 'tid,ruid,euid,suid,fuid,rgid,egid,sgid,fgid,supgid,comm'
  const format = columns.split(',').flatMap((column) => ['-o', `${column}=`])
  return execFileSync('ps', ['-L', '-ww', ...format, '-p', String(pid)], { encoding: 'utf8' })
    .split('\n')
    .slice(0, -1)
    .map((line) => line.trim().split(/\s+/).join(' '))
    .sort()
}

/** It shows user and group ids as signed numbers. */
const likePs = ({ tid, name, user, group, groups }: Thread) =>
  [tid, ...[...Object.values(user), ...Object.values(group)].map((id) => id | 0), groups.join() || '-', name].join(' ')

/** getpcaps(8), for each thread: libcap's text; and what is not in the bounding set (!) and what is ambient (^). */
function askGetpcaps(tids: readonly number[]): string[] {
  const lines = (...flags: string[]) =>
    execFileSync('getpcaps', [...flags, ...tids.map(String)], { encoding: 'utf8' })
      .split('\n')
      .slice(0, -1)
  const texts = lines().map((line) => line.replace(/^\d+: */, ''))
  const verdicts = askLibcap(texts)
  const boundingAndAmbient = lines('--iab').map((line) => {
    const marked = (mark: string) =>
      /\[(.*)\]$/
        .exec(line)?.[1]
        ?.split(',')
        .filter((word) => /^[!^%]*/.exec(word)?.[0].includes(mark))
        .map((word) => word.replace(/^[!^%]+/, ''))
    return `${marked('!')};${marked('^')}`
  })
  return tids.map((_, index) => `${words(verdicts[index] as Masks)};${boundingAndAmbient[index]}`)
}

const likeGetpcaps = ({ capabilities }: Thread) => {
  const unbound = names.filter((name) => !capabilities.bounding.includes(name))
  return `${words(eachName(capabilities))};${unbound};${capabilities.ambient}`
}

/** Both audits against both programs. */
async function agree(t: Test, pid: number, own?: Thread[]): Promise<Thread[]> {
  const given = [...plainNode, join(__dirname, '../../dist/cli.js'), 'audit', '--json', String(pid)]
  const { stdout } = spawnSync('env', given, { encoding: 'utf8' })
  const { threads } = JSON.parse(stdout) as { threads: Thread[] }
  for (const said of [threads, ...(own ? [own] : [])]) {
    t.same(said.map(likePs).sort(), askPs(pid), 'ps')
    t.same(said.map(likeGetpcaps), askGetpcaps(said.map(({ tid }) => tid)), 'getpcaps')
  }
  return threads
}

async function agreeOn(t: Test, subject: Subject): Promise<Thread[]> {
  const { report } = await subject.ask('audit')
  return agree(t, subject.pid, report.threads)
}

/** What each thread is, without its number and name. */
const kinds = (threads: readonly Thread[]) =>
  new Set(threads.map(({ tid: _tid, name: _name, ...rest }) => JSON.stringify(rest))).size

const programs = ['root', 'cc', 'libcap', 'getpcaps', 'ps'] as const

for (const [title, options] of [
  ['nothing retained', { user: 'nobody' }],
  ['one permitted and effective', { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }],
  [
    'each set another',
    { user: 'mail', capabilities: 'cap_kill+p cap_net_raw+ep cap_chown+i', supplementalGroups: [4, 8, 100000] },
  ],
  ['ambient ones', { user: 1, group: 2, capabilities: 'cap_kill,cap_net_raw+ep', ambientCapabilities: 'cap_net_raw' }],
  ['user root', { user: 'root', capabilities: 'cap_net_bind_service+ep' }],
  ['user root, all kept', { user: 'root' }],
  ['the largest ids', { user: 4294967294, group: 4294967293, supplementalGroups: [4294967292] }],
] as const)
  live(`a process that was hardened: ${title}`, [...programs], async (t) => {
    const subject = await start(t)
    await subject.ask('warmPool', 4)
    await subject.ask('startWorkers', 1)
    await agreeOn(t, subject)
    await subject.ask('harden', options)
    t.equal(kinds(await agreeOn(t, subject)), 1)
  })

live('threads that differ from one another in every id and set', [...programs], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startMixed')
  const threads = await agreeOn(t, subject)
  t.equal(kinds(threads), 2)
  t.match(
    threads.find((thread) => thread.tid === tid),
    {
      user: { real: 1, effective: 0, saved: 3, fs: 4 },
      group: { real: 5, effective: 6, saved: 7, fs: 8 },
      groups: [9, 10],
      capabilities: {
        effective: ['cap_kill'],
        inheritable: ['cap_chown'],
      },
    },
  )
})

live('a thread that has changed since', [...programs], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  await subject.ask('harden', { user: 'nobody', capabilities: 'cap_setuid+ep' })
  await subject.ask('native', 'startOther')
  t.equal(kinds(await agreeOn(t, subject)), 2)
})

live(
  'a user that never was root; and with groups, ambient capabilities and a bounding set',
  [...programs],
  async (t) => {
    const user = ['--reuid=65534', '--regid=65534']
    for (const more of [
      ['--clear-groups', '--inh-caps=-all'],
      ['--groups=4,8', '--inh-caps=-all,+kill', '--ambient-caps=+kill', '--bounding-set=-net_raw,-chown'],
    ])
      await agreeOn(t, await start(t, { wrapper: ['setpriv', ...user, ...more, '--'] }))
  },
)

live('a process that is no Node', [...programs], async (t) => {
  const sleeper = spawn('sleep', ['1000'], { stdio: 'ignore' })
  t.teardown(() => sleeper.kill('SIGKILL'))
  await once(sleeper, 'spawn')
  t.equal((await agree(t, sleeper.pid as number)).length, 1)
})
