/** Promise: what a security scope says is found, nothing else is taken for it, and whatever is unclear is refused at
 * its place. */
import { deepStrictEqual } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { HardenError } from '../lib/errors'
import { readSecurityConfig, type SecurityConfigOptions } from '../lib/momentum'
import { configuration, ecuser, file, slip } from './ecelerity'
import { refusal } from './refused'

const fixtures = join(__dirname, 'fixtures')

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
    ['a setting of that name', 'security = "a" security { user = a }', { user: 'a' }],
    ['a setting of that name in a scope', 'a { security = b } security { user = a }', { user: 'a' }],
    [
      'settings of those names in a dictionary',
      'a = [ security = b user = c include = d local_changes_file = e ] security { }',
      {},
    ],
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
    ['a byte order mark', '\ufeffsecurity { user = a }', { user: 'a' }],
    [
      'commas in lists',
      'security { supplemental_groups = ( "mail", "adm",tls,8,, /**/ , "x,y" , ) }',
      { supplementalGroups: ['mail', 'adm', 'tls', '8', 'x,y'] },
    ],
    ['commas elsewhere', 'security { user = a,b capabilities = c,d+ep }', { user: 'a,b', capabilities: 'c,d+ep' }],
    ['the scope, as one that is assigned', 'security = { user = a } SECURITY={group=b}', { user: 'a', group: 'b' }],
  ]
  for (const [title, text, options] of table) t.strictSame(read(t, text), { ...ecuser, ...options }, title)
})

const mta = { user: 'mta', group: 'mta', capabilities: 'cap_net_bind_service+ep' }
const stanza = 'Security { user = mta group = mta Capabilities = "cap_net_bind_service+ep" }'

