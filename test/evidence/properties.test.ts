/**
 * Promises: Exact, and Plain. What a caller may ask for is written down here a second time, briefly, and both judge the
 * values that fast-check makes. Every error is a HardenError with a code and a remedy, unless the value itself has
 * thrown; test/options.test.ts has the mistakes that people make. Values are different each time; SEED repeats them.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { resolve } from '../../lib/accounts'
import { HardenError } from '../../lib/errors'
import { readSecurityConfig } from '../../lib/momentum'
import { native } from '../../lib/native'
import { type HardenOptions, validate } from '../../lib/options'
import { plan } from '../../lib/plan'
import { capabilityNames, kernelMask, parseAmbient } from '../../lib/platform/linux/capabilities'
import { configuration, ecuser, file, slip } from '../ecelerity'
import { live } from '../live/live'
import { readByTheBook } from './reader'

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)
t.comment(`SEED=${seed}`)

function holds<Values extends [unknown, ...unknown[]]>(
  numRuns: number,
  arbitraries: { [Index in keyof Values]: fc.Arbitrary<Values[Index]> },
  property: (...values: Values) => boolean,
): void {
  fc.assert(fc.property(...arbitraries, property), { seed, numRuns })
}

/** What it throws: 'CODE option', of a HardenError that has all that it must have; else what it returns. */
function outcome<T>(call: () => T): T | string {
  try {
    return call()
  } catch (error) {
    if (!(error instanceof HardenError)) throw new Error('not a HardenError', { cause: error })
    const { code, option, message, remedy, others = [] } = error
    // plan() lists the other mistakes, each on a line
    const ends = [remedy, ...others.map(({ remedy }) => remedy)].map((remedy) => ` Remedy: ${remedy}.`)
    const lines = message.split('\n')
    const isComplete = (end: string, index: number) => lines[index]?.endsWith(end) && lines[index].length <= 1000
    if (!remedy || lines.length !== ends.length || !ends.every(isComplete))
      throw new Error(`what it says is not complete: ${code}: ${message}`)
    return `${code} ${option}`
  }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/* ---- the model: undefined, or how it is refused ---- */

type Fault = string | undefined
type Judge = (value: unknown, option: string) => Fault

const first = (faults: Iterable<Fault>): Fault => [...faults].find(Boolean)
const ancestors = (value: object): number => {
  const parent: unknown = Object.getPrototypeOf(value)
  return parent === null ? 0 : 1 + ancestors(parent as object)
}
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && ancestors(value) < 2

const [type, wrong] = ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE'] as const
const string: Judge = (value, option) =>
  typeof value !== 'string' ? `${type} ${option}` : value.split('\0').length > 1 ? `${wrong} ${option}` : undefined
const boolean: Judge = (value, option) => (value === true || value === false ? undefined : `${type} ${option}`)
const absolute: Judge = (value, option) =>
  string(value, option) ?? (String(value).startsWith('/') ? undefined : `${wrong} ${option}`)
const whole =
  (least: number, most: number): Judge =>
  (value, option) =>
    typeof value !== 'number'
      ? `${type} ${option}`
      : Math.floor(value) === value && value >= least && value <= most
        ? undefined
        : `${wrong} ${option}`
const id: Judge = (value, option) =>
  typeof value === 'string'
    ? (string(value, option) ?? (value === '' ? `${wrong} ${option}` : undefined))
    : whole(0, 2 ** 32 - 2)(value, option)
const listOf =
  (most: number, judge: Judge): Judge =>
  (value, option) =>
    !Array.isArray(value)
      ? `${type} ${option}`
      : value.length > most
        ? `${wrong} ${option}`
        : first(Array.from(value, (item, index) => judge(item, `${option}[${index}]`)))
const recordOf =
  (judges: Record<string, Judge>, path: (key: string) => string): Judge =>
  (value, option) =>
    isRecord(value)
      ? first(
          Object.keys(value).map((key) => {
            const judge = new Map(Object.entries(judges)).get(key)
            if (!judge) return `${wrong} ${path(key.slice(0, 64))}`
            return value[key] === undefined ? undefined : judge(value[key], path(key))
          }),
        )
      : `${type} ${option}`
const files = listOf(1024, absolute)
const judges: Record<string, Judge> = {
  user: id,
  group: id,
  supplementalGroups: listOf(65536, id),
  capabilities: string,
  privileges: string,
  ambientCapabilities: string,
  chroot: absolute,
  noNewPrivileges: boolean,
  allowInspector: boolean,
  rehearse: recordOf({ read: files, write: files, bind: listOf(1024, whole(1, 65535)) }, (key) => `rehearse.${key}`),
}
const judge = (options: unknown): Fault => recordOf(judges, (key) => key)(options, 'options')

/* ---- values ---- */

const anything = fc.anything({
  ...{ withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withSet: true, withNullPrototype: true },
  ...{ withObjectString: true, withSparseArray: true, withTypedArray: true, withUnicodeString: true },
})
const number = fc.oneof(
  fc.nat(2 ** 31 - 1),
  fc.double(),
  fc.maxSafeInteger(),
  fc.constantFrom(0, -0, -1, 65535, 65536, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32),
)
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '/', '/srv', 'srv', 'nobody', '0', '\0', '/\0', 'cap_net_raw+ep'),
)
const odd = fc.oneof(
  anything,
  fc.constantFrom(Symbol('x'), () => 'nobody', class {}, globalThis, Object.create({ user: 'nobody' }), new Error('x')),
  anything.map((value) => Object.create(null, { user: { value, enumerable: true } })),
  fc.object().map((target) => new Proxy(target, {})),
)
const value = fc.oneof(
  number,
  text,
  fc.boolean(),
  odd,
  fc.array(fc.oneof(number, text), { maxLength: 4 }),
  fc.constant(undefined),
)
const names = Object.keys(judges)
const key = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...names) }, fc.string())
const rehearse = fc.dictionary(fc.oneof(fc.constantFrom('read', 'write', 'bind'), fc.string()), value)
const options = fc.oneof(
  { weight: 9, arbitrary: fc.dictionary(key, fc.oneof({ weight: 4, arbitrary: value }, rehearse), { maxKeys: 3 }) },
  odd,
)

