/** Promise: a name that does not exist never becomes an id, and a name service that fails is never taken for "no". */
import { constants } from 'node:os'
import t from 'tap'
import { ascending, resolve as resolveBy } from '../lib/accounts'
import { HardenError, type Run, show } from '../lib/errors'
import { type Addon, native } from '../lib/native'
import type { HardenOptions } from '../lib/options'
import { refusal } from './refused'

type Lookups = Pick<Addon, 'userByName' | 'userById' | 'groupByName' | 'accountGroups'>

/** By the name service of this machine. */
const resolve = (options: HardenOptions) => resolveBy(options, native())

/** By another one; what was asked of it is noted. */
function withAccounts(answers: Partial<Lookups>) {
  const asked: [string, string | number][] = []
  const note =
    <K extends string | number, A>(call: string, answer: (key: K) => A) =>
    (key: K) => {
      asked.push([call, key])
      return answer(key)
    }
  const none = () => undefined
  const fake: Lookups = {
    userByName: note('userByName', answers.userByName ?? none),
    userById: note('userById', answers.userById ?? none),
    groupByName: note('groupByName', answers.groupByName ?? none),
    accountGroups: answers.accountGroups ?? (() => 0),
  }
  return { resolve: (options: HardenOptions) => resolveBy(options, fake as Addon), asked }
}

const smtp = () => ({ uid: 990, gid: 991 })
const mail = () => ({ gid: 8 })

t.test('names that do not exist', async (t) => {
  const wrong = [
    ...'no-such-account|0day|0x10|0x0| 0|0 |\t0|0\n|+0|-0|-1|0.0|0,0|1e3|0b0|٠|０|ROOT|root | root|root\n'.split('|'),
    ...'root:x|root:x:0:0|NaN|Infinity|null|[object Object]|../root|*|%s%s%s%n|\ud800'.split('|'),
    'x'.repeat(1_000_000),
    `0${' '.repeat(1_000_000)}`,
  ]
  for (const name of wrong)
    for (const [option, options] of [
      ['user', { user: name, group: 8 }],
      ['group', { user: 1000, group: name }],
      ['supplementalGroups[1]', { user: 1000, group: 8, supplementalGroups: [8, name] }],
    ] as const) {
      const error = refusal(() => resolve(options))
      const title = `${option} ${JSON.stringify(name.slice(0, 20))}`
      t.ok(error instanceof HardenError, title)
      t.equal(error.code, 'ERR_UNKNOWN_CREDENTIAL')
      t.equal(error.option, option)
      t.ok(error.remedy)
      t.ok(error.message.length < 500)
    }
})

t.test('all digits, and no such name: an id, if there is such an id', async (t) => {
  for (const [name, id] of [
    ['0', 0],
    ['00', 0],
    ['007', 7],
    ['54321', 54321],
    ['4294967294', 4294967294],
    ['00004294967294', 4294967294],
  ] as const)
    t.strictSame(withAccounts({}).resolve({ user: name, group: name, supplementalGroups: [name] }), {
      uid: id,
      gid: id,
      groups: [id],
    })

  const wrong = ['4294967295', '4294967296', '4294967297', '8589934592', '18446744073709551616', '99999999999999999999']
  for (const name of [...wrong, '9'.repeat(400), '1'.repeat(1_000_000)])
    for (const [option, options] of [
      ['user', { user: name, group: 8 }],
      ['group', { group: name }],
      ['supplementalGroups[0]', { supplementalGroups: [name] }],
    ] as const) {
      const error = refusal(() => resolve(options))
      t.equal(error.code, 'ERR_INVALID_ARG_VALUE', `${option} ${name.slice(0, 20)}`)
      t.equal(error.option, option)
      t.ok(error.remedy)
      t.ok(error.message.length < 500)
    }
})

t.test('a name first, even if it is all digits', async (t) => {
  const { resolve } = withAccounts({ userByName: smtp, groupByName: mail })
  t.strictSame(resolve({ user: '0', supplementalGroups: ['0', 0] }), { uid: 990, gid: 991, groups: [0, 8] })
  t.strictSame(resolve({ group: '0' }), { uid: undefined, gid: 8, groups: undefined })
})