t.test('what stands elsewhere in real files is passed over', async (t) => {
  for (const text of [
    // backslashes in quotes
    'Bounce_Pattern = "^b-\\d+@"',
    `greet { banner = "220 hello\\r\\n" }`,
    `a = "\\"" b = '\\'' c = "\\\\" d = "{\\\\\\"}" e { } f = '"\\\\'`,
    'Domain "\\.(net|org)$" { } a = ( "\\"" [ "\\" }" = "\\" {" ] )',
    // dictionaries without an equals sign
    'scheme "x" { map [ a = "%{a}" ] }',
    'map [ ] MAP[a=[b=(c)]]',
    // scopes with one
    'ESMTP_Listener = { Listen ":25" {} }',
    'a = { b = { } c={d={}} }',
    // slashes
    'tls_dhparams_file = /etc/dh.pem a = / b = c/d e = http://x/y/ f = //',
    'Listen /tmp/x {} Listen /tmp/y{} Control_Listener "a" { Listen /tmp/2025 { } }',
    'a [ /b = /c d/e = f/ ] g = [ h = /i/* j */ ]',
    // regular expressions
    'Domain /^a\\.(net|org)$/ {}',
    'Domain /^[a-z]{2,3}\\/x$/i { b = /(c)/ } d = /e{3}[}]/ f [ /(g)/ = /\\#/ ] h = ( /i(j)/ /k\\ l/ )',
    'a = /tmp b = (c) d = /(e)/ f = [ g = /h/ i = (/j/) ]',
    'a = ( b, "c",d ,[ e = f ],g, )',
  ]) {
    t.strictSame(read(t, `${text}\n${stanza}`), mta, text)
    t.strictSame(read(t, `${stanza}${text}`), mta, text)
    t.strictSame(read(t, `a "b" {\n${text}\n}${stanza}`), mta, `${text}, in a scope`)
    t.strictSame(read(t, `include "b" ${stanza}`, { b: `\ufeff${text}` }), mta, `${text}, in another file`)
  }
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
    ['and within a word', 'security { chroot = b/c }', '1:22', "unexpected '/'"],
    ['a slash in a name', 'a/b = c', '1:5', `there is '=' where '{'`],
    ['a slash instead of a name', 'a = b / c { }', '1:7', "unexpected '/'"],
    ['a regular expression', 'security { chroot = /a(b)/ }', '1:21', "unexpected '/'"],
    ['a regular expression in the list', 'security { supplemental_groups = ( /a(b)/ ) }', '1:38', 'is a list'],
    ['one without end', 'a = /b(c d', '1:7', `there is '(' where the name`],
    ['one with an end in a comment', 'a = /b\\(c#/', '1:7', "unexpected '\\\\'"],
    ['one in a list without end', 'a = ( /b\\(c', '1:9', "unexpected '\\\\'"],
    ['one that ends in a backslash', 'a = /b\\', '1:7', "unexpected '\\\\'"],
    ['a backslash', 'security { chroot = "/srv\\"" }', '1:26', 'a backslash in quotes'],
    ['a backslash in the list', `security { supplemental_groups = ( a 'b\\c' ) }`, '1:40', 'a backslash in quotes'],
    ['a backslash in the path of a file', 'include "a\\b"', '1:11', 'a backslash in quotes'],
    ['or of the local changes', 'local_changes_file = "a\\b"', '1:24', 'a backslash in quotes'],
    ['a backslash at the end', 'a = "b\\', '1:5', 'this quote has no end'],
    ['a quote that is escaped', 'a = "b\\"', '1:5', 'this quote has no end'],
    ['a backslash without quotes', 'a = \\b', '1:5', "unexpected '\\\\'"],
    ['a space of another script', 'security { user =\u00a0mail }', '1:18', 'unexpected U+00A0.'],
    ['what nobody sees, at the end of a word', 'security { user = mail\u200b }', '1:23', 'unexpected U+200B.'],
    ['and in a name', 'security { us\u00ader = mail }', '1:14', 'unexpected U+00AD.'],
    ['and in a list', 'security { supplemental_groups = ( a\u3164 ) }', '1:37', 'unexpected U+3164.'],
    ['and beyond sixteen bits', 'a = \u{e0041}', '1:5', 'unexpected U+E0041.'],
    ['a byte order mark after the first', '\ufeff\ufeffsecurity { }', '1:1', 'unexpected U+FEFF.'],
    ['a byte order mark takes no column', '\ufeffsecurity { usr = a }', '1:12', "has no 'usr'"],
    ['a NUL byte', 'a = b\0', '1:6', 'unexpected U+0000.'],
    ['an escape', 'a = \x1b', '1:5', 'unexpected U+001B.'],
    ['a comment without end', 'security { }\n /* a * /', '2:2', 'this comment has no end'],
    ['the shortest', '/*/', '1:1', 'this comment has no end'],
    ['a quote without end', 'security { user = "mail }\n', '1:19', 'this quote has no end'],
    ['a quote of the other kind', `security { user = "mail' }`, '1:19', 'this quote has no end'],
    ['a scope without end', 'a {\n b {\n }\n', '1:1', 'this scope has no end'],
    ['the inner one', 'a {\n b {\n', '2:2', 'this scope has no end'],
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
    ['an include of an option', 'include [ a ]', '1:9', `there is '[' where the path of a file`],
    ['an include that is assigned', 'include = "x"', '1:9', `there is '=' where the path of a file`],
    ['and one for reading, in a scope', 'a { Readonly_Include = x }', '1:22', `there is '=' where the path of a file`],
    ['and in the security scope', 'security { include = "x" }', '1:20', `there is '=' where the path of a file`],
    ['a scope of that name', 'include { }', '1:9', `there is '{' where the path of a file`],
    ['no path', 'include', '1:8', 'the file ends where the path of a file'],
    ['a security scope in another', 'a "b" { Security { user = c } }', '1:9', 'belongs in the global scope'],
    ['and deeper, with a name', 'a { b { security "d" { } } }', '1:9', 'belongs in the global scope'],
    ['and assigned', 'a { security = { } }', '1:5', 'belongs in the global scope'],
    ['so does a lost brace show', 'security { user = a }\na {\nsecurity { user = b }', '3:1', `a '}' may be missing`],
    ['a dictionary of that name', 'security [ user = a ]', '1:1', 'security is a scope'],
    ['and assigned', 'security = [ user = a ]', '1:1', 'security is a scope'],
    ['a list of that name', 'security = ( a )', '1:1', 'security is a scope'],
    ['a value of the security scope in braces', 'security { user = { } }', '1:19', `there is '{' where a value`],
    ['a dictionary without equals sign', 'security { user [ a = b ] }', '1:17', 'user is one value'],
    ['a scope in a value', 'a = ( { } )', '1:7', `there is '{' where a value or ')'`],
    ['a scope in a dictionary', 'a [ b = { } ]', '1:9', `there is '{' where a value`],
    ['an instance of a dictionary', 'a "b" [ ]', '1:7', `there is '[' where '=' or '{'`],
    ['an instance that is assigned', 'a "b" = { }', '1:7', `there is '=' where '{'`],
    ['local changes in a scope', 'a { local_changes_file = "b" }', '1:5', 'belongs in the global scope'],
    ['and in the security scope', 'security { local_changes_file = "b" }', '1:12', "has no 'local_changes_file'"],
    ['several local changes', 'local_changes_file = ( "b" )', '1:22', 'local_changes_file is one value'],
    ['local changes of a dictionary', 'local_changes_file [ ]', '1:20', 'local_changes_file is one value'],
  ]
  for (const [title, text, place, words] of table) {
    const message = refused(t, text)
    t.ok(message.startsWith(`main.conf:${place}: `), `${title}: ${message}`)
    t.match(message, words, title)
  }
})

