/** Promise: what a security scope says is found, nothing else is taken for it, and whatever is unclear is refused where it stands. */
import { deepStrictEqual } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { readSecurityConfig, type SecurityConfigOptions } from '../lib/config'
import { HardenError } from '../lib/errors'
import { refusal } from './refused'

const fixtures = join(__dirname, 'fixtures')
const ecuser = { user: 'ecuser', group: 'ecuser' }

/** A folder with these files: their paths lead to their text. */
function folder(t: Test, files: Record<string, string | Buffer>): string {
  const path = t.testdir()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}

/** What a main file says, beside others. */
function read(t: Test, text: string | Buffer, others: Record<string, string | Buffer> = {}, searchPath: string[] = []) {
  const path = folder(t, { 'main.conf': text, ...others })
  return readSecurityConfig(join(path, 'main.conf'), { searchPath: searchPath.map((name) => join(path, name)) })
}

/** How it is refused: message without the folder, code checked. */
function refused(...args: Parameters<typeof read>): string {
  const { code, message, remedy } = refusal(() => read(...args))
  if (code !== 'ERR_HARDEN_CONFIG' || !remedy) throw new Error(`${code}: ${message}`)
  return message.replaceAll(`${args[0].testdirName}/`, '')
}

/** Nor an operator's environment has a say. */
t.before(() => {
  delete process.env.EC_CONF_SEARCH_PATH
})

t.test('the two documented examples', async (t) => {
  const main = join(fixtures, 'ecelerity.conf')
  t.strictSame(readSecurityConfig(main), {
    ...ecuser,
    capabilities: 'cap_net_bind_service+ep',
    privileges: 'basic net_privaddr',
  })
  t.strictSame(readSecurityConfig(main, { cluster: join(fixtures, 'ecelerity-cluster.conf') }), {
    ...ecuser,
    capabilities: 'cap_net_admin+ep cap_net_bind_service+ep cap_net_raw+ep cap_sys_resource+ep',
    privileges: 'basic net_privaddr net_bindmlp sys_resource sys_net_config net_rawaccess',
  })
})

t.test('what is returned is frozen, and can be spread', async (t) => {
  const options = read(t, 'security { supplemental_groups = ( mail ) }')
  t.ok(Object.isFrozen(options))
  t.ok(Object.isFrozen(options.supplementalGroups))
  t.strictSame(
    { ...options, rehearse: { bind: [25] } },
    { ...ecuser, supplementalGroups: ['mail'], rehearse: { bind: [25] } },
  )
})

