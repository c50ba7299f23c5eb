/** Promise: what libcap accepts is accepted, with its meaning; what it refuses is refused, and the clause is named. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { HardenError, type Run, show } from '../lib/errors'
import {
  capabilityNames,
  kernelMask,
  maskOf,
  parseAmbient,
  parseCapabilities,
  readTexts,
  textOf,
} from '../lib/platform/linux/capabilities'
import { BIND, RAW, SETGID, SETPCAP, SETUID, SYS_CHROOT } from './states'

function refusal(text: string, parse: (text: string) => unknown = parseCapabilities): HardenError {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof HardenError) return error
    throw error
  }
  throw new Error('it was not refused')
}

const all = kernelMask()
const CHOWN = 1n << 0n
const KILL = 1n << 5n

t.test('the capabilities of this kernel', async (t) => {
  const last = BigInt(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1'))
  t.equal(all, (1n << (last + 1n)) - 1n)
  t.equal(capabilityNames(all).length, Number(last) + 1)
  t.strictSame(capabilityNames(0n), [])
  t.strictSame(capabilityNames(CHOWN | BIND | RAW), ['cap_chown', 'cap_net_bind_service', 'cap_net_raw'])
  t.strictSame(capabilityNames(SETGID | SETUID | SETPCAP), ['cap_setgid', 'cap_setuid', 'cap_setpcap'])
  t.strictSame(capabilityNames(SYS_CHROOT), ['cap_sys_chroot'])
  t.strictSame(capabilityNames((1n << 63n) | KILL), ['cap_kill', '63'], 'a number where there is no name')
  t.equal(maskOf(['cap_kill', '63']), (1n << 63n) | KILL, 'and back')
  t.equal(maskOf([]), 0n)
})

t.test('texts that libcap accepts', async (t) => {
  const table: [text: string, permitted: bigint, effective: bigint, inheritable: bigint][] = [
    ['', 0n, 0n, 0n],
    ['   ', 0n, 0n, 0n],
    ['\n', 0n, 0n, 0n],
    ['=', 0n, 0n, 0n],
    ['= ', 0n, 0n, 0n],
    ['all=', 0n, 0n, 0n],
    ['all=eip', all, all, all],
    ['=eip', all, all, all],
    ['=ep', all, all, 0n],
    ['ALL=p', all, 0n, 0n],
    ['cap_net_raw+ep', RAW, RAW, 0n],
    ['CAP_NET_RAW+ep', RAW, RAW, 0n],
    ['Cap_Net_Raw=pe', RAW, RAW, 0n],
    ['cap_net_raw=p+e', RAW, RAW, 0n],
    ['cap_net_raw+ep-e', RAW, 0n, 0n],
    ['cap_net_raw+p', RAW, 0n, 0n],
    ['cap_net_raw+i', 0n, 0n, RAW],
    ['cap_net_raw-eip', 0n, 0n, 0n],
    ['cap_kill,cap_net_raw+ep', RAW | KILL, RAW | KILL, 0n],
    ['13+ep', RAW, RAW, 0n],
    ['0+p', CHOWN, 0n, 0n],
    ['63+ep', 1n << 63n, 1n << 63n, 0n],
    ['cap_net_raw+ep cap_kill+p', RAW | KILL, RAW, 0n],
    [' cap_net_raw+ep  cap_kill+p ', RAW | KILL, RAW, 0n],
    ['cap_net_raw+ep\ncap_kill+p\tcap_chown+i\n', RAW | KILL, RAW, CHOWN],
    ['cap_net_raw+ep\r\ncap_kill+p', RAW | KILL, RAW, 0n],
    ['all=ep cap_net_raw-ep', all & ~RAW, all & ~RAW, 0n],
    ['all=eip all=', 0n, 0n, 0n],
    ['cap_net_raw+eip cap_net_raw-i', RAW, RAW, 0n],
    ['cap_net_raw+e cap_net_raw+p', RAW, RAW, 0n],
  ]
  for (const [text, permitted, effective, inheritable] of table)
    t.strictSame(parseCapabilities(text), { permitted, effective, inheritable }, JSON.stringify(text))
})

t.test('texts that it does not: which clause, and where', async (t) => {
  const table: [text: string, clause: string, character: number][] = [
    ['nonsense', 'nonsense', 1],
    ['cap_net_raw', 'cap_net_raw', 1],
    ['CAP_NET_RAW+EP', 'CAP_NET_RAW+EP', 1],
    ['cap_net_raw+EP', 'cap_net_raw+EP', 1],
    ['+ep', '+ep', 1],
    ['-ep', '-ep', 1],
    ['64+ep', '64+ep', 1],
    ['-1+ep', '-1+ep', 1],
    ['99999999999999999999+ep', '99999999999999999999+ep', 1],
    ['net_raw+ep', 'net_raw+ep', 1],
    ['cap_net_raw=epx', 'cap_net_raw=epx', 1],
    ['cap_net_raw, cap_kill+ep', 'cap_net_raw,', 1],
    ['cap_net_raw +ep', 'cap_net_raw', 1],
    ['cap_net_raw;cap_kill+ep', 'cap_net_raw;cap_kill+ep', 1],
    ['cap_net_bind_servic+ep', 'cap_net_bind_servic+ep', 1],
    ['cap_net_raw+ep cap_foo+ep', 'cap_foo+ep', 16],
    ['cap_net_raw+ep cap_foo+ep cap_kill+p', 'cap_foo+ep', 16],
    ['cap_net_raw+ep cap_foo+ep bar', 'cap_foo+ep', 16],
    ['  cap_kill+p\n\tcap_foo+ep', 'cap_foo+ep', 15],
    ['= = = +ep', '+ep', 7],
    ['cap_kill+ep é+ep', 'é+ep', 13],
  ]
  for (const [text, clause, character] of table) {
    const error = refusal(text)
    t.equal(error.code, 'ERR_HARDEN_CAPABILITIES', JSON.stringify(text))
    t.equal(error.option, 'capabilities')
    t.equal(error.found, clause)
    t.match(error.message, new RegExp(`character ${character}\\b`))
    t.ok(error.remedy)
  }
})

t.test('a long clause is cut', async (t) => {
  t.equal(refusal(`cap_kill+p ${'x'.repeat(64)}`).found, 'x'.repeat(64))
  t.equal(refusal(`cap_kill+p ${'x'.repeat(65)}`).found, 'x'.repeat(64))
})

t.test('a space that is none to libcap', async (t) => {
  const error = refusal('cap_net_raw+ep\u00a0')
  t.equal(error.code, 'ERR_HARDEN_CAPABILITIES')
  t.equal(error.option, 'capabilities')
  t.ok(error.remedy)
})

t.test('effective beyond permitted', async (t) => {
  const table: [text: string, names: string][] = [
    ['cap_net_raw+e', 'cap_net_raw'],
    ['cap_net_raw+ei', 'cap_net_raw'],
    ['all=e', 'cap_chown'],
    ['cap_net_raw+ep cap_kill+e', 'cap_kill'],
    ['all=ep cap_kill-p', 'cap_kill'],
    ['63+e', '63'],
  ]
  for (const [text, name] of table) {
    const error = refusal(text)
    t.equal(error.code, 'ERR_HARDEN_CAPABILITIES', text)
    t.equal(error.option, 'capabilities')
    t.match(error.message, name)
    t.ok(error.remedy)
  }
})

t.test(
  'a megabyte, whatever it is: a quadratic parser would run into the time limit of a test file, and the message is short',
  async (t) => {
    const million = 1_000_000
    const fill = (text: string) => text.repeat(Math.ceil(million / text.length))
    const table: [string, string, boolean][] = [
      ['clauses', fill('cap_net_raw+ep '), true],
      ['names in a clause', `${fill('cap_net_raw,')}cap_net_raw+ep`, true],
      ['operators in a clause', `cap_net_raw${fill('+ep')}`, true],
      ['spaces', fill(' '), true],
      ['a letter', fill('x'), false],
      ['a digit', `${fill('1')}+ep`, false],
      ['a quote', fill("'"), false],
      ['emoji', fill('\u{1f4ec}'), false],
      ['wrong clauses', fill('x '), false],
      ['wrong operators', fill('+'), false],
      ['commas', fill(','), false],
      ['clauses, then a wrong one', `${fill('cap_net_raw+ep ')}cap_foo+ep`, false],
      ['spaces, then a wrong one', `${fill(' ')}cap_foo+ep`, false],
      ['clauses, then effective beyond permitted', `${fill('= ')}cap_kill+e`, false],
    ]
    for (const [title, text, accepted] of table) {
      if (accepted) t.doesNotThrow(() => parseCapabilities(text), title)
      else {
        const error = refusal(text)
        t.equal(error.code, 'ERR_HARDEN_CAPABILITIES', title)
        t.ok(error.message.length < 500)
      }
    }
  },
)

t.test('ambient ones', async (t) => {
  const table: [text: string, mask: bigint][] = [
    ['', 0n],
    [' ', 0n],
    [' ,\n,\t', 0n],
    ['cap_chown', CHOWN],
    ['cap_net_raw', RAW],
    [' cap_net_raw\n', RAW],
    ['cap_net_raw,', RAW],
    ['cap_net_raw cap_kill', RAW | KILL],
    ['cap_kill,cap_net_raw', RAW | KILL],
    ['cap_kill,\r\n\tcap_net_raw', RAW | KILL],
    ['cap_kill,cap_kill cap_kill', KILL],
    [capabilityNames(all).join(), all],
  ]
  for (const [text, mask] of table) {
    t.equal(parseAmbient(text, all), mask, JSON.stringify(text))
    t.equal(parseAmbient(text, mask), mask, 'exactly these are permitted')
  }
  t.equal(parseAmbient('', 0n), 0n)
})

t.test('ambient ones that are none', async (t) => {
  const unknown = [
    'CAP_NET_RAW',
    'net_raw',
    'cap_net_ra',
    'cap_net_raw+ep',
    '=',
    'all',
    '13',
    '63',
    'cap_foo',
    '-1',
    '\0',
  ]
  for (const name of [...unknown, 'cap_net_raw;cap_kill', 'toString', '__proto__', 'length', 'é'])
    for (const text of [name, `cap_kill ${name}`, `cap_kill,${name},cap_net_raw`, `${name} cap_bar`]) {
      const error = refusal(text, (wrong) => parseAmbient(wrong, all))
      t.equal(error.code, 'ERR_HARDEN_CAPABILITIES', JSON.stringify(text))
      t.equal(error.option, 'ambientCapabilities')
      t.equal(error.found, name)
      t.match(error.message, /^ambientCapabilities: this kernel has no capability /)
      t.match(error.remedy, /lower case/)
    }
  const long = refusal('x'.repeat(1_000_000), (wrong) => parseAmbient(wrong, all))
  t.equal(long.found, 'x'.repeat(64))
  t.ok(long.message.length < 500)
})

t.test('ambient ones that are not permitted', async (t) => {
  const table: [text: string, permitted: bigint, name: string][] = [
    ['cap_net_raw', 0n, 'cap_net_raw'],
    ['cap_net_raw', all & ~RAW, 'cap_net_raw'],
    ['cap_net_raw', 1n << 63n, 'cap_net_raw'],
    ['cap_kill,cap_net_raw', KILL, 'cap_net_raw'],
    ['cap_kill,cap_net_raw', RAW, 'cap_kill'],
    ['cap_chown', all & ~CHOWN, 'cap_chown'],
    ['cap_net_raw cap_foo', 0n, 'cap_net_raw'],
  ]
  for (const [text, permitted, name] of table) {
    const error = refusal(text, (wrong) => parseAmbient(wrong, permitted))
    t.equal(error.code, 'ERR_HARDEN_CAPABILITIES', JSON.stringify([text, permitted.toString(16)]))
    t.equal(error.option, 'ambientCapabilities')
    t.equal(error.found, name)
    t.match(error.message, new RegExp(`^ambientCapabilities: ${name} is not permitted`))
    t.equal(error.remedy, `add ${name}+ep to 'capabilities'`)
  }
})

/** Numbers that look random and are the same each time (mulberry32). */
function dice(seed: number): (sides: number) => number {
  let state = seed
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides
  }
}