t.test('whatever the options are: refused as they should be, or copied', async () => {
  holds(50_000, [options], (given) => {
    const said = outcome(() => validate(given))
    const fault = judge(given)
    return fault === undefined ? typeof said === 'object' : said === fault
  })
})

t.test('each option by itself, with whatever value', async () => {
  for (const name of names)
    holds(5000, [fc.oneof(value, rehearse)], (given) => {
      const said = outcome(() => validate({ [name]: given }))
      return typeof said === 'object' ? judge({ [name]: given }) === undefined : said === judge({ [name]: given })
    })
})

t.test('numbers are ids from 0 to 4294967294, and nothing else is', async () => {
  holds(20_000, [number], (given) => {
    const said = outcome(() => resolve(validate({ user: given, group: given, supplementalGroups: [given] }), native()))
    if (!(given >= 0 && given < 2 ** 32 - 1 && given % 1 === 0)) return said === `${wrong} user`
    return same(said, { uid: given, gid: given, groups: [given] })
  })
})

/* ---- names ---- */

/** getent(1): name, number */
function database(name: 'passwd' | 'group'): Map<string, number[]> {
  const lines = execFileSync('getent', [name], { encoding: 'utf8' }).split('\n').slice(0, -1)
  return new Map(
    lines.reverse().map((line) => {
      const [account = '', , id, group] = line.split(':')
      return [account, [Number(id), Number(group)]]
    }),
  )
}
const users = database('passwd')
const groups = database('group')
const word = fc
  .oneof(
    fc.constantFrom(...users.keys(), ...groups.keys()),
    fc.constantFrom(...users.keys()).map((name) => name.toUpperCase()),
    fc.tuple(fc.constantFrom(...users.keys()), fc.constantFrom(' ', '\n', ':', 'x')).map((parts) => parts.join('')),
    fc.nat().map(String),
    fc
      .tuple(fc.constantFrom('0', '00', '+', '-', '0x', ' ', ''), fc.nat(), fc.constantFrom('', 'e3', '.0', ' ', 'n'))
      .map((parts) => parts.join('')),
    fc.constantFrom('4294967294', '4294967295', '4294967296', '18446744073709551616', '٣', '１', '-1'),
    fc.string({ minLength: 1 }).map((text) => text.replaceAll('\0', '')),
  )
  .filter((text) => text !== '')

function idOf(accounts: Map<string, number[]>, name: string, option: string): number | string {
  const [known] = accounts.get(name) ?? []
  if (known !== undefined) return known
  if ([...name].some((letter) => !'0123456789'.includes(letter))) return `ERR_UNKNOWN_CREDENTIAL ${option}`
  return BigInt(name) < 2n ** 32n - 1n ? Number(name) : `${wrong} ${option}`
}

t.test('a string is a name first, and an id only if it is all digits', async () => {
  holds(5000, [word, word], (user, group) => {
    const [uid, gid] = [idOf(users, user, 'user'), idOf(groups, group, 'group')]
    const fault = [uid, gid].find((found) => typeof found === 'string')
    return same(
      outcome(() => resolve({ user, group }, native())),
      fault ?? { uid, gid },
    )
  })
})