t.test('what is understood', async (t) => {
  const table: [title: string, text: string, options: object][] = [
    ['nothing set', 'security { }', {}],
    ['no white space', 'security{user=a group=b}', { user: 'a', group: 'b' }],
    ['much of it', '\r\n\t\f\vsecurity\n\n{\r\nuser\n=\n\na\n}\n', { user: 'a' }],
    [
      'every option',
      'security { user = a group = b chroot = "/c" capabilities = "d e" privileges = "f,g" }',
      { user: 'a', group: 'b', chroot: '/c', capabilities: 'd e', privileges: 'f,g' },
    ],
    [
      'names ignore case, values do not',
      'SECURITY { uSeR = MailUser Supplemental_Groups = ( MAIL ) }',
      { user: 'MailUser', supplementalGroups: ['MAIL'] },
    ],
    ['quotes of both kinds', `security { user = "it's" group = 'a "b"' }`, { user: "it's", group: 'a "b"' }],
    ['an empty value', 'security { capabilities = "" }', { capabilities: '' }],
    [
      'marks and comments in quotes',
      `security { capabilities = "# /* = { } [ ] ( ) */" }`,
      { capabilities: '# /* = { } [ ] ( ) */' },
    ],
    ['lines in quotes', 'security { capabilities = "a\nb" }', { capabilities: 'a\nb' }],
    [
      'ids',
      'security { user = 0 group = 007 supplemental_groups = ( 1 "2" ) }',
      { user: '0', group: '007', supplementalGroups: ['1', '2'] },
    ],
    ['a list of none', 'security { supplemental_groups = () }', { supplementalGroups: [] }],
    ['a single value', 'security { supplemental_groups = mail }', { supplementalGroups: ['mail'] }],
    [
      'slashes in lists',
      'security { supplemental_groups = ( a/b /c/ d// /*e*/ f/*g*/h ) }',
      { supplementalGroups: ['a/b', '/c/', 'd//', 'f', 'h'] },
    ],
    ['characters of other scripts', 'security { user = "é 邮" group = Ω }', { user: 'é 邮', group: 'Ω' }],
    [
      'comments',
      '# security { user = a }\n/* security { user = b } # */ security { /**/ user /* ** / /* */ = # }\n c }#',
      { user: 'c' },
    ],
    ['a comment does not nest', '/* /* */ security { user = a }', { user: 'a' }],
    ['a comment ends a word', 'security { user = a#b\n group = c/*d*/ }', { user: 'a', group: 'c' }],
    ['the later one', 'security { user = a user = b group = c }', { user: 'b', group: 'c' }],
    ['the later one, whatever its case', 'security { user = a USER = b }', { user: 'b' }],
    [
      'several scopes, key by key',
      'security { user = a group = b } security { user = c } security {}',
      { user: 'c', group: 'b' },
    ],
    [
      'the later list',
      'security { supplemental_groups = ( a b ) supplemental_groups = c }',
      { supplementalGroups: ['c'] },
    ],
    [
      'options of other scopes',
      'user = x a { user = x b { user = x } } security { user = a } c "user" { group = x }',
      { user: 'a' },
    ],
    ['after one in another', 'a { b { } security { user = x } } security { }', {}],
    [
      'security scopes in others',
      'security { user = a } a { security { user = x no = x } } b { c { security "d" { user = [] } } }',
      { user: 'a' },
    ],
    ['a setting of that name', 'security = "a" security { user = a } include = b', { user: 'a' }],
    ['a setting of that name in a dictionary', 'a = [ security = b user = c ] security { }', {}],
    [
      'scopes with names, and empty',
      'a {} b "c d" { } e f.g { h *:25 {} } i "" { j {} } security { user = a }',
      { user: 'a' },
    ],
    [
      'arrays and dictionaries elsewhere',
      'a = ( ) b = [ ] c = ( d "e" f/g [ h = ( i ) j = [ k = l ] ] ) "m" {} security {}'.replace(' "m" {}', ' m {}'),
      {},
    ],
    ['keys in quotes', 'a = [ "b c" = "}" ] security { user = a }', { user: 'a' }],
    ['scopes called as what every object has', 'constructor { } __proto__ = a toString "b" { } security { }', {}],
  ]
  for (const [title, text, options] of table) t.strictSame(read(t, text), { ...ecuser, ...options }, title)
})