t.test('an option of another name', async (t) => {
  for (const [word, wanted] of [
    ['uid', 'user'],
    ['usr', 'user'],
    ['supplementary_groups', 'supplemental_groups'],
    ['Capability', 'capabilities'],
    ['root', 'chroot'],
  ])
    t.match(
      refused(t, `security {\n  ${word} = x\n}`),
      `main.conf:2:3: the security scope has no '${word}'. Remedy: the option is called ${wanted} there.\n`,
    )
  t.match(
    refused(t, 'security { no_new_privs = x }'),
    'Remedy: it has user, group, supplemental_groups, ',
    'it is none there',
  )
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
  t.strictSame(excerpt(`${sixty}\\${sixty.slice(1)}`), [`${sixty}\\${sixty.slice(1)}`, `${' '.repeat(60)}^`])
  t.strictSame(excerpt(`y${sixty}\\${sixty}`), [`...${sixty}\\${sixty.slice(1)}...`, `${' '.repeat(63)}^`])
  const megabyte = refused(t, `${'x'.repeat(1_000_000)}\\${'y'.repeat(1_000_000)}\nz`)
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
    ['inside another scope', 'a { include "a" b { include "c" } } security { }', { a: 'b = c', c: 'user = c' }, {}],
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
    ['without quotes', 'include d/e include ./a', { a, 'd/e': b }, { user: 'a', chroot: '/a' }],
    [
      'with a byte order mark',
      'include "a" include "b"',
      { a: `\ufeff${a}`, b: '\ufeff' },
      { user: 'a', chroot: '/a' },
    ],
    ['an empty directory', 'include "d" security { }', { 'd/.keep': '' }, {}],
    ['a directory in the search path', 'include "d"', { 's/d/b': b }, { user: 'b' }, ['s']],
  ]
  for (const [title, text, others, options, searchPath] of table)
    t.strictSame(read(t, text, others, searchPath), { ...ecuser, ...options }, title)

  for (const prefix of ['', 'file://', 'FILE://localhost']) {
    const path = folder(t, { a, 'd/main.conf': `include "${prefix}${t.testdirName}/a"` })
    t.match(readSecurityConfig(join(path, 'd/main.conf')), { user: 'a' }, `an absolute path, ${prefix}`)
  }
})