t.test('any set survives the way to words and back', async (t) => {
  const roll = dice(1)
  for (let round = 0; round < 500; round++) {
    const set = (BigInt(roll(2 ** 31)) | (BigInt(roll(2 ** 31)) << 31n)) & all
    const text = set ? `${capabilityNames(set).join(',')}+p` : ''
    if (parseCapabilities(text).permitted !== set) t.fail(text)
    if (maskOf(capabilityNames(set)) !== set) t.fail(text)
  }
  t.pass()
})

t.test('any row of clauses means what cap_from_text(3) says', async (t) => {
  const roll = dice(2)
  const names = capabilityNames(all)
  for (let round = 0; round < 2000; round++) {
    const model = { e: 0n, i: 0n, p: 0n }
    const clauses = Array.from({ length: roll(6) }, () => {
      const chosen = Array.from({ length: 1 + roll(3) }, () => roll(names.length))
      const set = chosen.reduce((mask, capability) => mask | (1n << BigInt(capability)), 0n)
      const operator = '=+-'.charAt(roll(3))
      const flags = (['e', 'i', 'p'] as const).filter(() => roll(2))
      if (operator !== '=' && flags.length === 0) flags.push('i')
      if (operator === '=') for (const flag of ['e', 'i', 'p'] as const) model[flag] &= ~set
      for (const flag of flags) model[flag] = operator === '-' ? model[flag] & ~set : model[flag] | set
      return `${chosen.map((capability) => names[capability]).join(',')}${operator}${flags.join('')}`
    })
    const text = clauses.join(' ')
    if (model.e & ~model.p) {
      if (refusal(text).code !== 'ERR_HARDEN_CAPABILITIES') t.fail(text)
    } else {
      const { effective, inheritable, permitted } = parseCapabilities(text)
      if (effective !== model.e || inheritable !== model.i || permitted !== model.p) t.fail(text)
    }
  }
  t.pass()
})