t.test('what is refused, and where', async (t) => {
  const table: [title: string, text: string, place: string, words: string][] = [
    ['an unknown option', 'security {\n  usr = mail\n}', '2:3', "the security scope has no 'usr'"],
    ['what every object has', 'security { constructor = a }', '1:12', "the security scope has no 'constructor'"],
    ['our spelling', 'security { supplementalGroups = a }', '1:12', "has no 'supplementalGroups'"],
    ['a scope in it', 'security { user { } }', '1:12', "the security scope has no 'user'"],
    ['a security scope in it', 'security { security { } }', '1:12', "the security scope has no 'security'"],
    ['a security scope with a name', 'security "a" { user = b }', '1:1', 'a security scope has no name'],
    ['and an empty one', 'security "" { user = b }', '1:1', 'a security scope has no name'],
    ['no scope', 'a = b\n', '2:1', 'there is no security scope'],
    ['nothing', '', '1:1', 'there is no security scope'],
    ['an array', 'security { user = ( mail ) }', '1:19', 'user is one value'],
    ['an empty array', 'security { Capabilities = ( ) }', '1:27', 'capabilities is one value'],
    ['a dictionary', 'security { chroot = [ a = b ] }', '1:21', 'chroot is one value'],
    ['a dictionary of groups', 'security { supplemental_groups = [ a = b ] }', '1:34', 'supplemental_groups is a list'],
    [
      'a dictionary in the list',
      'security { supplemental_groups = ( a [ ] [ ] ) }',
      '1:38',
      'supplemental_groups is a list',
    ],
    ['a list in the list', 'security { supplemental_groups = ( ( a ) ) }', '1:36', 'supplemental_groups is a list'],
    ['a wrong type, though overridden', 'security { user = ( a ) user = b }', '1:19', 'user is one value'],
    ['a slash without quotes', 'security { chroot = /srv }', '1:21', "unexpected '/'"],
    ['and within a word', 'a = b/c', '1:6', "unexpected '/'"],
    ['a backslash', 'security { chroot = "/srv\\"" }', '1:26', 'a backslash in quotes'],
    ['a backslash elsewhere', `a { b = '\\d' }`, '1:10', 'a backslash in quotes'],
    ['a backslash without quotes', 'a = \\b', '1:5', "unexpected '\\\\'"],
    ['a space of another script', 'security { user =\u00a0mail }', '1:18', "unexpected '\u00a0'"],
    ['a byte order mark', '\ufeffsecurity { }', '1:1', "unexpected '\ufeff'"],
    ['a NUL byte', 'a = b\0', '1:6', "unexpected '\\x00'"],
    ['a comment without end', 'security { }\n /* a * /', '2:2', 'this comment has no end'],
    ['the shortest', '/*/', '1:1', 'this comment has no end'],
    ['a quote without end', 'security { user = "mail }\n', '1:19', 'this quote has no end'],
    ['a quote of the other kind', `security { user = "mail' }`, '1:19', 'this quote has no end'],
    ['a scope without end', 'a {\n b {\n }\n', '1:1', 'this scope has no end'],
    ['the inner one', 'a {\n security {\n', '2:2', 'this scope has no end'],
    ['an end without scope', 'security { } }', '1:14', "there is '}' where the name"],
    ['a quoted name', 'security { "user" = mail }', '1:12', "there is 'user' where the name"],
    ['no value', 'security { user = }', '1:19', "there is '}' where a value"],
    ['no value, and the next option', 'security { user = group = mail }', '1:25', "there is '=' where the name"],
    ['no equals sign', 'security { user mail }', '1:22', `there is '}' where '=' or '{'`],
    ['a mark instead', 'security ( )', '1:10', `there is '(' where '=' or '{'`],
    ['two names', 'a "b" "c" { }', '1:7', `there is 'c' where '=' or '{'`],
    ['an array that ends as a scope', 'a = ( b }', '1:9', `there is '}' where a value or ')'`],
    ['an array that ends as a dictionary', 'a = ( b ]', '1:9', `there is ']' where a value or ')'`],
    ['an array without end', 'a = ( b', '1:8', `the file ends where a value or ')'`],
    ['a dictionary without end', 'a = [ b = c', '1:12', `the file ends where a key or ']'`],
    ['a dictionary that ends as an array', 'a = [ b = c )', '1:13', `there is ')' where a key or ']'`],
    ['a dictionary without values', 'a = [ b c ]', '1:9', `there is 'c' where '='`],
    ['a dictionary that ends in a setting', 'a = [ b = ]', '1:11', `there is ']' where a value`],
    ['the end in a name', 'security', '1:9', `the file ends where '=' or '{'`],
    ['an include of an option', 'include [ a ]', '1:9', `there is '[' where '=' or '{'`],
  ]
  for (const [title, text, place, words] of table) {
    const message = refused(t, text)
    t.ok(message.startsWith(`main.conf:${place}: `), `${title}: ${message}`)
    t.match(message, words, title)
  }
})

t.test('the line, and a caret under the place', async (t) => {
  const excerpt = (text: string | Buffer): string[] => refused(t, text).split('\n').slice(1)
  t.strictSame(
    excerpt('security {\n\tuser\t= (\r\n a ) }'),
    ['\tuser\t= (', '\t    \t  ^'],
    'tabs stay, the carriage return does not',
  )
  t.strictSame(excerpt('security { é = a }'), ['security { é = a }', '           ^'])
  t.strictSame(
    excerpt('security { a\u001b[2J = "\u009b" }'.replace('a\u001b', 'a "\u001b"')),
    ['security { a "\ufffd"[2J = "\ufffd" }', '                ^'],
    'a terminal is not spoken to',
  )
  t.strictSame(excerpt('a = b\n'), ['', '^'], 'the end of the file')
  t.strictSame(excerpt(''), [], 'nothing to show')
  const sixty = 'x'.repeat(60)
  t.strictSame(excerpt(`${sixty}/${sixty.slice(1)}`), [`${sixty}/${sixty.slice(1)}`, `${' '.repeat(60)}^`])
  t.strictSame(excerpt(`y${sixty}/${sixty}`), [`...${sixty}/${sixty.slice(1)}...`, `${' '.repeat(63)}^`])
  const megabyte = refused(t, `${'x'.repeat(1_000_000)}/${'y'.repeat(1_000_000)}\nz`)
  t.match(megabyte, /^main\.conf:1:1000001: /)
  t.ok(megabyte.length < 500)
  const endless = refused(t, `include "/${'x'.repeat(1_000_000)}y"`)
  t.match(endless, /^main\.conf:1:9: '\.\.\.x+y' cannot be read: ENAMETOOLONG/)
  t.ok(endless.length < 1000)
  t.strictSame(excerpt(Buffer.from('security { us\xe9r = a }', 'latin1')), [
    'security { us\ufffdr = a }',
    '           ^',
  ])
})