t.test('the standard search path, and placeholders', async (t) => {
  const user = (name: string) => `security { user = ${name} }`
  const conf = {
    'etc/conf/global/a': user('global'),
    'etc/conf/n1/a': user('node'),
    'etc/conf/default/a': user('default'),
  }
  const table: [title: string, files: Record<string, string>, user: string, main?: string][] = [
    ['the folder of the file', { 'etc/a': user('etc'), ...conf }, 'etc'],
    ['global', conf, 'global'],
    ['that of the node', { 'etc/conf/n1/a': user('node'), 'etc/conf/default/a': user('default') }, 'node'],
    ['default', { 'etc/conf/default/a': user('default') }, 'default'],
    ['of a file for some nodes: its own folder', conf, 'default', 'etc/conf/default/main.conf'],
    ['then those of the same etc', { 'etc/conf/n1/a': user('node') }, 'node', 'etc/conf/default/main.conf'],
    ['and etc itself', { 'etc/a': user('etc') }, 'etc', 'etc/conf/default/main.conf'],
  ]
  for (const [title, files, wanted, main = 'etc/main.conf'] of table) {
    const path = folder(t, { [main]: 'include "a"', ...files })
    t.equal(readSecurityConfig(join(path, main), { nodename: 'n1' }).user, wanted, title)
  }

  const path = folder(t, {
    'main.conf': 'include "{NODENAME}/{SUBCLUSTER}.conf"',
    'n1/default.conf': user('a'),
    's/default/n1/b': user('b'),
    'x.conf': `include "file://${t.testdirName}/{NODENAME}/default.conf"`,
    'y.conf': 'include "b"',
    'z.conf': 'include "{nodename}{OTHER}$&"',
    '{nodename}{OTHER}$&': user('c'),
    'host.conf': 'include "{NODENAME}"',
    [hostname().replace(/\..*/, '')]: user('d'),
    '{NODENAME}': user('e'),
  })
  const userOf = (main: string, options: SecurityConfigOptions = { nodename: 'n1' }) =>
    readSecurityConfig(join(path, main), options).user
  t.equal(userOf('main.conf'), 'a', 'in the path of a file')
  t.equal(userOf('x.conf'), 'a', 'in a URI')
  t.equal(userOf('y.conf', { nodename: 'n1', searchPath: [`${path}/s/{SUBCLUSTER}/{NODENAME}`] }), 'b', 'in a folder')
  t.equal(userOf('z.conf'), 'c', 'no others')
  t.equal(userOf('host.conf', {}), 'd', 'the name of the host')
  t.equal(userOf('host.conf', { nodename: '{NODENAME}' }), 'e', 'once')
  t.match(refusal(() => userOf('host.conf', { nodename: 'host.conf' })).message, /host\.conf:1:9: .*include itself/)
  t.match(
    refusal(() => userOf('y.conf')).remedy,
    /looked for: '[^']*\/b', '[^']*\/conf\/global\/b', '[^']*\/conf\/n1\/b', /,
  )
})

