/** Promise: whatever can be wrong with the arguments alone is refused, by code and option, before anything is looked
 * up. */
import { inspect } from 'node:util'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { type HardenError, type Run, show } from '../lib/errors'
import { harden } from '../lib/harden'
import { LARGEST_ID, validate } from '../lib/options'
import { plan } from '../lib/plan'
import { linux } from '../lib/platform/linux'
import { refusal } from './refused'

/** What a table calls a value that may be a megabyte, or a symbol. */
const word = (value: unknown): string =>
  `${typeof value} ${inspect(value, { depth: 1, maxStringLength: 20, maxArrayLength: 2, breakLength: Infinity }).slice(0, 60)}`

const megabyte = 'x'.repeat(1_000_000)
const names = ['user', 'group'] as const
const texts = ['capabilities', 'privileges', 'ambientCapabilities', 'chroot'] as const
const booleans = ['noNewPrivileges', 'allowInspector'] as const
/** What `rehearse` has. */
const files = ['read', 'write'] as const
const kinds = [...files, 'bind'] as const

class Account {
  user = 'nobody'
}

const plainObjects: object[] = [
  {},
  { toString: () => 'nobody', valueOf: () => 1000 },
  { [Symbol.toPrimitive]: () => 'nobody' },
  new Proxy({}, {}),
]
/** Neither a string, a number, a boolean, an array nor a plain object. */
const oddities = [
  null,
  () => 'nobody',
  Symbol('nobody'),
  1000n,
  new Date(0),
  new String('nobody'),
  new Number(1000),
  new Boolean(true),
  new Account(),
  new Map(),
  new Uint8Array([110]),
  /nobody/,
]
const arrays = [[], ['nobody'], [1000]]

t.test('options that are no plain object', async (t) => {
  const wrong = [...oddities, ...arrays, undefined, '', 'nobody', 0, NaN, true, false, new Error('nobody'), validate]
  for (const value of [...wrong, Promise.resolve({}), Object.create({ user: 'nobody' }), new Proxy([], {})]) {
    const error = refusal(() => validate(value))
    t.equal(error.code, 'ERR_INVALID_ARG_TYPE', word(value))
    t.equal(error.option, 'options')
    t.ok(error.remedy)
  }
})

t.test('options of another realm, and without a prototype', async (t) => {
  t.strictSame(
    { ...validate(runInNewContext(`({ user: 'nobody', supplementalGroups: ['mail', 12] })`)) },
    {
      user: 'nobody',
      supplementalGroups: ['mail', 12],
    },
  )
  t.strictSame({ ...validate(Object.assign(Object.create(null), { user: 1000 })) }, { user: 1000 })
})