t.test('bytes that are not UTF-8', async (t) => {
  const latin1 = (text: string) => Buffer.from(text, 'latin1')
  t.strictSame(read(t, latin1('# \xe9\na "\xe9" { b = "\xff\xfe" } security { user = a /* \xe9 */ }')), {
    ...ecuser,
    user: 'a',
  })
  t.match(refused(t, latin1('security { chroot = "/srv/\xe9" }')), /^main\.conf:1:21: this value is not UTF-8/)
  t.match(
    refused(t, latin1('security { supplemental_groups = ( a \xe9 ) }')),
    /^main\.conf:1:38: this value is not UTF-8/,
  )
  for (let byte = 0; byte < 256; byte++)
    for (const text of ['$', 'security { user = $ }', 'security { user = "$" }', '# $\nsecurity { }']) {
      const [before = '', after = ''] = text.split('$')
      const bytes = Buffer.concat([Buffer.from(before), Buffer.from([byte]), Buffer.from(after)])
      outcome(() => read(t, bytes))
    }
})

/** Nothing but a result, or the one error. */
function outcome(call: () => object): object | undefined {
  try {
    return call()
  } catch (error) {
    if (error instanceof HardenError && error.code === 'ERR_HARDEN_CONFIG') return undefined
    throw error
  }
}

t.test('includes', async (t) => {
  const a = 'security { user = a chroot = "/a" }'
  const b = 'security { user = b }'
  type Row = [title: string, text: string, others: Record<string, string>, options: object, searchPath?: string[]]
  const table: Row[] = [
    [
      'by either word, in any case, quoted or not',
      'include "a" Readonly_Include b',
      { a, b },
      { user: 'b', chroot: '/a' },
    ],
    ['before: overridden', `include "b" ${a}`, { b }, { user: 'a', chroot: '/a' }],
    ['afterwards: overriding', `${a} include "b"`, { b }, { user: 'b', chroot: '/a' }],
    [
      'inside the scope',
      'security { user = x include "c" group = y }',
      { c: 'user = c group = c' },
      { user: 'c', group: 'y' },
    ],
    ['inside another scope', 'a { include "a" b { include "c" } } security { }', { a, c: 'user = c' }, {}],
    ['the same twice', 'include "b" security { user = x } include "b"', { b }, { user: 'b' }],
    [
      'from the folder of the file that includes',
      'include "d/e"',
      { 'd/e': 'include "b"', 'd/b': b, b: a },
      { user: 'b' },
    ],
    ['that folder comes first', 'include "a"', { a: b, 's/a': a }, { user: 'b' }, ['s']],
    ['then the search path', 'include "a"', { 's/a': a }, { user: 'a', chroot: '/a' }, ['no', 's']],
    ['in its order', 'include "a"', { 'r/a': b, 's/a': a }, { user: 'b' }, ['r', 's']],
    ['in its order, the other', 'include "a"', { 'r/a': b, 's/a': a }, { user: 'a', chroot: '/a' }, ['s', 'r']],
    ['a file on the way is no folder', 'include "a/b"', { a: '', 's/a/b': b }, { user: 'b' }, ['s']],
    [
      'a directory: its files in lexical order',
      'include "d"',
      { 'd/10': a, 'd/9': b, 'd/B': 'security { chroot = "/B" }', 'd/a': 'security { group = a }' },
      { user: 'b', chroot: '/B', group: 'a' },
    ],
    ['without dotfiles', 'include "d/"', { 'd/.b': b, 'd/..b': '?', 'd/a': a }, { user: 'a', chroot: '/a' }],
    ['without its directories', 'include "d"', { 'd/a': a, 'd/b/c': b, 'd/c/.d': '?' }, { user: 'a', chroot: '/a' }],
    ['whatever their names end with', 'include "d"', { 'd/a': a, 'd/b.conf~': b }, { user: 'b', chroot: '/a' }],
    ['each from its own folder', 'include "d"', { 'd/a': 'include "../b"', b }, { user: 'b' }],
    ['an empty directory', 'include "d" security { }', { 'd/.keep': '' }, {}],
    ['a directory in the search path', 'include "d"', { 's/d/b': b }, { user: 'b' }, ['s']],
  ]
  for (const [title, text, others, options, searchPath] of table)
    t.strictSame(read(t, text, others, searchPath), { ...ecuser, ...options }, title)

  const path = folder(t, { a, 'd/main.conf': `include "${t.testdirName}/a"` })
  t.match(readSecurityConfig(join(path, 'd/main.conf')), { user: 'a' }, 'an absolute path')
})