t.test('root, as the real name service has it', async (t) => {
  t.match(resolve({ user: 'root' }), { uid: 0, gid: 0, groups: undefined })
  t.match(resolve({ user: 0 }), { uid: 0, gid: 0 })
  t.match(resolve({ user: 1000, group: 'root', supplementalGroups: ['root'] }), { uid: 1000, gid: 0, groups: [0] })
})

t.test('the group: as asked for, else the primary one of the account', async (t) => {
  type Row = [string, HardenOptions, Partial<Lookups>, { uid?: number; gid?: number }, [string, string | number][]]
  const table: Row[] = [
    ['nothing asked', {}, {}, {}, []],
    ['user by name', { user: 'smtp' }, { userByName: smtp }, { uid: 990, gid: 991 }, [['userByName', 'smtp']]],
    ['user by number', { user: 990 }, { userById: smtp }, { uid: 990, gid: 991 }, [['userById', 990]]],
    [
      'user by digits',
      { user: '990' },
      { userById: smtp },
      { uid: 990, gid: 991 },
      [
        ['userByName', '990'],
        ['userById', 990],
      ],
    ],
    ['user 0 is a user', { user: 0 }, { userById: () => ({ gid: 3 }) }, { uid: 0, gid: 3 }, [['userById', 0]]],
    [
      'primary group 0',
      { user: 'x' },
      { userByName: () => ({ uid: 7, gid: 0 }) },
      { uid: 7, gid: 0 },
      [['userByName', 'x']],
    ],
    [
      'group 0 is a group',
      { user: 'smtp', group: 0 },
      { userByName: smtp },
      { uid: 990, gid: 0 },
      [['userByName', 'smtp']],
    ],
    ['both numbers', { user: 990, group: 8 }, {}, { uid: 990, gid: 8 }, []],
    [
      'group by name',
      { user: 990, group: 'mail' },
      { groupByName: mail },
      { uid: 990, gid: 8 },
      [['groupByName', 'mail']],
    ],
    ['the group alone', { group: 'mail' }, { groupByName: mail }, { gid: 8 }, [['groupByName', 'mail']]],
  ]
  for (const [title, options, answers, { uid, gid }, questions] of table) {
    const { resolve, asked } = withAccounts(answers)
    t.strictSame(resolve(options), { uid, gid, groups: undefined }, title)
    t.strictSame(asked, questions, 'and nothing else was asked')
  }
})

t.test('a number without account needs the group', async (t) => {
  for (const user of [54321, '54321', 4294967294]) {
    const error = refusal(() => withAccounts({}).resolve({ user }))
    t.equal(error.code, 'ERR_INVALID_ARG_VALUE')
    t.equal(error.option, 'group')
    t.ok(error.remedy)
  }
})

t.test('supplementary groups: ascending, each once, and none is not "not asked"', async (t) => {
  const { resolve } = withAccounts({ groupByName: (name) => (name === 'mail' ? { gid: 8 } : undefined) })
  t.strictSame(
    resolve({ supplementalGroups: [100, 9, 'mail', 8, '8', 0, '100', 4294967294] }).groups,
    [0, 8, 9, 100, 4294967294],
  )
  t.strictSame(resolve({ supplementalGroups: [] }).groups, [])
  t.equal(resolve({}).groups, undefined)
  t.strictSame(ascending([10, 9, 100, 1, 9]), [1, 9, 10, 100], 'by number, not by letter')
})