t.test('the local changes come after all other files', async (t) => {
  const local = 'security { user = local }'
  type Row = [title: string, text: string, others: Record<string, string>, options: object]
  const named = 'Local_Changes_File = "l"'
  const table: Row[] = [
    ['named first', `${named} security { user = a group = b }`, { l: local }, { user: 'local', group: 'b' }],
    ['named last', `security { user = a } ${named}`, { l: local }, { user: 'local' }],
    [
      'whatever follows',
      `include "c" ${named} include "c"`,
      { l: local, c: 'security { user = c }' },
      { user: 'local' },
    ],
    [
      'named in an included file',
      'include "d/c" security { user = a }',
      { 'd/c': named, 'd/l': local },
      { user: 'local' },
    ],
    ['without quotes, in any case', 'LOCAL_CHANGES_FILE = ./l security { }', { l: local }, { user: 'local' }],
    ['the last of several', `${named} ${named.replace('l"', 'm"')}`, { l: '?', m: local }, { user: 'local' }],
    [
      'which name others',
      named,
      { l: 'security { user = x group = y } local_changes_file = m', m: local },
      { user: 'local', group: 'y' },
    ],
    ['with the only scope', named, { l: local }, { user: 'local' }],
    ['which include others', `security { } ${named}`, { l: 'include "m"', m: local }, { user: 'local' }],
    ['the standard one', 'security { user = a }', { 'local_changes.conf': local }, { user: 'local' }],
    ['unless there is another', `security { } ${named}`, { l: local, 'local_changes.conf': '?' }, { user: 'local' }],
    ['the standard one names another', 'security { }', { 'local_changes.conf': named, l: local }, { user: 'local' }],
    ['from the search path', named, { 's/l': local }, { user: 'local' }],
  ]
  for (const [title, text, others, options] of table)
    t.strictSame(read(t, text, others, ['s']), { ...ecuser, ...options }, title)

  const main = (name: string, files: Record<string, string>, options = {}) =>
    readSecurityConfig(join(folder(t, files), name), options)
  t.match(main('etc/conf/default/a', { 'etc/conf/default/a': 'security { }', 'etc/local_changes.conf': local }), {
    user: 'local',
  })
  t.match(main('local_changes.conf', { 'local_changes.conf': local }), { user: 'local' }, 'read by itself')

  const refusals: [title: string, text: string, others: Record<string, string>, message: RegExp][] = [
    ['not there', `security { }\n${named}`, {}, /^main\.conf:2:22: there is no such file.*looked for: 'l', 's\/l'/],
    ['a directory', named, { 'l/m': local }, /^main\.conf:1:22: 'l' is a directory/],
    [
      'the standard one',
      'security { }',
      { 'local_changes.conf/a': '' },
      /^\/?local_changes\.conf:1:1: .*is a directory/,
    ],
    ['a URI', 'local_changes_file = "persist://l"', {}, /^main\.conf:1:22: a URI is not included/],
    ['not UTF-8', 'local_changes_file = "\ufffd"', {}, /^main\.conf:1:22: this value is not UTF-8/],
    ['the file itself', 'local_changes_file = "main.conf"', {}, /^main\.conf:1:22: 'main\.conf' would include itself/],
    ['itself', named, { l: `\n${named}` }, /^l:2:22: 'l' would include itself/],
    ['around', named, { l: 'local_changes_file = m', m: named }, /^m:1:22: 'l' would include itself/],
    ['by an include', named, { l: 'include "main.conf"' }, /^l:1:9: 'main\.conf' would include itself/],
    ['by another', named, { l: 'include "m"', m: 'include "l"' }, /^m:1:9: 'l' would include itself/],
    [
      'the standard one',
      'security { }',
      { 'local_changes.conf': 'include main.conf' },
      /^local_changes\.conf:1:9: .*include itself/,
    ],
    ['a mistake in it', named, { l: 'security { usr = a }' }, /^l:1:12: /],
    [
      'endless',
      'local_changes_file = "0"',
      Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`${i}`, `local_changes_file = "${i + 1}"`])),
      /^31:1:22: includes go deeper/,
    ],
  ]
  for (const [title, text, others, message] of refusals) t.match(refused(t, text, others, ['s']), message, title)
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
    ['a file of another host', 'include "file://mta2/a"', {}, /^main\.conf:1:9: a URI is not included/],
    ['a relative one', 'include "file://a"', {}, /^main\.conf:1:9: a URI is not included/],
    ['one with escapes', 'include "file:///a%20b"', {}, /^main\.conf:1:9: a URI is not included/],
    ['one with more', 'include "file:///a?b"', {}, /^main\.conf:1:9: a URI is not included/],
    ['a file that is not there', 'include "file:///no/such"', {}, /^main\.conf:1:9: .*looked for: '\/no\/such'\.\n/],
    ['a URI of any kind', 'readonly_include "Persist+x://a"', {}, /^main\.conf:1:18: a URI is not included/],
    ['a NUL byte', 'include "a\0b"', {}, /^main\.conf:1:9: 'a\\x00b' cannot be read: ERR_INVALID_ARG_VALUE/],
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
      'security { } a { include "b" }',
      { b: 'c = d\nsecurity { }' },
      /^b:2:1: a security scope belongs in the global scope/,
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