t.test('includes that are refused, and where', async (t) => {
  type Row = [title: string, text: string, others: Record<string, string>, message: RegExp]
  const table: Row[] = [
    [
      'what is not there',
      'security { }\n include "no"',
      {},
      /^main\.conf:2:10: there is no such file\. .*looked for: 'no', 's\/no'\.\n include "no"\n {9}\^$/,
    ],
    ['and with an absolute path', 'include "/no/such"', {}, /^main\.conf:1:9: .*looked for: '\/no\/such'\.\n/],
    [
      'in a scope that does not matter',
      'security { } a { include "no" }',
      {},
      /^main\.conf:1:26: there is no such file/,
    ],
    ['a URI', 'include "http://localhost/a"', {}, /^main\.conf:1:9: a URI is not included/],
    ['a URI of any kind', 'readonly_include "Persist+x://a"', {}, /^main\.conf:1:18: a URI is not included/],
    ['a NUL byte', 'include "a\0b"', {}, /^main\.conf:1:9: 'a\ufffdb' cannot be read: ERR_INVALID_ARG_VALUE/],
    ['what is no file', 'include "/dev/zero"', {}, /^main\.conf:1:9: '\/dev\/zero' cannot be read: it is neither/],
    ['itself', 'include "main.conf"', {}, /^main\.conf:1:9: 'main\.conf' would include itself/],
    [
      'itself, around',
      'include "a"',
      { a: 'b { include "c" }', c: '\ninclude "a"' },
      /^c:2:9: 'a' would include itself/,
    ],
    ['its own directory', 'include "."', {}, /^main\.conf:1:9: '\.\/main\.conf' would include itself/],
    ['its place is in the included file', 'include "a"', { a: '\nsecurity { usr = b }' }, /^a:2:12: /],
    ['a scope does not go on in another file', 'security { include "a"', { a: '}' }, /^a:1:1: there is '}'/],
    ['nor begin there', 'include "a" }', { a: 'security {' }, /^a:1:1: this scope has no end/],
    [
      'the security scope of an included file, in another',
      'a { include "b" }',
      { b: 'security { }' },
      /^main\.conf:1:18: there is no security/,
    ],
    [
      'a security scope in itself',
      'security { include "a" }',
      { a: 'security { }' },
      /^a:1:1: the security scope has no 'security'/,
    ],
  ]
  for (const [title, text, others, message] of table) t.match(refused(t, text, others, ['s']), message, title)
})