t.test('a clause that is refused, and the one that is meant', async (t) => {
  const meant = (text: string) => `did you mean '${text}'? The names are in capabilities(7); flags are in lower case`
  const none =
    'see cap_from_text(3), e.g. cap_net_bind_service+ep; the names are in capabilities(7), and flags are in lower case'
  const bind = 'cap_net_bind_service+ep'
  const table: [text: string, wanted: string | undefined, what: string, remedy: string][] = [
    ['cap_net_bind_service', bind, 'names no flags', `write '${bind}'`],
    ['all', 'all+ep', 'names no flags', `write 'all+ep'`],
    ['none', undefined, 'is not understood', 'leave the option out: then there are none'],
    ['cap_chown,cap_kill', 'cap_chown,cap_kill+ep', 'names no flags', `write 'cap_chown,cap_kill+ep'`],
    ['net_bind_service', bind, 'is not understood', meant(bind)],
    ['NET_BIND_SERVICE', bind, 'is not understood', meant(bind)],
    ['net_bind_service+ep', bind, 'is not understood', meant(bind)],
    ['CAP_NET_BIND_SERVICE+EP', bind, 'is not understood', meant(bind)],
    ['cap_net_bind_services+ep', bind, 'is not understood', meant(bind)],
    ['cap-net-bind-service+ep', bind, 'is not understood', meant(bind)],
    ['cap_net_bind_serivce=eip', 'cap_net_bind_service=eip', 'is not understood', meant('cap_net_bind_service=eip')],
    ['sys_chroot-e', 'cap_sys_chroot-e', 'is not understood', meant('cap_sys_chroot-e')],
    ['cap_chown;cap_kill+ep', 'cap_chown,cap_kill+ep', 'is not understood', meant('cap_chown,cap_kill+ep')],
    [
      'cap_chown+ep,cap_net_raw+ep',
      'cap_chown+ep cap_net_raw+ep',
      'is more than one clause',
      `two clauses are separated by a space: 'cap_chown+ep cap_net_raw+ep', or write 'cap_chown,cap_net_raw+ep'`,
    ],
    [
      'chown+ep,NET_RAW+P',
      'cap_chown+ep cap_net_raw+p',
      'is more than one clause',
      `two clauses are separated by a space: 'cap_chown+ep cap_net_raw+p'`,
    ],
    ['nonsense', undefined, 'is not understood', none],
    ['+ep', undefined, 'is not understood', none],
    ['64+ep', undefined, 'is not understood', none],
    ['cap_net_raw+epx', undefined, 'is not understood', none],
    ['\x1b[2J+ep', undefined, 'is not understood', none],
  ]
  for (const [text, wanted, what, remedy] of table) {
    const error = refusal(text)
    t.strictSame(
      { ...error },
      {
        code: 'ERR_HARDEN_CAPABILITIES',
        option: 'capabilities',
        found: text,
        ...(wanted && { wanted }),
        remedy,
      },
    )
    t.equal(error.message, `capabilities: clause ${show(text)} at character 1 ${what}. Remedy: ${remedy}.`)
    if (wanted) t.ok(parseCapabilities(wanted), 'what is meant is accepted')
  }
})