t.test('a name service that fails', async (t) => {
  const { EIO, EMFILE, ERANGE } = constants.errno
  type Row = [string, HardenOptions, Partial<Lookups>, string, number]
  const table: Row[] = [
    ['user', { user: 'smtp', group: 8 }, { userByName: () => EIO }, 'getpwnam_r', EIO],
    ['user', { user: '0', group: 8 }, { userByName: () => EIO }, 'getpwnam_r', EIO],
    ['user', { user: 990 }, { userById: () => EMFILE }, 'getpwuid_r', EMFILE],
    ['group', { group: 'mail' }, { groupByName: () => ERANGE }, 'getgrnam_r', ERANGE],
    ['group', { group: '0' }, { groupByName: () => EIO }, 'getgrnam_r', EIO],
    ['supplementalGroups[1]', { supplementalGroups: [8, 'mail'] }, { groupByName: () => EIO }, 'getgrnam_r', EIO],
  ]
  for (const [option, options, answers, syscall, errno] of table) {
    const error = refusal(() => withAccounts(answers).resolve(options))
    t.equal(error.code, 'ERR_HARDEN_LOOKUP_FAILED', `${syscall} of ${JSON.stringify(options)}`)
    t.equal(error.option, option)
    t.equal(error.step, 'resolve')
    t.equal(error.syscall, syscall)
    t.equal(error.errno, -errno)
    t.ok(error.remedy)
  }
})

t.test('an account whose id is (uid_t)-1, which means "leave it" to the kernel', async (t) => {
  const none = 4294967295
  const table: [string, HardenOptions, Partial<Lookups>][] = [
    ['user', { user: 'x', group: 8 }, { userByName: () => ({ uid: none, gid: 8 }) }],
    ['group', { user: 'x' }, { userByName: () => ({ uid: 990, gid: none }) }],
    ['group', { user: 990 }, { userById: () => ({ gid: none }) }],
    ['group', { group: 'x' }, { groupByName: () => ({ gid: none }) }],
    ['supplementalGroups[0]', { supplementalGroups: ['x'] }, { groupByName: () => ({ gid: none }) }],
  ]
  for (const [option, options, answers] of table) {
    const error = refusal(() => withAccounts(answers).resolve(options))
    t.equal(error.code, 'ERR_INVALID_ARG_VALUE', JSON.stringify(options))
    t.equal(error.option, option)
    t.ok(error.remedy)
  }
})

t.test("those of the account: 'initgroups'", async (t) => {
  const asked: unknown[][] = []
  const accountGroups: Lookups['accountGroups'] = (...args) => {
    asked.push(args)
    return [991, 8, 100, 8]
  }
  const { resolve } = withAccounts({ userByName: smtp, accountGroups })
  const supplementalGroups = 'initgroups'
  t.strictSame(resolve({ user: 'smtp', supplementalGroups }), { uid: 990, gid: 991, groups: [8, 100, 991] })
  t.strictSame(resolve({ user: 'smtp', group: 8, supplementalGroups }).groups, [8, 100, 991])
  t.strictSame(asked, [
    [990, 991],
    [990, 8],
  ])
  for (const options of [{ supplementalGroups }, { group: 8, supplementalGroups }] as const)
    t.match(
      refusal(() => resolve(options)),
      { code: 'ERR_INVALID_ARG_VALUE', option: 'supplementalGroups', remedy: `give the option 'user' as well` },
    )
  const failing = withAccounts({ userByName: smtp, accountGroups: () => constants.errno.EIO })
  t.match(
    refusal(() => failing.resolve({ user: 'smtp', supplementalGroups })),
    {
      code: 'ERR_HARDEN_LOOKUP_FAILED',
      option: 'supplementalGroups',
      syscall: 'getgrouplist',
      errno: -constants.errno.EIO,
    },
  )
})

const passwd = 'correct the spelling (getent passwd lists what there is), or create it: '
const useradd = 'useradd --system --no-create-home --shell /usr/sbin/nologin'
const impossible = 'correct it: no account has so long a name, or a colon or a control character in it'