t.test('the cluster, as if it were included last', async (t) => {
  const main = 'security { user = a group = b chroot = "/c" }'
  const both = (cluster: string, text = main, more = {}) => {
    const path = folder(t, { 'main.conf': text, 'cluster.conf': cluster, ...more })
    return readSecurityConfig(join(path, 'main.conf'), {
      cluster: join(path, 'cluster.conf'),
      searchPath: [join(path, 's')],
    })
  }
  const merged = { user: 'x', group: 'b', chroot: '/c' }
  t.strictSame(both('security { user = x }'), merged)
  t.strictSame(both('security { }'), { ...merged, user: 'a' }, 'an empty scope')
  t.strictSame(both('a = b'), { ...merged, user: 'a' }, 'none')
  t.strictSame(both('include "a"', main, { 's/a': 'security { user = x }' }), merged, 'one that it includes')
  t.strictSame(both('security { user = x }', 'a = b'), { ...ecuser, user: 'x' }, 'whether there is another or not')
  t.strictSame(both('security { user = x }', `include "cluster.conf" ${main}`), merged, 'included before, too')
  const local = { 'local_changes.conf': 'security { user = l }', l: 'security { user = m }' }
  t.strictSame(both('security { user = x }', main, local), { ...merged, user: 'l' }, 'before the local changes')
  t.strictSame(both('local_changes_file = l', main, local), { ...merged, user: 'm' }, 'which it may name')
  t.match(refusal(() => both('cluster { security { user = x } }')).message, /cluster\.conf:1:11: .*global scope/)
  t.match(refusal(() => both('a = b', 'a = b')).message, /main\.conf:1:6: there is no security scope/)
  t.match(refusal(() => both('security { user = x }', 'security { usr = a }')).message, /main\.conf:1:12: /)
  t.match(refusal(() => both('security { usr = x }')).message, /cluster\.conf:1:12: /)
  t.match(refusal(() => both('include "main.conf"')).message, /cluster\.conf:1:9: .*include itself/)
  const path = join(folder(t, { 'main.conf': main }), 'main.conf')
  t.match(refusal(() => readSecurityConfig(path, { cluster: path })).message, /main\.conf:1:46: .*include itself/)
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
    [call(main, { nodename: 1 }), 'ERR_INVALID_ARG_TYPE', 'nodename'],
    [call(main, { nodename: '' }), 'ERR_INVALID_ARG_VALUE', 'nodename'],
    [call(main, { nodename: '../etc' }), 'ERR_INVALID_ARG_VALUE', 'nodename'],
    [call(main, { nodename: 'a\0' }), 'ERR_INVALID_ARG_VALUE', 'nodename'],
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
    'a [ b = ( , ) ] ',
    'a = { ',
    'a = "\\"" ',
    'a = /b(c)/d ',
  ]) {
    const whole = `security { user = a }\n${times(text)}`
    const refused = ['a {', 'a = [ b = ', '(', 'a', 'é', '"', '{', 'a = { ']
    t.equal(outcome(() => read(t, whole)) === undefined, refused.includes(text), text)
  }
  t.match(read(t, `${'a {'.repeat(2_000_000)}${'}'.repeat(2_000_000)} security { user = a }`), { user: 'a' })
  t.match(read(t, `a = ${'( [ b = '.repeat(1_000_000)}c${'] )'.repeat(1_000_000)} security { user = a }`), {
    user: 'a',
  })
  t.match(read(t, `a = ( ${times('a/**/')} ${times('b/')} ) security { user = a }`), { user: 'a' })
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

t.test('and so do several files', async (t) => {
  fc.assert(
    fc.property(configuration, ({ files, options }) => {
      const path = folder(t, files)
      const main = join(path, 'main.conf')
      deepStrictEqual(readSecurityConfig(main, { cluster: join(path, 'cluster.conf'), searchPath: [] }), options)
    }),
    { numRuns: 200 },
  )
})

t.test('cut anywhere, or with anything put in, it is a result or the one error', async () => {
  fc.assert(
    fc.property(file, slip, ({ text }, change) => {
      outcome(() => read(t, change(text)))
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