t.test('files that cannot be read', async (t) => {
  const path = folder(t, { 'main.conf': 'security { } include "x"', 'd/a': '' })
  const main = join(path, 'main.conf')
  symlinkSync('x', join(path, 'x'))
  t.match(
    refusal(() => readSecurityConfig(main)),
    { code: 'ERR_HARDEN_CONFIG', syscall: 'open', message: /main\.conf:1:22: .* ELOOP/, cause: { code: 'ELOOP' } },
  )
  execFileSync('mkfifo', [join(path, 'fifo')])
  writeFileSync(main, 'include "fifo"')
  t.match(refusal(() => readSecurityConfig(main)).message, /main\.conf:1:9: .* neither a file/, 'and nobody waits')
  symlinkSync('nowhere', join(path, 'd/b'))
  writeFileSync(main, 'include "d"')
  t.match(refusal(() => readSecurityConfig(main)).message, /main\.conf:1:9: .*no such file.*d\/b'/)

  for (const [name, words, errno] of [
    ['no', /no:1:1: .* ENOENT/, -2],
    ['d', /d:1:1: .* is a directory/, undefined],
    ['fifo', /fifo:1:1: .* neither a file/, undefined],
  ] as const)
    for (const call of [
      () => readSecurityConfig(join(path, name)),
      () => readSecurityConfig(join(fixtures, 'ecelerity.conf'), { cluster: join(path, name) }),
    ]) {
      const error = refusal(call)
      t.match(error, { code: 'ERR_HARDEN_CONFIG', message: words })
      t.equal(error.errno, errno)
      t.ok(error.message.startsWith(path))
    }
})

t.test('as deep as includes go, and as many', async (t) => {
  const files: Record<string, string> = { last: 'security { user = a }' }
  for (let depth = 0; depth < 32; depth++) files[`${depth}`] = `include "${depth === 31 ? 'last' : depth + 1}"`
  t.match(read(t, 'include "1"', files), { user: 'a' }, 'thirty-two')
  t.match(refused(t, 'include "0"', files), /^31:1:9: includes go deeper/)
  t.match(read(t, 'include "a" '.repeat(10_000), { a: 'security { }' }), ecuser)
  t.match(
    refused(t, 'include "a" '.repeat(10_001), { a: 'security { }' }),
    /^main\.conf:1:120009: includes go deeper .* more than 10000/,
  )
  const doubled = Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [`${i}`, `include "${i + 1}" include "${i + 1}"`]),
  )
  t.match(refused(t, 'include "0"', { ...doubled, 30: '' }), /more than 10000/, 'a file of files of files')
})

t.test("the cluster's scope replaces the other as a whole", async (t) => {
  const main = 'security { user = a group = b chroot = "/c" }'
  const both = (cluster: string, text = main, more = {}) => {
    const path = folder(t, { 'main.conf': text, 'cluster.conf': cluster, ...more })
    return readSecurityConfig(join(path, 'main.conf'), {
      cluster: join(path, 'cluster.conf'),
      searchPath: [join(path, 's')],
    })
  }
  t.strictSame(both('security { user = x }'), { ...ecuser, user: 'x' })
  t.strictSame(both('security { }'), ecuser, 'an empty one, too')
  t.strictSame(
    both('include "a"', main, { 's/a': 'security { user = x }' }),
    { ...ecuser, user: 'x' },
    'one that it includes',
  )
  t.strictSame(both('cluster { security { user = x } }'), { user: 'a', group: 'b', chroot: '/c' }, 'if it has one')
  t.strictSame(both('security { user = x }', 'a = b'), { ...ecuser, user: 'x' }, 'whether there is another or not')
  t.strictSame(both('security { user = x }', 'security { user = a } include "cluster.conf"'), { ...ecuser, user: 'x' })
  t.match(refusal(() => both('a = b', 'a = b')).message, /main\.conf:1:6: there is no security scope/)
  t.match(refusal(() => both('security { user = x }', 'security { usr = a }')).message, /main\.conf:1:12: /)
  t.match(refusal(() => both('security { usr = x }')).message, /cluster\.conf:1:12: /)
})

t.test("the environment's search path", async (t) => {
  const path = folder(t, {
    'd/main.conf': 'include "a"',
    'r/a': 'security { user = r }',
    's/a': 'security { user = s }',
  })
  t.teardown(() => {
    delete process.env.EC_CONF_SEARCH_PATH
  })
  const main = join(path, 'd/main.conf')
  process.env.EC_CONF_SEARCH_PATH = `:${path}/no::${path}/s:${path}/r:`
  t.equal(readSecurityConfig(main).user, 's')
  t.equal(readSecurityConfig(main, { searchPath: undefined }).user, 's')
  t.equal(readSecurityConfig(main, { searchPath: [join(path, 'r')] }).user, 'r', 'unless there is another')
  t.equal(refusal(() => readSecurityConfig(main, { searchPath: [] })).code, 'ERR_HARDEN_CONFIG', 'or none')
  const before = process.cwd()
  process.chdir(join(path, 's'))
  t.teardown(() => process.chdir(before))
  process.env.EC_CONF_SEARCH_PATH = ':'
  t.match(refusal(() => readSecurityConfig(main)).remedy, /looked for: '[^']*d\/a'$/, 'an empty part is no folder')
  process.env.EC_CONF_SEARCH_PATH = '../r'
  t.equal(readSecurityConfig('../d/main.conf').user, 'r', 'relative ones begin in it')
})