t.test('effective alone: what is there, and what it has to be', async (t) => {
  for (const [text, names, wanted] of [
    ['cap_kill+e', 'cap_kill', 'cap_kill+ep'],
    ['cap_kill=ei', 'cap_kill', 'cap_kill=eip'],
    ['cap_chown+ep cap_kill+e', 'cap_kill', 'cap_chown+ep cap_kill+ep'],
  ] as const) {
    const error = refusal(text)
    const remedy = `permit what is made effective: '${wanted}'`
    t.strictSame({ ...error }, { code: 'ERR_HARDEN_CAPABILITIES', option: 'capabilities', found: text, wanted, remedy })
    t.equal(error.message, `capabilities '${text}' makes ${names} effective, but not permitted. Remedy: ${remedy}.`)
  }
  t.match(
    refusal('all=ep cap_kill-p'),
    { found: 'all=ep cap_kill-p', remedy: 'permit what is made effective: +ep instead of +e' },
    'where it is not that',
  )
})

t.test('an ambient name, and the one that is meant', async (t) => {
  for (const [name, wanted] of [
    ['kill', 'cap_kill'],
    ['CAP_KILL', 'cap_kill'],
    ['cap-net-raw', 'cap_net_raw'],
    ['cap_kill+ep', 'cap_kill'],
    ['cap_net_bind_services', 'cap_net_bind_service'],
  ] as const) {
    const error = refusal(name, (text) => parseAmbient(text, all))
    const remedy = `did you mean '${wanted}'? Names are in lower case and without flags, separated by spaces or commas`
    t.strictSame(
      { ...error },
      { code: 'ERR_HARDEN_CAPABILITIES', option: 'ambientCapabilities', found: name, wanted, remedy },
    )
    t.equal(error.message, `ambientCapabilities: this kernel has no capability '${name}'. Remedy: ${remedy}.`)
  }
  const error = refusal('none', (text) => parseAmbient(text, all))
  t.match(error, { found: 'none', wanted: undefined, remedy: 'leave the option out: then there are none' })
})