t.test('an option that does not exist', async (t) => {
  const wrong = ['User', 'uid', 'groups', 'user ', '', '0', 'toString', 'constructor', 'hasOwnProperty', megabyte]
  for (const option of wrong) {
    const error = refusal(() => validate({ user: 'nobody', [option]: 'nobody' }))
    t.equal(error.code, 'ERR_INVALID_ARG_VALUE', word(option))
    t.equal(error.option, option.slice(0, 64))
    t.match(error.message, /^there is no option '/)
    t.ok(error.message.length < 500)
  }
  const list =
    'the options are user, group, supplementalGroups, capabilities, privileges, chroot, ambientCapabilities, noNewPrivileges, rehearse, allowInspector'
  for (const option of ['', '0', 'toString', 'hasOwnProperty', megabyte])
    t.equal(refusal(() => validate({ [option]: 1 })).remedy, list, 'none is near')
  t.equal(refusal(() => validate({ User: undefined })).option, 'User', 'not even as undefined')
  t.equal(refusal(() => validate(JSON.parse('{ "__proto__": { "user": "nobody" } }'))).option, '__proto__')
})

t.test('wrong types', async (t) => {
  const neither = [...oddities, ...plainObjects]
  const noNames = [...neither, ...arrays, true, false]
  const noTexts = [...noNames, 0, 1, NaN]
  const noBooleans = [...neither, ...arrays, 0, 1, '', 'true', 'false']
  const noLists = [...neither, true, '', 'mail', 'mail,adm', 8, new Set([8]), { length: 1, 0: 8 }, [8].values()]
  const table: [string, readonly unknown[]][] = [
    ...names.map((option): [string, unknown[]] => [option, noNames]),
    ...texts.map((option): [string, unknown[]] => [option, noTexts]),
    ...booleans.map((option): [string, unknown[]] => [option, noBooleans]),
    ['supplementalGroups', noLists],
  ]
  for (const [option, values] of table)
    for (const value of values) {
      const error = refusal(() => validate({ [option]: value }))
      t.equal(error.code, 'ERR_INVALID_ARG_TYPE', `${option}: ${word(value)}`)
      t.equal(error.option, option)
      t.ok(error.remedy)
    }
  for (const value of [...noNames, undefined]) {
    const error = refusal(() => validate({ supplementalGroups: [8, value] }))
    t.equal(error.code, 'ERR_INVALID_ARG_TYPE', `supplementalGroups[1]: ${word(value)}`)
    t.equal(error.option, 'supplementalGroups[1]')
    t.ok(error.remedy)
  }
})

t.test('numbers that are no ids', async (t) => {
  const wrong = [
    ...[NaN, Infinity, -Infinity, -1, -0.5, 0.5, 1.5, 4294967294.5, 4294967295, 2 ** 32, 2 ** 32 + 1000],
    ...[2 ** 53, 1e300, Number.MIN_VALUE, -(2 ** 31), -4294967295],
  ]
  for (const id of wrong)
    for (const [option, options] of [
      ['user', { user: id }],
      ['group', { group: id }],
      ['supplementalGroups[2]', { supplementalGroups: [0, 'mail', id] }],
    ] as const) {
      const error = refusal(() => validate(options))
      t.equal(error.code, 'ERR_INVALID_ARG_VALUE', `${option} ${id}`)
      t.equal(error.option, option)
      t.ok(error.remedy)
    }
})

t.test('numbers that are', async (t) => {
  t.equal(LARGEST_ID, 4294967294)
  for (const id of [0, -0, 1, 1000, 2 ** 31 - 1, 2 ** 31, 4294967293, 4294967294])
    t.strictSame(
      { ...validate({ user: id, group: id, supplementalGroups: [id] }) },
      {
        user: id,
        group: id,
        supplementalGroups: [id],
      },
    )
})

t.test('empty strings', async (t) => {
  for (const [option, options] of [
    ['user', { user: '' }],
    ['group', { group: '' }],
    ['supplementalGroups[0]', { supplementalGroups: [''] }],
    ['supplementalGroups[1]', { supplementalGroups: ['mail', '', ''] }],
  ] as const) {
    const error = refusal(() => validate(options))
    t.equal(error.code, 'ERR_INVALID_ARG_VALUE', option)
    t.equal(error.option, option)
    t.ok(error.remedy)
  }
  const none = { capabilities: '', privileges: '', ambientCapabilities: '' }
  t.strictSame({ ...validate(none) }, none, 'mean none')
})

t.test('a NUL byte in any string', async (t) => {
  for (const value of ['\0', 'ro\0ot', 'root\0', '\0root', `${megabyte}\0`])
    for (const [option, options] of [
      ...[...names, ...texts].map((option) => [option, { [option]: value }] as const),
      ['supplementalGroups[1]', { supplementalGroups: [8, value] }],
    ] as const) {
      const error = refusal(() => validate(options))
      t.equal(error.code, 'ERR_INVALID_ARG_VALUE', `${option}: ${word(value)}`)
      t.equal(error.option, option)
      t.ok(error.remedy)
      t.ok(error.message.length < 500)
    }
})

t.test('a root directory is an absolute path, or refused', async (t) => {
  for (const chroot of [
    '',
    '.',
    '..',
    'srv',
    './srv',
    'srv/',
    '~',
    ' /srv',
    '\\srv',
    'C:\\srv',
    'file:///srv',
    megabyte,
  ]) {
    const error = refusal(() => validate({ chroot }))
    t.equal(error.code, 'ERR_INVALID_ARG_VALUE', word(chroot))
    t.equal(error.option, 'chroot')
    t.match(error.message, /absolute/)
    t.match(error.remedy, '/')
    t.ok(error.message.length < 500)
  }
  for (const chroot of ['/', '//', '/srv', '/srv/', '/srv/../etc', '/ ', '/é\n', `/${megabyte}`])
    t.strictSame({ ...validate({ chroot }) }, { chroot }, word(chroot))
})

t.test('however long a value is, the message is short, and soon there', async (t) => {
  const long = [megabyte, '\u{1f4ec}'.repeat(500_000), Array(1_000_000).fill(megabyte)]
  for (const value of long)
    for (const option of [...booleans, 'supplementalGroups', 'rehearse', 'users', 'user', 'capabilities']) {
      if (typeof value === 'string' && (option === 'user' || option === 'capabilities')) continue
      const start = process.hrtime.bigint()
      const error = refusal(() => validate({ [option]: value }))
      t.ok(error.message.length < 500, `${option}: ${word(value)}`)
      t.ok(process.hrtime.bigint() - start < 1_000_000_000n)
    }
  t.equal(validate({ user: megabyte }).user, megabyte, 'whether that exists is for the name service to say')
})

t.test('nor are values that are no strings ever long', async (t) => {
  const long = [
    Symbol(megabyte),
    10n ** 100_000n,
    Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key${index}`, index])),
    Object.defineProperty(() => {}, 'name', { value: megabyte }),
    new Error(megabyte),
    new RegExp(megabyte),
  ]
  for (const value of long) t.ok(show(value).length < 100, word(value))
})

t.test('a value in a message', async (t) => {
  const table: [unknown, string][] = [
    ['nobody', "'nobody'"],
    ['', "''"],
    ["a'b\n\0", '"a\'b\\n\\x00"'],
    ['x'.repeat(64), `'${'x'.repeat(64)}'`],
    ['x'.repeat(65), `'${'x'.repeat(64)}'...`],
    [1.5, '1.5'],
    [-1, '-1'],
    [NaN, 'NaN'],
    [true, 'true'],
    [false, 'false'],
    [null, 'null'],
    [undefined, 'undefined'],
    [[], 'an array'],
    [['nobody'], 'an array'],
    [{}, 'an object'],
    [Object.create(null), 'an object'],
    [new Date(0), 'an object'],
    [() => 'nobody', 'a function'],
    [class {}, 'a function'],
    [Symbol('nobody'), 'a symbol'],
    [1000n, 'a bigint'],
  ]
  for (const [value, text] of table) t.equal(show(value), text, word(value))
})

t.test('no value has a say in its own error message', async (t) => {
  const refuse = (): never => {
    throw new RangeError('in the way')
  }
  const hostile = [
    { [inspect.custom]: refuse },
    {
      get [Symbol.toStringTag](): string {
        return refuse()
      },
    },
    { toString: refuse, valueOf: refuse, [Symbol.toPrimitive]: refuse },
    new Proxy({}, { get: refuse, ownKeys: refuse, getPrototypeOf: refuse, has: refuse }),
    new Proxy(() => {}, { get: refuse, ownKeys: refuse, getPrototypeOf: refuse, has: refuse }),
    Object.defineProperty(() => {}, 'name', { get: refuse }),
    new Proxy([], { get: refuse, ownKeys: refuse, getPrototypeOf: refuse, has: refuse }),
  ]
  for (const user of hostile) {
    let code: unknown
    try {
      validate({ user })
    } catch (error) {
      code = (error as HardenError).code
    }
    t.equal(code, 'ERR_INVALID_ARG_TYPE')
  }
})

t.test('lists of groups', async (t) => {
  const accepted = [[], [0], ['mail', 8, 'mail', 8], Array(65536).fill(1)]
  for (const supplementalGroups of accepted)
    t.strictSame({ ...validate({ supplementalGroups }) }, { supplementalGroups }, `${supplementalGroups.length} groups`)

  const holes = Object.assign(Array(4), { 0: 8, 3: 8 })
  const table: [string, unknown[], string, string][] = [
    ['65537', Array(65537).fill(1), 'ERR_INVALID_ARG_VALUE', 'supplementalGroups'],
    ['70000', Array(70_000).fill('mail'), 'ERR_INVALID_ARG_VALUE', 'supplementalGroups'],
    ['4294967295 holes', Array(4294967295), 'ERR_INVALID_ARG_VALUE', 'supplementalGroups'],
    ['holes', holes, 'ERR_INVALID_ARG_TYPE', 'supplementalGroups[1]'],
    ['only holes', Array(3), 'ERR_INVALID_ARG_TYPE', 'supplementalGroups[0]'],
    ['the last one', [...Array(65535).fill(1), -1], 'ERR_INVALID_ARG_VALUE', 'supplementalGroups[65535]'],
    ['a list in it', [[8]], 'ERR_INVALID_ARG_TYPE', 'supplementalGroups[0]'],
  ]
  for (const [title, supplementalGroups, code, option] of table) {
    const error = refusal(() => validate({ supplementalGroups }))
    t.equal(error.code, code, title)
    t.equal(error.option, option)
    t.ok(error.remedy)
    t.ok(error.message.length < 500)
  }
})

t.test('what to rehearse is a plain object', async (t) => {
  for (const rehearse of [...oddities, ...arrays, '', '/etc/passwd', 0, 25, NaN, true, false]) {
    const error = refusal(() => validate({ rehearse }))
    t.equal(error.code, 'ERR_INVALID_ARG_TYPE', word(rehearse))
    t.equal(error.option, 'rehearse')
    t.match(error.message, /^rehearse must be a plain object, and is /)
    t.ok(error.remedy)
  }
  const foreign = runInNewContext(`({ read: ['/etc/passwd'], bind: [25] })`)
  const bare = Object.assign(Object.create(null), { read: ['/etc/passwd'], bind: [25] })
  for (const rehearse of [foreign, bare])
    t.strictSame({ ...validate({ rehearse }).rehearse }, { read: ['/etc/passwd'], bind: [25] })
})

t.test('what it does not have', async (t) => {
  for (const kind of ['Read', 'execute', 'listen', 'bind ', '', '0', 'toString', 'hasOwnProperty', megabyte])
    for (const value of [['/etc/passwd'], [], undefined]) {
      const error = refusal(() => validate({ rehearse: { read: ['/etc/passwd'], [kind]: value } }))
      t.equal(error.code, 'ERR_INVALID_ARG_VALUE', word(kind))
      t.equal(error.option, `rehearse.${kind.slice(0, 64)}`)
      t.match(error.message, /^rehearse has no '/)
      const meant = new Map([
        ['Read', 'read'],
        ['listen', 'bind'],
        ['bind ', 'bind'],
      ]).get(kind)
      t.equal(error.remedy, meant ? `the list is called '${meant}'` : 'the lists are read, write, bind')
      t.ok(error.message.length < 500)
    }
  const odd = refusal(() => validate(JSON.parse('{ "rehearse": { "__proto__": { "read": ["/etc/passwd"] } } }')))
  t.match(odd, { code: 'ERR_INVALID_ARG_VALUE', option: 'rehearse.__proto__' })
})

t.test('each of what to rehearse is an array', async (t) => {
  const noArrays = [...oddities, ...plainObjects, '', '/etc/passwd', 0, 25, NaN, true, false, new Set(['/etc/passwd'])]
  for (const kind of kinds)
    for (const value of [...noArrays, { length: 1, 0: '/etc/passwd' }, ['/etc/passwd'].values()]) {
      const error = refusal(() => validate({ rehearse: { [kind]: value } }))
      t.equal(error.code, 'ERR_INVALID_ARG_TYPE', `${kind}: ${word(value)}`)
      t.equal(error.option, `rehearse.${kind}`)
      t.match(error.message, `rehearse.${kind} must be an array, and is `)
      t.ok(error.remedy)
    }
})

t.test('what cannot be rehearsed', async (t) => {
  const neither = [...oddities, ...plainObjects, ...arrays, undefined, true, false]
  const holes = Object.assign(Array(3), { 0: '/etc/passwd', 2: '/etc/passwd' })
  const relative = ['', '.', '..', 'etc', './etc', 'etc/', '~', ' /etc', '\\etc', 'C:\\etc', 'file:///etc', megabyte]
  const noPorts = [0, -0, -1, 65536, 65537, 2 ** 32, 2 ** 32 + 25, 2 ** 53, 1.5, 24.999, -25, NaN, Infinity, -Infinity]
  const table: [kinds: readonly string[], code: string, message: RegExp, values: readonly unknown[]][] = [
    [files, 'ERR_INVALID_ARG_TYPE', / must be a string, and is /, [...neither, 0, 25, NaN]],
    [files, 'ERR_INVALID_ARG_VALUE', / contains a NUL byte\./, ['\0', '/\0', '/etc\0/passwd', `/${megabyte}\0`]],
    [files, 'ERR_INVALID_ARG_VALUE', / is not an absolute path\./, relative],
    [['bind'], 'ERR_INVALID_ARG_TYPE', / must be a port number, and is /, [...neither, '', '25', 'smtp', 25n]],
    [['bind'], 'ERR_INVALID_ARG_VALUE', / is not a port\./, noPorts],
  ]
  for (const [kinds, code, message, values] of table)
    for (const kind of kinds)
      for (const value of values) {
        const good = kind === 'bind' ? 25 : '/etc/passwd'
        for (const [index, list] of [[value], [good, value], [good, good, value, good]].entries()) {
          const error = refusal(() => validate({ rehearse: { [kind]: list } }))
          t.equal(error.code, code, `${kind}: ${word(value)}`)
          t.equal(error.option, `rehearse.${kind}[${index}]`)
          t.ok(error.message.startsWith(`rehearse.${kind}[${index}] `))
          t.match(error.message, message)
          t.ok(error.remedy)
          t.ok(error.message.length < 500)
        }
      }
  for (const [kind, list, index] of [
    ['read', holes, 1],
    ['write', holes, 1],
    ['read', Array(3), 0],
    ['bind', Object.assign(Array(3), { 0: 25, 1: 587 }), 2],
  ] as const)
    t.match(
      refusal(() => validate({ rehearse: { [kind]: list } })),
      { code: 'ERR_INVALID_ARG_TYPE', option: `rehearse.${kind}[${index}]`, message: /and is undefined\./ },
      `holes: ${kind}`,
    )
  t.equal(
    refusal(() => validate({ rehearse: { bind: [0], read: ['etc'] } })).option,
    'rehearse.bind[0]',
    'the first of several, as they were written',
  )
})

t.test('what can be', async (t) => {
  const paths = ['/', '//', '/etc/passwd', '/etc/', '/srv/../etc', '/ ', '/é\n', `/${megabyte}`]
  const accepted = [
    {},
    { read: [], write: [], bind: [] },
    { read: undefined, write: undefined, bind: undefined },
    { read: paths, write: paths },
    { read: ['/etc/passwd', '/etc/passwd'] },
    { bind: [1, 25, 25, 1023, 1024, 65535] },
    { bind: [25], write: undefined },
  ]
  for (const rehearse of accepted)
    t.strictSame(
      { ...validate(Object.freeze({ rehearse: Object.freeze(rehearse) })).rehearse },
      rehearse,
      word(rehearse),
    )
})

t.test('what to rehearse has an end', async (t) => {
  for (const kind of kinds) {
    const [most, more] = [1024, 1025].map((length) => Array(length).fill(kind === 'bind' ? 25 : '/'))
    t.equal(validate({ rehearse: { [kind]: most } }).rehearse?.[kind as 'read']?.length, 1024)
    const error = refusal(() => validate({ rehearse: { [kind]: more } }))
    t.match(error, {
      code: 'ERR_INVALID_ARG_VALUE',
      option: `rehearse.${kind}`,
      message: /has 1025 elements, and at most 1024 are possible/,
    })
    t.equal(refusal(() => validate({ rehearse: { [kind]: Array(2 ** 32 - 1) } })).option, `rehearse.${kind}`)
  }
})

t.test('what to rehearse is its own, whatever all objects have been made to carry', async (t) => {
  const prototype = Object.prototype as { bind?: unknown }
  prototype.bind = [0]
  t.teardown(() => delete prototype.bind)
  t.equal(validate({ rehearse: {} }).rehearse?.bind, undefined)
})

t.test('what to rehearse is copied, down to the last port', async (t) => {
  const rehearse: Record<string, unknown[]> = { read: ['/etc/a'], write: ['/var/a'], bind: [25] }
  const options = { rehearse }
  const copy = validate(options)
  const written = { read: ['/etc/a'], write: ['/var/a'], bind: [25] }
  for (const list of Object.values(rehearse)) {
    list[0] = 'changed'
    list.push('more')
  }
  delete rehearse.read
  rehearse.execute = []
  options.rehearse = {}
  t.strictSame({ ...copy.rehearse }, written)

  let reads = 0
  const list = Object.defineProperty([25], 0, { enumerable: true, get: () => (reads++ === 0 ? 25 : -1) })
  let asked = 0
  const once = Object.defineProperty({}, 'bind', { enumerable: true, get: () => (asked++ === 0 ? list : 'other') })
  t.strictSame({ ...validate({ rehearse: once }).rehearse }, { bind: [25] })
  t.strictSame([reads, asked], [1, 1], 'each value is read once')

  const lying = [
    Object.assign([-1], { entries: () => [25].entries() }),
    Object.assign([25], { [Symbol.iterator]: () => [-1].values() }),
  ]
  for (const bind of lying)
    t.match(
      refusal(() => validate({ rehearse: { bind } })),
      { code: 'ERR_INVALID_ARG_VALUE', option: 'rehearse.bind[0]' },
      'what has been checked is what is kept',
    )
})

t.test('undefined is as good as left out, for each option', async (t) => {
  const all = [...names, ...texts, ...booleans, 'supplementalGroups', 'rehearse']
  const copy = validate(Object.fromEntries(all.map((option) => [option, undefined])))
  t.strictSame(Object.values(copy), Array(all.length).fill(undefined))
  t.strictSame({ ...validate({}) }, {})
})

t.test('everything at once is accepted as it was written', async (t) => {
  const options = {
    user: 'smtp',
    group: 25,
    supplementalGroups: ['mail', 12],
    capabilities: 'cap_net_bind_service+ep',
    privileges: 'basic,net_privaddr',
    chroot: '/srv/mail',
    ambientCapabilities: 'cap_net_bind_service',
    noNewPrivileges: false,
    rehearse: { read: ['/etc/mail/key.pem'], write: ['/var/spool/mail'], bind: [25, 587] },
    allowInspector: true,
  }
  const copy = validate(Object.freeze(options))
  t.strictSame({ ...copy, rehearse: { ...copy.rehearse } }, options)
})

t.test('the copy is a copy', async (t) => {
  const options = { user: 'nobody', supplementalGroups: [8] }
  const copy = validate(options)
  options.user = 'root'
  options.supplementalGroups.push(0)
  t.strictSame({ ...copy }, { user: 'nobody', supplementalGroups: [8] })
  const most = Array(65536).fill(8)
  t.not(validate({ supplementalGroups: most }).supplementalGroups, most, 'however long')
})

t.test('a getter is read once', async (t) => {
  const read: Record<string, number> = {}
  const once = (option: string, values: unknown[]) => ({
    enumerable: true,
    get: () => {
      read[option] = (read[option] ?? 0) + 1
      return values[read[option] - 1]
    },
  })
  const options = Object.defineProperties(
    {},
    {
      user: once('user', ['nobody', Symbol('other')]),
      group: once('group', [8, -1]),
      supplementalGroups: once('supplementalGroups', [[8], 'other']),
      capabilities: once('capabilities', ['', 8]),
      noNewPrivileges: once('noNewPrivileges', [true, 'no']),
    },
  )
  t.strictSame(
    { ...validate(options) },
    {
      user: 'nobody',
      group: 8,
      supplementalGroups: [8],
      capabilities: '',
      noNewPrivileges: true,
    },
  )
  t.strictSame(Object.values(read), [1, 1, 1, 1, 1])
})

t.test('what has been checked is what is kept', async (t) => {
  let reads = 0
  const lists = [
    Object.defineProperty([8], 0, { get: () => (reads++ === 0 ? 8 : -1) }),
    Object.assign([-1], { entries: () => [8].entries() }),
    Object.assign([8], { [Symbol.iterator]: () => [-1].values() }),
  ]
  for (const supplementalGroups of lists) {
    let kept: unknown
    try {
      kept = validate({ supplementalGroups }).supplementalGroups
    } catch {
      continue // to refuse it is as good
    }
    t.notSame(kept, [-1])
  }
})

t.test('an error of a getter is passed on', async (t) => {
  const options = {
    get user(): string {
      throw new RangeError('mine')
    },
  }
  t.throws(() => validate(options), { name: 'RangeError', message: 'mine' })
})

t.test('whatever Object.prototype carries is no option', async (t) => {
  const prototype = Object.prototype as Record<string, unknown>
  const polluted = {
    user: 'root',
    supplementalGroups: [0],
    capabilities: 'all=eip',
    noNewPrivileges: false,
    evil: 1,
    rehearse: { bind: [25] },
  }
  t.teardown(() => {
    for (const option of Object.keys(polluted)) delete prototype[option]
  })
  Object.assign(prototype, polluted)
  const { user, supplementalGroups, capabilities, noNewPrivileges, rehearse } = validate({ group: 8 })
  for (const option of Object.keys(polluted)) delete prototype[option]
  t.strictSame([user, supplementalGroups, capabilities, noNewPrivileges, rehearse], Array(5).fill(undefined))
})

t.test('an inherited option is none', async (t) => {
  const inherited = Object.create(Object.assign(Object.create(null), { user: 'root' }))
  t.equal(validate(inherited).user, undefined, 'below an object without a prototype: ignored')
  t.equal(refusal(() => validate(Object.create({ user: 'root' }))).option, 'options', 'below a plain one: refused')
})

t.test('harden() itself refuses the same, first of all', async (t) => {
  for (const value of [undefined, null, [], 'nobody', { usr: 'nobody' }, { user: '', usr: 1 }]) {
    const error = refusal(() => harden(value as never))
    t.match(error.code, /^ERR_INVALID_ARG_(TYPE|VALUE)$/, word(value))
    t.ok(error.option)
    t.ok(error.remedy)
  }
})

t.test('the words that others have for an option', async (t) => {
  const table: [option: string, words: string[]][] = [
    ['user', ['uid', 'username', 'setuid', 'reuid', 'runAsUser', 'run_as', 'User', 'users', 'usr', 'uesr', ' user']],
    ['group', ['gid', 'setgid', 'regid', 'runAsGroup', 'Group', 'grup']],
    ['supplementalGroups', ['groups', 'supplementaryGroups', 'SupplementaryGroups', 'setgroups', 'initgroups']],
    ['supplementalGroups', ['supplemental_groups', 'supplementalGroup', 'suplementalGroups']],
    ['capabilities', ['caps', 'cap', 'capability', 'Capabilities', 'capabilites', 'cap_add', 'CapabilityBoundingSet']],
    ['privileges', ['privs', 'privilege', 'Privileges']],
    ['chroot', ['root', 'chrootPath', 'RootDirectory', 'chroot-dir', 'chrot']],
    ['ambientCapabilities', ['ambient', 'AmbientCapabilities', 'ambientCaps', 'ambient_capabilites']],
    ['noNewPrivileges', ['noNewPrivs', 'no_new_privs', 'NoNewPrivileges', 'noNewPrivilege']],
    ['rehearse', ['rehearsal', 'reherse', 'verify']],
    ['allowInspector', ['inspector', 'allowInspect', 'allowinspector']],
  ]
  for (const [wanted, words] of table)
    for (const word of words) {
      const error = refusal(() => validate({ [word]: 'x' }))
      t.strictSame(
        { ...error },
        {
          code: 'ERR_INVALID_ARG_VALUE',
          option: word,
          found: word,
          wanted,
          remedy: `the option is called '${wanted}'`,
        },
      )
      t.equal(error.message, `there is no option '${word}'. Remedy: the option is called '${wanted}'.`)
    }
  for (const [list, words] of [
    ['read', ['read', 'readable']],
    ['write', ['write', 'writable']],
    ['bind', ['bind', 'ports']],
  ] as const)
    for (const word of words)
      t.match(
        refusal(() => validate({ [word]: [] })),
        {
          code: 'ERR_INVALID_ARG_VALUE',
          option: word,
          found: word,
          wanted: 'rehearse',
          message: `there is no option '${word}'. Remedy: write rehearse: { ${list}: [...] }.`,
        },
      )
  for (const option of ['user', 'capabilities', 'chroot'])
    t.match(
      refusal(() => validate({ rehearse: { [option]: 'x' } })),
      {
        code: 'ERR_INVALID_ARG_VALUE',
        option: `rehearse.${option}`,
        remedy: `'${option}' is an option: write it beside 'rehearse', not in it`,
      },
    )
  for (const [wanted, words] of [
    ['read', ['readable', 'readOnly', 'raed', 'Read']],
    ['write', ['writable', 'writeable', 'wirte', 'ReadWritePaths']],
    ['bind', ['port', 'ports', 'listen', 'binds']],
  ] as const)
    for (const word of words)
      t.match(
        refusal(() => validate({ rehearse: { [word]: [] } })),
        {
          option: `rehearse.${word}`,
          found: word,
          wanted,
          message: `rehearse has no '${word}'. Remedy: the list is called '${wanted}'.`,
        },
      )
})

t.test('what was given where the options should be', async (t) => {
  const example = `call harden({ user: 'smtp' }), with an account of the server's own`
  const table: [given: unknown[], remedy: string][] = [
    [[], example],
    [[undefined], example],
    [[''], example],
    [[-1], example],
    [[['smtp']], example],
    [[megabyte], example],
    [['smtp'], `call harden({ user: 'smtp' })`],
    [['postfix'], `call harden({ user: 'postfix' })`],
    [[1000], 'call harden({ user: 1000 })'],
    [[1000, 1000], 'call harden({ user: 1000, group: 1000 })'],
    [['smtp', 'mail'], `call harden({ user: 'smtp', group: 'mail' })`],
    [['smtp', { capabilities: '' }], `call harden({ user: 'smtp', ... }), with the other options in the same object`],
    [
      ['smtp', 'mail', {}],
      `call harden({ user: 'smtp', group: 'mail', ... }), with the other options in the same object`,
    ],
    [[new Map()], 'make it a plain object'],
  ]
  for (const [given, remedy] of table) {
    const error = refusal(() => harden(...(given as [never])))
    t.match(error, { code: 'ERR_INVALID_ARG_TYPE', option: 'options', wanted: 'a plain object', remedy })
    t.equal(error.found, show(given[0]))
    t.equal(error.message, `options must be a plain object, and is ${show(given[0])}. Remedy: ${remedy}.`)
  }
  t.match(
    refusal(() => plan('smtp' as never)),
    { remedy: `call plan({ user: 'smtp' })` },
  )
})

t.test('a value of the wrong type, and the one that is meant', async (t) => {
  const list = `an array of names and ids, or 'initgroups'`
  const shape = '{ read: [...], write: [...], bind: [...] }'
  const example = `write a string such as 'cap_net_bind_service+ep', or leave the option out: then there are none`
  const table: [options: object, option: string, wanted: string, found: string, remedy: string][] = [
    [{ user: ['smtp'] }, 'user', 'a name or an id', 'an array', `write 'smtp'`],
    [{ user: 1000n }, 'user', 'a name or an id', 'a bigint', 'write 1000'],
    [{ user: null }, 'user', 'a name or an id', 'null', 'make it a name or an id'],
    [
      { group: ['mail', 'adm', 8] },
      'group',
      'a name or an id',
      'an array',
      `write 'mail', and supplementalGroups: ['adm', 8]`,
    ],
    [{ user: ['mail', 'adm'] }, 'user', 'a name or an id', 'an array', 'make it a name or an id'],
    [{ supplementalGroups: 'mail' }, 'supplementalGroups', list, `'mail'`, `write ['mail']`],
    [{ supplementalGroups: 'mail,adm' }, 'supplementalGroups', list, `'mail,adm'`, `write ['mail', 'adm']`],
    [{ supplementalGroups: 'mail adm' }, 'supplementalGroups', list, `'mail adm'`, `write ['mail', 'adm']`],
    [{ supplementalGroups: 8 }, 'supplementalGroups', list, '8', 'write [8]'],
    [{ supplementalGroups: 'init-groups' }, 'supplementalGroups', list, `'init-groups'`, `write 'initgroups'`],
    [
      { rehearse: ['/x'] },
      'rehearse',
      'a plain object',
      'an array',
      `write ${shape}, without those that are not needed`,
    ],
    [{ rehearse: { bind: ['25'] } }, 'rehearse.bind[0]', 'a port number', `'25'`, 'write 25, without quotes'],
    [{ rehearse: { bind: ['smtp'] } }, 'rehearse.bind[0]', 'a port number', `'smtp'`, 'write its number, such as 25'],
    [{ rehearse: { bind: ['[::]:25'] } }, 'rehearse.bind[0]', 'a port number', `'[::]:25'`, 'write 25, without quotes'],
    [
      { rehearse: { bind: ['::65536'] } },
      'rehearse.bind[0]',
      'a port number',
      `'::65536'`,
      'write its number, such as 25',
    ],
    [{ rehearse: { bind: 25 } }, 'rehearse.bind', 'an array', '25', 'write [25]'],
    [{ rehearse: { bind: '25' } }, 'rehearse.bind', 'an array', `'25'`, 'write [25]'],
    [{ rehearse: { bind: '65536' } }, 'rehearse.bind', 'an array', `'65536'`, 'make it an array'],
    [{ rehearse: { read: '/x' } }, 'rehearse.read', 'an array', `'/x'`, `write ['/x']`],
    [{ rehearse: { write: 'x' } }, 'rehearse.write', 'an array', `'x'`, 'make it an array'],
    [{ noNewPrivileges: 'true' }, 'noNewPrivileges', 'true or false', `'true'`, 'write true, without quotes'],
    [{ allowInspector: 0 }, 'allowInspector', 'true or false', '0', 'write false'],
    [{ chroot: ['/srv'] }, 'chroot', 'a string', 'an array', 'make it a string'],
    ...(
      [
        ['capabilities', ['cap_chown', 'cap_net_raw'], 'cap_chown,cap_net_raw+ep'],
        ['capabilities', ['CHOWN', 'NET_RAW'], 'cap_chown,cap_net_raw+ep'],
        ['capabilities', ['cap_chown+ep', 'cap_kill+p'], 'cap_chown+ep cap_kill+p'],
        ['ambientCapabilities', ['cap_chown', 'cap_kill'], 'cap_chown cap_kill'],
      ] as const
    ).map(([option, words, text]): [object, string, string, string, string] => [
      { [option]: words },
      option,
      'a string',
      'an array',
      `write it as one string: '${text}'`,
    ]),
    [{ capabilities: ['cap_chown', 'nonsense'] }, 'capabilities', 'a string', 'an array', example],
    [{ capabilities: [] }, 'capabilities', 'a string', 'an array', example],
    [{ capabilities: true }, 'capabilities', 'a string', 'true', example],
    [{ ambientCapabilities: {} }, 'ambientCapabilities', 'a string', 'an object', example.replace('+ep', '')],
  ]
  for (const [options, option, wanted, found, remedy] of table) {
    const error = refusal(() => validate(options, undefined, { name: 'harden', more: [], textOf: linux.textOf }))
    t.strictSame({ ...error }, { code: 'ERR_INVALID_ARG_TYPE', option, wanted, found, remedy })
    t.equal(error.message, `${option} must be ${wanted}, and is ${found}. Remedy: ${remedy}.`)
  }
})

t.test('a wrong value, and the one that is meant', async (t) => {
  const folder = process.cwd()
  const id = 'an id is a whole number from 0 to 4294967294'
  const port = 'a port is a whole number from 1 to 65535'
  const unset = 'is an environment variable not set? It has to be a number:'
  const table: [options: object, option: string, found: string, message: string][] = [
    [{ user: NaN }, 'user', 'NaN', `user NaN is not an id. Remedy: ${unset} ${id}.`],
    [{ user: -1 }, 'user', '-1', `user -1 is not an id. Remedy: ${id}.`],
    [{ user: '' }, 'user', `''`, 'user is an empty string. Remedy: give a name or an id, or leave the option out.'],
    [
      { rehearse: { bind: [NaN] } },
      'rehearse.bind[0]',
      'NaN',
      `rehearse.bind[0] NaN is not a port. Remedy: ${unset} ${port}.`,
    ],
    [{ rehearse: { bind: [0] } }, 'rehearse.bind[0]', '0', `rehearse.bind[0] 0 is not a port. Remedy: ${port}.`],
    [
      { chroot: 'jail' },
      'chroot',
      `'jail'`,
      `chroot 'jail' is not an absolute path. Remedy: write '${folder}/jail', which is that path in the present working directory.`,
    ],
    [{ chroot: '~/x' }, 'chroot', `'~/x'`, `chroot '~/x' is not an absolute path. Remedy: begin it with /.`],
    [
      { rehearse: { read: ['x'] } },
      'rehearse.read[0]',
      `'x'`,
      `rehearse.read[0] 'x' is not an absolute path. Remedy: begin it with /.`,
    ],
    [
      { supplementalGroups: Array(65537).fill(8) },
      'supplementalGroups',
      '65537',
      'supplementalGroups has 65537 elements, and at most 65536 are possible. Remedy: the kernel takes no more (NGROUPS_MAX).',
    ],
    [
      { rehearse: { write: Array(1025).fill('/x') } },
      'rehearse.write',
      '1025',
      'rehearse.write has 1025 elements, and at most 1024 are possible. Remedy: name fewer.',
    ],
  ]
  for (const [options, option, found, message] of table) {
    const error = refusal(() => validate(options))
    t.match(error, { code: 'ERR_INVALID_ARG_VALUE', option, found })
    t.equal(error.message, message)
  }
})

t.test('a relative chroot where the working directory has been removed', async (t) => {
  t.intercept(process, 'cwd', {
    value: () => {
      throw new Error('ENOENT')
    },
  })
  t.equal(refusal(() => validate({ chroot: 'jail' })).remedy, 'begin it with /')
})

t.test('all that is wrong is told in one go, and left out', async (t) => {
  const errors: HardenError[] = []
  const collect: Run = (part) => {
    try {
      return part()
    } catch (error) {
      if (!errors.includes(error as HardenError)) errors.push(error as HardenError)
      return undefined
    }
  }
  const right = { group: 'mail', noNewPrivileges: true }
  const wrong = {
    uid: 1,
    user: '',
    supplementalGroups: [8, null, ''],
    chroot: 'jail',
    rehearse: { writable: [], bind: ['25', 0], read: 7 },
  }
  t.strictSame({ ...validate({ ...right, ...wrong }, collect) }, right)
  t.strictSame(errors.map(({ option }) => option).sort(), [
    'chroot',
    'rehearse.bind[0]',
    'rehearse.bind[1]',
    'rehearse.read',
    'rehearse.writable',
    'supplementalGroups[1]',
    'supplementalGroups[2]',
    'uid',
    'user',
  ])
  errors.length = 0
  validate({ supplementalGroups: Array(65536).fill(null) }, collect)
  t.equal(errors.length, 16, 'as many as can be read')
})