t.test('wrong arguments', async (t) => {
  const main = join(fixtures, 'ecelerity.conf')
  const call = (path: unknown, options?: unknown) => () =>
    readSecurityConfig(path as string, options as SecurityConfigOptions)
  const table: [call: () => unknown, code: string, option: string][] = [
    [call(undefined), 'ERR_INVALID_ARG_TYPE', 'path'],
    [call(Buffer.from(main)), 'ERR_INVALID_ARG_TYPE', 'path'],
    [call(`${main}\0`), 'ERR_INVALID_ARG_VALUE', 'path'],
    [call(main, null), 'ERR_INVALID_ARG_TYPE', 'options'],
    [call(main, main), 'ERR_INVALID_ARG_TYPE', 'options'],
    [call(main, { clutser: main }), 'ERR_INVALID_ARG_VALUE', 'clutser'],
    [call(main, { cluster: 1 }), 'ERR_INVALID_ARG_TYPE', 'cluster'],
    [call(main, { cluster: '\0' }), 'ERR_INVALID_ARG_VALUE', 'cluster'],
    [call(main, { searchPath: '/etc:/opt' }), 'ERR_INVALID_ARG_TYPE', 'searchPath'],
    [call(main, { searchPath: ['/etc', 1] }), 'ERR_INVALID_ARG_TYPE', 'searchPath[1]'],
  ]
  for (const [call, code, option] of table) t.match(refusal(call), { code, option, remedy: /./ })
  t.match(readSecurityConfig(main, { cluster: undefined, searchPath: undefined }), ecuser)
})

t.test('no descriptor stays open', async (t) => {
  const open = () => readdirSync('/proc/self/fd').length
  const before = open()
  read(t, 'include "d" security { }', { 'd/a': '', 'd/b/c': '' })
  refused(t, 'include "d"', { 'd/a': 'security {' })
  refused(t, 'include "/dev/null"')
  t.equal(open(), before)
})

t.test('ten megabytes, of whatever kind', async (t) => {
  const times = (text: string) => text.repeat(10_000_000 / text.length)
  for (const text of [
    'a {',
    'a = [ b = ',
    '(',
    '#\n',
    '/**/',
    ' ',
    'a',
    'a = b ',
    'a = "" ',
    'é',
    '"',
    '{',
    'a { } ',
  ]) {
    const whole = `security { user = a }\n${times(text)}`
    const valid = ['#\n', '/**/', ' ', 'a = b ', 'a = "" ', 'a { } '].includes(text)
    t.equal(outcome(() => read(t, whole)) !== undefined, valid, text)
  }
  t.match(read(t, `${'a {'.repeat(2_000_000)}${'}'.repeat(2_000_000)} security { user = a }`), { user: 'a' })
  t.match(read(t, `a = ${'( [ b = '.repeat(1_000_000)}c${'] )'.repeat(1_000_000)} security { user = a }`), {
    user: 'a',
  })
  t.match(read(t, `a = ( ${times('a/**/')} ${times('b/')} ) security { user = a }`), { user: 'a' })
})

// From here on: files that nobody has thought of. The oracle is that who made a file knows what it says.