t.test('the group is the primary one of the account, else it has to be said', async () => {
  holds(2000, [fc.oneof(word, fc.constantFrom(...[...users.values()].map(([uid]) => uid as number)))], (user) => {
    const uid = typeof user === 'number' ? user : idOf(users, user, 'user')
    // by its name, else the first that has this number
    const [, gid] = users.get(String(user)) ?? [...users.values()].reverse().find(([known]) => known === uid) ?? []
    const wanted = typeof uid === 'string' ? uid : gid === undefined ? `${wrong} group` : { uid, gid }
    return same(
      outcome(() => resolve({ user }, native())),
      wanted,
    )
  })
})

t.test('supplementary groups are a set', async () => {
  holds(
    2000,
    [fc.array(fc.oneof(fc.nat(2 ** 32 - 2), fc.constantFrom(...groups.keys())), { maxLength: 40 })],
    (list) => {
      const ids = new Set(list.map((group) => (typeof group === 'number' ? group : groups.get(group)?.[0])) as number[])
      const found = outcome(() => resolve(validate({ supplementalGroups: list }), native()))
      return (
        typeof found === 'object' &&
        same(
          found.groups,
          [...ids].sort((a, b) => Number(a > b) - Number(a < b)),
        )
      )
    },
  )
})

/* ---- capabilities ---- */

const kernel = capabilityNames(kernelMask())
const chosen = fc.subarray(kernel)
const separator = fc.constantFrom(' ', ',', ', ', '\n', ' ,,\t')
const maskOf = (names: readonly string[]) => names.reduce((set, name) => set | (1n << BigInt(kernel.indexOf(name))), 0n)

t.test('ambient ones are permitted ones', async () => {
  holds(
    10_000,
    [
      chosen,
      fc.array(fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...kernel) }, fc.constantFrom('x', 'CAP_KILL', '13'))),
      separator,
    ],
    (permitted, ambient, between) => {
      const said = outcome(() => parseAmbient(ambient.join(between), maskOf(permitted)))
      const right = ambient.every((name) => permitted.includes(name))
      return right ? said === maskOf(ambient) : said === 'ERR_HARDEN_CAPABILITIES ambientCapabilities'
    },
  )
})

live('the sets of a plan are those that were asked for, and no others', ['root'], async () => {
  const user = { user: 65534, group: 65534 }
  // of those that a container leaves to root
  const bounding = BigInt(`0x${/CapBnd:\t(.*)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]}`)
  const some = fc.subarray(capabilityNames(bounding))
  holds(200, [some, some, some, some], (permitted, effective, inheritable, ambient) => {
    const clause = (names: string[], flag: string) => (names.length ? `${names}+${flag}` : '')
    const within = (names: string[]) => names.filter((name) => permitted.includes(name))
    const [active, passed] = [within(effective), within(ambient)]
    const capabilities = [clause(permitted, 'p'), clause(active, 'e'), clause(inheritable, 'i')].join(' ')
    const made = plan({ ...user, capabilities, ambientCapabilities: passed.join() })
    const either = (...sets: string[][]) => kernel.filter((name) => sets.some((set) => set.includes(name)))
    return same(made.capabilities, {
      permitted: either(permitted),
      effective: either(active),
      inheritable: either(inheritable, passed),
      bounding: either(permitted, inheritable, passed),
      ambient: either(passed),
    })
  })
})

/* ---- values that defend themselves ---- */

t.test('what a value itself throws is what is thrown; nothing else is ever thrown but a HardenError', async () => {
  const traps = ['get', 'has', 'ownKeys', 'getOwnPropertyDescriptor', 'getPrototypeOf', 'isExtensible'] as const
  const target = fc.constantFrom({ user: 'nobody' }, [], ['nobody'], () => {}, { read: ['/'] })
  holds(
    20_000,
    [fc.constantFrom('options', ...names), target, fc.subarray([...traps]), fc.nat(9)],
    (name, of, set, delay) => {
      const mine = new RangeError('mine')
      let left = delay
      const handler = Object.fromEntries(
        set.map((trap) => [
          trap,
          (...args: [object]) => {
            if (left-- === 0) throw mine
            return (Reflect[trap] as (...args: unknown[]) => unknown)(...args)
          },
        ]),
      )
      const proxy = new Proxy(of, handler)
      try {
        outcome(() => validate(name === 'options' ? proxy : { [name]: proxy }))
      } catch (error) {
        return (error as Error).cause === mine
      }
      return true
    },
  )
})

