/** Promise: every difference between two states is found, excess and lack alike. */
import t from 'tap'
import { allOf, compare, inWords, isAny } from '../lib/state'
import { allFour, type Masked, nothing, stateOf } from './states'

/** One of everything, so that there is something to lack. */
const masked: Masked = {
  user: allFour(1000),
  group: allFour(100),
  groups: [8, 12],
  permitted: 0x401n,
  effective: 0x400n,
  inheritable: 0x400n,
  bounding: 0x401n,
  ambient: 0x400n,
  securebits: 5,
  noNewPrivileges: true,
  jailed: true,
}
const wanted = stateOf(masked)
const but = (changed: Partial<Masked>) => stateOf({ ...masked, ...changed })
const fields = [
  ...['user', 'group', 'groups', 'permitted', 'effective', 'inheritable', 'bounding', 'ambient'],
  ...['jailed', 'noNewPrivileges', 'securebits'],
]

t.test('ids', async (t) => {
  t.strictSame(allOf(7), { real: 7, effective: 7, saved: 7, fs: 7 })
  for (const which of ['real', 'effective', 'saved', 'fs']) t.ok(isAny({ ...allFour(1000), [which]: 0 }, 0), which)
  t.notOk(isAny(allFour(1000), 0))
})

t.test('no difference', async (t) => {
  t.strictSame(compare(inWords(wanted), wanted), [])
  t.strictSame(compare(inWords(wanted), structuredClone(wanted)), [])
})

t.test('every difference of every field', async (t) => {
  const [both, bind] = ['cap_chown cap_net_bind_service', 'cap_net_bind_service']
  type Row = [field: string, changed: Partial<Masked>, wanted: string, found: string]
  const table: Row[] = [
    ...(['real', 'effective', 'saved', 'fs'] as const).flatMap((which, index): Row[] => {
      const but = (id: number, other: number) =>
        Array.from({ length: 4 }, (_, at) => (at === index ? other : id)).join(' ')
      return [
        ['user', { user: { ...masked.user, [which]: 0 } }, '1000 1000 1000 1000', but(1000, 0)],
        ['user', { user: { ...masked.user, [which]: 4294967295 } }, '1000 1000 1000 1000', but(1000, 4294967295)],
        ['group', { group: { ...masked.group, [which]: 0 } }, '100 100 100 100', but(100, 0)],
        ['group', { group: { ...masked.group, [which]: 101 } }, '100 100 100 100', but(100, 101)],
      ]
    }),
    ['groups', { groups: [] }, '8 12', ''],
    ['groups', { groups: [8] }, '8 12', '8'],
    ['groups', { groups: [0, 8, 12] }, '8 12', '0 8 12'],
    ['groups', { groups: [8, 12, 12] }, '8 12', '8 12 12'],
    ['groups', { groups: [812] }, '8 12', '812'],
    ...(['permitted', 'bounding'] as const).flatMap((field): Row[] => [
      [field, { [field]: 0n }, both, ''],
      [field, { [field]: 0x400n }, both, bind],
      [field, { [field]: 0x403n }, both, 'cap_chown cap_dac_override cap_net_bind_service'],
      [field, { [field]: 0x8000000000000401n }, both, `${both} 63`],
    ]),
    ...(['effective', 'inheritable', 'ambient'] as const).flatMap((field): Row[] => [
      [field, { [field]: 0n }, bind, ''],
      [field, { [field]: 0x401n }, bind, both],
      [field, { [field]: 0x8000000000000400n }, bind, `${bind} 63`],
    ]),
    ['securebits', { securebits: 0 }, '5', '0'],
    ['securebits', { securebits: 21 }, '5', '21'],
    ['noNewPrivileges', { noNewPrivileges: false }, 'true', 'false'],
    ['jailed', { jailed: false }, 'true', 'false'],
  ]
  t.strictSame([...new Set(table.map(([field]) => field))].sort(), Object.keys(masked).sort(), 'no field is left out')

  for (const [field, changed, inPlan, inKernel] of table) {
    const title = `${field}: ${inKernel || 'none'}`
    const found = compare(inWords(wanted), but(changed))
    t.strictSame(found, [{ field, wanted: inPlan, found: inKernel }], title)
    // and the other way round: excess becomes lack
    t.strictSame(compare(inWords(but(changed)), wanted), [{ field, wanted: inKernel, found: inPlan }])
  }
})

t.test('all of them, in the order of a report', async (t) => {
  const other = stateOf({ ...nothing, user: allFour(0), group: allFour(0), noNewPrivileges: false })
  t.strictSame(
    compare(inWords(wanted), other).map(({ field }) => field),
    fields,
  )
})

const words = [
  ['user', '1000 1000 1000 1000'],
  ['group', '100 100 100 100'],
  ['groups', '8 12'],
  ['permitted', 'cap_chown cap_net_bind_service'],
  ['effective', 'cap_net_bind_service'],
  ['inheritable', 'cap_net_bind_service'],
  ['bounding', 'cap_chown cap_net_bind_service'],
  ['ambient', 'cap_net_bind_service'],
  ['jailed', 'true'],
  ['noNewPrivileges', 'true'],
  ['securebits', '5'],
] as const

t.test('a state in words', async (t) => {
  t.strictSame([...inWords(wanted)], words)
  t.strictSame(
    [
      ...inWords(
        stateOf({
          user: { real: 1, effective: 2, saved: 3, fs: 4 },
          group: { real: 5, effective: 6, saved: 7, fs: 8 },
          groups: [],
          permitted: 1n,
          effective: 2n,
          inheritable: 4n,
          bounding: 8n,
          ambient: 2n ** 63n,
          securebits: 0,
          noNewPrivileges: false,
          jailed: false,
        }),
      ),
    ],
    [
      ['user', '1 2 3 4'],
      ['group', '5 6 7 8'],
      ['groups', ''],
      ['permitted', 'cap_chown'],
      ['effective', 'cap_dac_override'],
      ['inheritable', 'cap_dac_read_search'],
      ['bounding', 'cap_fowner'],
      ['ambient', '63'],
      ['jailed', 'false'],
      ['noNewPrivileges', 'false'],
      ['securebits', '0'],
    ],
  )
  t.strictSame([...inWords(but({ securebits: undefined }))], words.slice(0, -1), 'what is not known is left out')
  const sets = {
    permitted: ['all'],
    effective: [],
    inheritable: [],
    bounding: undefined,
    ambient: undefined,
    limit: ['basic'],
  }
  const solaris = inWords({ ...wanted, sets, securebits: undefined, flags: ['PRIV_AWARE'] })
  t.strictSame(
    [...solaris].slice(3),
    [
      ['permitted', 'all'],
      ['effective', ''],
      ['inheritable', ''],
      ['limit', 'basic'],
      ['jailed', 'true'],
      ['noNewPrivileges', 'true'],
      ['flags', 'PRIV_AWARE'],
    ],
    'of Solaris',
  )
})

t.test('words that were kept', async (t) => {
  const kept = new Map(words)
  t.strictSame(compare(kept, but({ securebits: undefined })), [], 'what could not be seen is no difference')
  t.strictSame(compare(kept, but({ securebits: 0 })), [{ field: 'securebits', wanted: '5', found: '0' }])
  t.strictSame(compare(kept, but({ securebits: undefined, groups: [0, 8, 12] })), [
    { field: 'groups', wanted: '8 12', found: '0 8 12' },
  ])
  t.strictSame(compare(new Map([['ambient', '']]), wanted), [
    { field: 'ambient', wanted: '', found: 'cap_net_bind_service' },
  ])
})