t.test('a name that does not exist, and what to do about it', async (t) => {
  const table: [options: HardenOptions, option: string, found: string, wanted: string | undefined, remedy: string][] = [
    [{ user: 'smtp-x' }, 'user', 'smtp-x', undefined, `${passwd}${useradd} smtp-x`],
    [{ user: 'Smtp x' }, 'user', 'Smtp x', undefined, `${passwd}`.replace(': ', ' (useradd(8), groupadd(8))')],
    [{ user: 'nobdy' }, 'user', 'nobdy', 'nobody', `did you mean 'nobody'? If not, create it: ${useradd} nobdy`],
    [
      { user: 'NOBODY' },
      'user',
      'NOBODY',
      'nobody',
      `did you mean 'nobody'? If not, create it (useradd(8), groupadd(8))`,
    ],
    [{ user: 'rooot' }, 'user', 'rooot', undefined, `${passwd}${useradd} rooot`],
    [{ user: 'nobody:mail' }, 'user', 'nobody:mail', 'nobody', `write { user: 'nobody', group: 'mail' }`],
    [{ user: 'nobody:x' }, 'user', 'nobody:x', undefined, impossible],
    [
      { user: 'nobody', group: 'nobody' },
      'group',
      'nobody',
      'nogroup',
      `the primary group of the user is 'nogroup': leave 'group' out to get it`,
    ],
    [{ group: 'mial' }, 'group', 'mial', 'mail', `did you mean 'mail'? If not, create it: groupadd --system mial`],
    [
      { supplementalGroups: ['mail,adm'] },
      'supplementalGroups[0]',
      'mail,adm',
      `['mail', 'adm']`,
      `each name is one element: ['mail', 'adm']`,
    ],
    [
      { supplementalGroups: ['amd'] },
      'supplementalGroups[0]',
      'amd',
      'adm',
      `did you mean 'adm'? If not, create it: groupadd --system amd`,
    ],
  ]
  for (const [options, option, found, wanted, remedy] of table) {
    const error = refusal(() => resolve(options))
    t.strictSame({ ...error }, { code: 'ERR_UNKNOWN_CREDENTIAL', option, found, ...(wanted && { wanted }), remedy })
    t.equal(error.message, `${option} '${found}' does not exist. Remedy: ${remedy}.`)
  }
})

t.test('a name that no account can have: the name service is not asked', async (t) => {
  const odd = [
    'x'.repeat(1025),
    'x'.repeat(10_000_000),
    'é'.repeat(513),
    'a:b',
    ':',
    'a\nb',
    'a\x7f',
    '\u009b2J',
    'a\0b',
  ]
  for (const name of odd)
    for (const [option, options] of [
      ['user', { user: name, group: 8 }],
      ['group', { group: name }],
      ['supplementalGroups[0]', { supplementalGroups: [name] }],
    ] as const) {
      const { resolve, asked } = withAccounts({})
      const error = refusal(() => resolve(options))
      t.match(error, { code: 'ERR_UNKNOWN_CREDENTIAL', option, found: name.slice(0, 64), remedy: impossible })
      t.equal(error.message, `${option} ${show(name)} does not exist. Remedy: ${impossible}.`)
      t.strictSame(
        asked.filter(([, key]) => key === name),
        [],
      )
    }
  const { resolve, asked } = withAccounts({ userByName: smtp })
  t.equal(resolve({ user: 'x'.repeat(1024) }).uid, 990, 'the longest')
  t.equal(asked.length, 1)
})

t.test('every name at fault in one go', async (t) => {
  const found: (string | undefined)[] = []
  const run: Run = (part) => {
    try {
      return part()
    } catch (error) {
      found.push((error as HardenError).option)
      return undefined
    }
  }
  const none = () => undefined
  const fake = { userByName: none, groupByName: none, userById: none, accountGroups: () => 0, groupById: none }
  const by = (options: HardenOptions) => resolveBy(options, fake as unknown as Addon, run)
  t.strictSame(by({ user: 'a', group: 'b', supplementalGroups: ['c', 8, 'd'] }), {
    uid: undefined,
    gid: undefined,
    groups: [8],
  })
  t.strictSame(found, ['user', 'group', 'supplementalGroups[0]', 'supplementalGroups[1]'.replace('1', '2')])
  found.length = 0
  by({ user: 'a', supplementalGroups: 'initgroups' })
  t.strictSame(found, ['user'], 'what rests on it is not told')
  found.length = 0
  by({ supplementalGroups: Array(1000).fill('x') })
  t.equal(found.length, 16, 'as many as can be read')
})