t.test('nor by plan(), whatever it is given', async () => {
  holds(2000, [fc.dictionary(key, value, { maxKeys: 2 })], (given) => {
    // a chroot to somewhere is another matter, and so is a rehearsal of a thousand files
    const said = outcome(() => plan({ user: 65534, group: 65534, ...given, chroot: undefined } as never))
    return typeof said === 'object' || said.startsWith('ERR_')
  })
})

/* ---- a configuration file, and the grammar by the book (reader.ts) ---- */

/** What the reader makes of a file: its options, or undefined for the one error, with the place. */
function readFile(path: string): object | undefined {
  try {
    return readSecurityConfig(path, { searchPath: [] })
  } catch (error) {
    if (!(error instanceof HardenError)) throw error
    const { code, place = '', message, remedy } = error
    if (code !== 'ERR_HARDEN_CONFIG' || !/:\d+:\d+$/.test(place) || !message.startsWith(`${place}: `) || !remedy)
      throw new Error(`what it says is not complete: ${message.slice(0, 200)}`)
    return undefined
  }
}

t.test('a file says what the book says, and so does what a slip of the finger makes of it', async (t) => {
  const path = join(t.testdir(), 'ecelerity.conf')
  const counts = { read: 0, refused: 0 }
  const agrees = (text: string): boolean => {
    writeFileSync(path, text)
    const wanted = readByTheBook(readFileSync(path, 'utf8'))
    counts[wanted ? 'read' : 'refused']++
    return isDeepStrictEqual(readFile(path), wanted && { ...ecuser, ...wanted })
  }
  holds(5000, [file], ({ text, options }) => agrees(text) && isDeepStrictEqual(readFile(path), options))
  // an include that something has made of it leads nowhere, and is not in the book
  holds(10_000, [file, fc.array(slip, { minLength: 1, maxLength: 3 })], ({ text }, slips) =>
    agrees(slips.reduce((text, slip) => slip(text), text).replace(/include|local_changes_file/gi, 'x')),
  )
  t.comment(`${counts.read} read, ${counts.refused} refused`)
  t.ok(counts.read > 5000 && counts.refused > 2000)
})

t.test('several files say what they were made to say', async (t) => {
  holds(1000, [configuration], ({ files, options }) => {
    const path = t.testdir(files)
    const read = readSecurityConfig(join(path, 'main.conf'), { cluster: join(path, 'cluster.conf'), searchPath: [] })
    return isDeepStrictEqual(read, options)
  })
})

t.test('ten megabytes of whatever kind are options, or the one error with its place', async (t) => {
  const path = join(t.testdir(), 'ecelerity.conf')
  const times = (text: string) => text.repeat(10_000_000 / text.length)
  const outcomeOf = (text: string) => {
    writeFileSync(path, text)
    return readFile(path)
  }
  const user = { ...ecuser, user: 'a' }
  const valid = ['a [ ] ', 'a = { } ', 'a = ( , ) ', 'a = "\\"" ', 'a = /b/c ', 'a = /(b)/ ', 'security { } ']
  valid.push('security { user = a } ', 'security = { user = a } ', '\n')
  for (const text of valid) t.strictSame(outcomeOf(`security { user = a } ${times(text)}`), user, text)
  const wrong = [
    'a = { ',
    'a [ b = ',
    ',',
    'a = (,',
    '\\',
    'a = "\\',
    "a = '\\",
    '/',
    'a = /(\\',
    'a = (/(',
    'a = ( /[[[[',
  ]
  wrong.push('security = { ', 'a { security { ', 'a = { security { } } ', 'local_changes_file = a ', 'include = ')
  wrong.push('include "ecelerity.conf" ', 'include "file:///ecelerity.conf" ', '\ufeff', '\u200b', '\u00a0')
  for (const text of wrong) t.equal(outcomeOf(`security { user = a } ${times(text)}`), undefined, text)
  for (const word of [
    `"${times('\\"')}"`,
    `/(${times('\\/')}/`,
    `/${times('a/')}`,
    `( ${times('/b(c)/ ,')} )`,
    `( ${times('d,')} )`,
    `[ ${times('/e = f ')} ]`,
  ])
    t.strictSame(outcomeOf(`a = ${word} security { user = a }`), user, word.slice(0, 9))
  t.strictSame(outcomeOf(`security { ${times('user = a ')}}`), user)
  const { supplementalGroups } = outcomeOf(`security { supplemental_groups = ( ${times('g,')} ) }`) as HardenOptions
  t.equal(supplementalGroups?.length, 5_000_000)
  for (const option of ['include', 'local_changes_file ='])
    t.equal(outcomeOf(`security { } ${option} "${times('{NODENAME}')}"`), undefined, option)
})
