/**
 * Generated files of Momentum's grammar, which no person would think of. The oracle: the generator knows what a file
 * says, `options`.
 */
import fc from 'fast-check'

export const ecuser = { user: 'ecuser', group: 'ecuser' }

const blank = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(' ', '\n', '\t', '\r\n', '  ') },
  fc.constantFrom('# } security { user = x }\n', '/* { "\' # \\ */', ' /**/ '),
)
const plain = fc.stringMatching(/^[a-zA-Z0-9_.:*+,;<>|%é邮-]{1,8}$/)
const quote = fc.constantFrom('"', "'")
const characters = fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => text.replace(/["'\\\0\ufffd]/g, ''))
const quoted = fc.tuple(characters, quote).map(([text, mark]) => ({ text, written: `${mark}${text}${mark}` }))
const value = fc.oneof(
  plain.map((text) => ({ text, written: text })),
  quoted,
)

export interface Setting {
  readonly key: string
  readonly value: string | string[]
  readonly written: string
}

/** The same letters, large or small. */
const anyCase = (word: string) =>
  fc
    .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
    .map((large) => [...word].map((letter, i) => (large[i] ? letter.toUpperCase() : letter)).join(''))
const text = (key: string): fc.Arbitrary<Setting> =>
  fc
    .tuple(anyCase(key), blank, value)
    .map(([name, space, { text, written }]) => ({ key, value: text, written: `${name}${space}=${space}${written}` }))
/** A comma, white space or both between the values; a bare one has none in it. */
const separator = fc.tuple(blank, fc.constantFrom('', ',', ', ', ',,')).map(([space, comma]) => `${comma}${space}`)
const groups: fc.Arbitrary<Setting> = fc
  .tuple(anyCase('supplemental_groups'), fc.array(fc.oneof(value), { maxLength: 4 }), separator)
  .map(([name, values, between]) => {
    const bare = values.map(({ text, written }) =>
      text === written
        ? { text: `g${text.replaceAll(',', '')}`, written: `g${text.replaceAll(',', '')}` }
        : { text, written },
    )
    return {
      key: 'supplementalGroups',
      value: bare.map(({ text }) => text),
      written: `${name} = (${between}${bare.map(({ written }) => written).join(between)}${between})`,
    }
  })
const setting = fc.oneof(...['user', 'group', 'chroot', 'capabilities', 'privileges'].map(text), groups)
const security = fc
  .tuple(anyCase('security'), fc.array(setting, { maxLength: 6 }), blank, fc.constantFrom('', '='))
  .map(([name, settings, space, equals]) => ({
    settings,
    written: `${name}${space}${equals}{${space}${settings.map(({ written }) => written).join(space)}${space}}`,
  }))

/* ---- what is passed over ---- */

const escaped = fc
  .tuple(fc.array(fc.oneof(characters, fc.constantFrom('\\d', '\\"', "\\'", '\\\\', '\\r\\n', '\\{'))), quote)
  .map(([parts, mark]) => `${mark}${parts.join('')}${mark}`)
const path = fc.array(fc.stringMatching(/^[a-z0-9_.:-]{1,5}$/), { maxLength: 3 }).map((parts) => `/${parts.join('/')}`)
const regex = fc
  .tuple(
    fc.array(fc.constantFrom('^a', '\\.', '\\/', '(b|c)', '[d-e]', '{2,3}', '+', '$', '\\"'), { minLength: 1 }),
    fc.constantFrom('', 'i'),
  )
  .map(([parts, flags]) => `/(?:x)${parts.join('')}/${flags}`)
const word = fc.oneof(
  value.map(({ written }) => written),
  escaped,
  path,
  regex,
)
const foreign = fc.letrec<{ statement: string; value: string }>((tie) => {
  const entries = fc
    .array(fc.tuple(word, tie('value')), { maxLength: 3 })
    .map((pairs) => `[ ${pairs.map(([key, value]) => `${key} = ${value}`).join(' ')} ]`)
  const inner = fc.array(tie('statement'), { maxLength: 3 })
  return {
    value: fc.oneof(
      { depthSize: 'small' },
      word,
      fc
        .tuple(fc.array(tie('value'), { maxLength: 3 }), fc.constantFrom(' ', ' , '))
        .map(([values, between]) => `( ${values.join(between)} )`),
      entries,
    ),
    statement: fc.oneof(
      { depthSize: 'small' },
      fc.tuple(plain, tie('value')).map(([name, value]) => `o${name} = ${value}`),
      fc.tuple(plain, entries).map(([name, value]) => `d${name} ${value}`),
      fc.tuple(plain, word, inner).map(([name, instance, inner]) => `s${name} ${instance} { ${inner.join(' ')} }`),
      fc.tuple(fc.constantFrom('', '= '), inner).map(([equals, inner]) => `other ${equals}{ ${inner.join('\n')} }`),
    ),
  }
}).statement

/* ---- files ---- */

const part = fc.oneof(
  security,
  foreign.map((written) => ({ settings: [] as Setting[], written })),
)
type Part = { settings: Setting[]; written: string }

const optionsOf = (parts: readonly Part[]) => ({
  ...ecuser,
  ...Object.fromEntries(parts.flatMap(({ settings }) => settings).map(({ key, value }) => [key, value])),
})

/** One file, which has a security scope. */
export const file = fc
  .tuple(security, fc.array(part, { maxLength: 5 }), blank, fc.constantFrom('', '\ufeff'))
  .map(([first, others, space, mark]) => {
    const parts = [...others, first]
    return { text: mark + parts.map(({ written }) => written).join(space), options: optionsOf(parts) }
  })

const several = fc.array(part, { maxLength: 3 })
const join = (parts: readonly Part[]) => parts.map(({ written }) => written).join('\n')

/** A main file that includes one and names local changes somewhere, and a cluster's. */
export const configuration = fc
  .record({ first: security, before: several, included: several, after: several, cluster: several, local: several })
  .chain(({ first, before, included, after, cluster, local }) =>
    fc.record({
      options: fc.constant(optionsOf([first, ...before, ...included, ...after, ...cluster, ...local])),
      files: fc.constantFrom('main.conf', 'included.conf', 'cluster.conf').map((named) => {
        const all: Record<string, string> = {
          'main.conf': `${join([first, ...before])}\ninclude "included.conf"\n${join(after)}`,
          'included.conf': join(included),
          'cluster.conf': join(cluster),
        }
        return { ...all, [named]: `Local_Changes_File = l.conf\n${all[named]}`, 'l.conf': join(local) }
      }),
    }),
  )

/** What a slip of the finger, or anything else, makes of a text. */
export const slip = fc
  .tuple(
    fc.nat(),
    fc.oneof(fc.constantFrom(...'={}[]()#/"\'\\,\0\n* ', '/*', '*/', '\u00a0'), fc.string({ unit: 'binary' })),
    fc.boolean(),
  )
  .map(([place, more, cut]) => (text: string) => {
    const at = place % (text.length + 1)
    return cut ? text.slice(0, at) : text.slice(0, at) + more + text.slice(at)
  })