t.test('every clause and every name at fault, in one go', async (t) => {
  const found: (string | undefined)[] = []
  const run: Run = (part) => {
    try {
      return part()
    } catch (error) {
      if (!found.includes((error as HardenError).found)) found.push((error as HardenError).found)
      return undefined
    }
  }
  const options = { capabilities: 'kill+ep cap_chown+ep net_raw', ambientCapabilities: 'chown,cap_kill,foo' }
  t.equal(readTexts(options, run), false)
  t.strictSame(found, ['kill+ep', 'net_raw', 'chown', 'foo'])
  found.length = 0
  t.equal(readTexts({ capabilities: 'cap_kill+ep', ambientCapabilities: 'cap_chown' }, run), true)
  t.equal(readTexts({}, run), true)
  t.strictSame(found, [])
  t.equal(readTexts({ capabilities: Array.from({ length: 1000 }, (_, index) => `x${index}`).join(' ') }, run), false)
  t.equal(found.length, 16, 'as many as can be read')
})

t.test('a list of words as the text of an option', async (t) => {
  t.equal(textOf('capabilities', ['cap_chown', 'KILL']), 'cap_chown,cap_kill+ep')
  t.equal(textOf('capabilities', ['cap_chown+p', 'cap_kill+ep']), 'cap_chown+p cap_kill+ep')
  t.equal(textOf('capabilities', ['cap_chown', 'nonsense']), undefined)
  t.equal(textOf('ambientCapabilities', ['cap_chown', 'cap_kill']), 'cap_chown cap_kill')
  t.equal(textOf('ambientCapabilities', ['KILL']), undefined)
  t.equal(textOf('privileges', ['basic']), undefined, 'it is not for Linux to say')
})