const blank = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(' ', '\n', '\t', '\r\n', '  ') },
  fc.constantFrom('# } security { user = x }\n', '/* { "\' # */', ' /**/ '),
)
const plain = fc.stringMatching(/^[a-zA-Z0-9_.:*+,;<>|%é邮-]{1,8}$/)
const quoted = fc
  .tuple(fc.string({ unit: 'grapheme', maxLength: 12 }), fc.constantFrom('"', "'"))
  .map(([text, quote]) => ({ text: text.replace(/["'\\\0\ufffd]/g, ''), quote }))
const value = fc.oneof(
  plain.map((text) => ({ text, written: text })),
  quoted.map(({ text, quote }) => ({ text, written: `${quote}${text}${quote}` })),
)
type Setting = { key: string; value: string | string[]; written: string }
/** The same letters, large or small. */
const anyCase = (word: string) =>
  fc
    .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
    .map((large) => [...word].map((letter, i) => (large[i] ? letter.toUpperCase() : letter)).join(''))
const text = (key: string): fc.Arbitrary<Setting> =>
  fc
    .tuple(anyCase(key), blank, value)
    .map(([name, space, { text, written }]) => ({ key, value: text, written: `${name}${space}=${space}${written}` }))
const groups: fc.Arbitrary<Setting> = fc
  .tuple(anyCase('supplemental_groups'), fc.array(value, { maxLength: 4 }), blank)
  .map(([name, values, space]) => ({
    key: 'supplementalGroups',
    value: values.map(({ text }) => text),
    written: `${name} = (${space}${values.map(({ written }) => written).join(space)}${space})`,
  }))
const setting = fc.oneof(...['user', 'group', 'chroot', 'capabilities', 'privileges'].map(text), groups)
const security = fc
  .tuple(anyCase('security'), fc.array(setting, { maxLength: 6 }), blank)
  .map(([name, settings, space]) => ({
    settings,
    written: `${name}${space}{${space}${settings.map(({ written }) => written).join(space)}${space}}`,
  }))
const foreign = fc.letrec<{ statement: string; value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    value.map(({ written }) => written),
    fc.array(tie('value'), { maxLength: 3 }).map((values) => `( ${values.join(' ')} )`),
    fc
      .array(fc.tuple(value, tie('value')), { maxLength: 3 })
      .map((entries) => `[ ${entries.map(([key, value]) => `${key.written} = ${value}`).join(' ')} ]`),
  ),
  statement: fc.oneof(
    { depthSize: 'small' },
    fc.tuple(plain, tie('value')).map(([name, value]) => `o${name} = ${value}`),
    fc
      .tuple(plain, value, fc.array(tie('statement'), { maxLength: 3 }))
      .map(([name, instance, inner]) => `s${name} ${instance.written} { ${inner.join(' ')} }`),
    fc.array(tie('statement'), { maxLength: 3 }).map((inner) => `other { ${inner.join('\n')} security { user = x } }`),
  ),
})).statement
const part = fc.oneof(
  security,
  foreign.map((written) => ({ settings: [] as Setting[], written })),
)
const file = fc.tuple(security, fc.array(part, { maxLength: 5 }), blank).map(([first, others, space]) => {
  const parts = [...others, first]
  return {
    text: parts.map(({ written }) => written).join(space),
    options: {
      ...ecuser,
      ...Object.fromEntries(parts.flatMap(({ settings }) => settings).map(({ key, value }) => [key, value])),
    },
  }
})

t.test('a file of the grammar says what it was made to say', async (t) => {
  let runs = 0
  fc.assert(
    fc.property(file, ({ text, options }) => {
      runs++
      deepStrictEqual(read(t, text), options)
    }),
    { numRuns: 500 },
  )
  t.ok(runs >= 500)
})

t.test('cut anywhere, or with anything put in, it is a result or the one error', async () => {
  const odd = fc.oneof(
    fc.constantFrom(...'={}[]()#/"\'\\\0\n* ', '/*', '*/', 'include "main.conf" ', 'include ""'),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(file, fc.nat(), odd, fc.boolean(), ({ text }, place, more, cut) => {
      const at = place % (text.length + 1)
      outcome(() => read(t, cut ? text.slice(0, at) : text.slice(0, at) + more + text.slice(at)))
    }),
    { numRuns: 1000 },
  )
})

t.test('so are any bytes, and any string', async () => {
  const marks = fc.string({ unit: fc.constantFrom(...'={}[]()#/"\'*\n a', 'security', 'user', 'include', 'é') })
  const any = fc.oneof(
    fc.string({ unit: 'binary' }),
    marks,
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  )
  fc.assert(
    fc.property(any, (text) => {
      outcome(() => read(t, text))
    }),
    { numRuns: 1000 },
  )
})
