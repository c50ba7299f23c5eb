/** Promise: an error about a value that stands in a configuration file says where, and no other error does. */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { HardenError } from '../lib/errors'
import { readSecurityConfig } from '../lib/index'
import { validate } from '../lib/options'
import { filesRead, findPlace, foldersSearched, namingPlaces, withPlace } from '../lib/places'
import { refusal } from './refused'

function written(t: Test, files: Record<string, string>): string {
  const path = realpathSync(t.testdir())
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}
const about = (option?: string) =>
  new HardenError({ code: 'ERR_UNKNOWN_CREDENTIAL', option, message: 'it $& is', remedy: 'mend it' })

t.test('each value has a place, in whatever file it stands', async (t) => {
  const path = written(t, {
    'main.conf': '\ufeffSecurity {\n  User = mta\n\tgroup = "mta" chroot = "/c"\n}\ninclude "more"',
    more: 'security { supplemental_groups = (\n a, "b"\n) capabilities = "x" user = smtp }',
  })
  const main = join(path, 'main.conf')
  const options = readSecurityConfig(main)
  const places: [option: string, place: string | undefined][] = [
    ['user', `${path}/more:3:29`],
    ['group', `${main}:3:10`],
    ['chroot', `${main}:3:25`],
    ['capabilities', `${path}/more:3:18`],
    ['supplementalGroups', `${path}/more:1:34`],
    ['supplementalGroups[0]', `${path}/more:2:2`],
    ['supplementalGroups[1]', `${path}/more:2:5`],
    ['supplementalGroups[2]', `${path}/more:1:34`],
    ['privileges', undefined],
    ['rehearse.bind[0]', undefined],
    ['toString', undefined],
  ]
  for (const [option, place] of places) {
    t.equal(findPlace(option, options), place, option)
    t.equal(findPlace(option, { ...options, rehearse: { bind: [25] } }), place, `${option}, spread`)
    t.equal(findPlace(option, {}), undefined, `${option}, not given`)
    t.equal(findPlace(option, Object.create(options)), undefined, `${option}, inherited`)
  }
  t.equal(findPlace('user', { user: 'mta' }), undefined, 'another value')
  t.equal(findPlace('supplementalGroups[0]', { supplementalGroups: ['a', 'b'] }), `${path}/more:2:2`, 'a copy')
  t.equal(findPlace('supplementalGroups[0]', { supplementalGroups: ['a'] }), undefined, 'another list')
})

t.test('the value that was read last, option by option', async (t) => {
  const path = written(t, {
    a: 'security { user = ecuser group = g chroot = "/c" }',
    b: 'security { group = h }',
    c: 'security { chroot = "/d" usr = x }',
  })
  const a = readSecurityConfig(join(path, 'a'))
  t.equal(findPlace('user', a), `${path}/a:1:19`)
  const b = readSecurityConfig(join(path, 'b'))
  t.equal(findPlace('user', b), undefined, 'a default stands nowhere')
  t.equal(findPlace('group', a), undefined)
  t.equal(findPlace('group', b), `${path}/b:1:20`)
  t.equal(findPlace('chroot', a), `${path}/a:1:45`)
  refusal(() => readSecurityConfig(join(path, 'c')))
  t.equal(findPlace('chroot', a), `${path}/a:1:45`, 'what is refused is not remembered')
})

t.test('the error is the same, with the place before its message', async (t) => {
  const path = written(t, { a: 'security { user = "4294967295" chroot = srv }' })
  const options = readSecurityConfig(join(path, 'a'))
  const error = about('user')
  t.equal(withPlace(error, options), error)
  const message = `${path}/a:1:19: it $& is. Remedy: mend it.`
  t.match(error, { message, place: `${path}/a:1:19`, option: 'user', code: 'ERR_UNKNOWN_CREDENTIAL' })
  t.ok(error.stack?.startsWith(`HardenError: ${message}\n    at `), 'in the stack, too')
  withPlace(error, options)
  t.equal(error.message, message, 'once')
  for (const other of [about(), about('group'), new TypeError('x'), undefined]) {
    const before = other instanceof Error && other.message
    t.equal(withPlace(other, options), other)
    t.equal(other instanceof Error && other.message, before)
  }
  t.equal(
    namingPlaces(options, () => 7),
    7,
  )
  t.match(
    refusal(() =>
      namingPlaces(options, () => {
        throw about('user')
      }),
    ),
    { place: `${path}/a:1:19` },
  )
  t.match(
    refusal(() => validate(options)),
    { option: 'chroot', message: /^.*\/a:1:41: chroot 'srv' is not an absolute path/ },
  )
  t.match(
    refusal(() => validate({ ...options, chroot: 'x' })),
    { place: undefined, message: /^chroot 'x'/ },
  )
})

t.test('the files, and where those that are not there could be created', async (t) => {
  const path = written(t, {
    'etc/main.conf': 'include "d" include "x" security { }',
    'etc/cluster.conf': '',
    'etc/d/a': '',
    'etc/d/.b': '',
    'etc/conf/default/x': '',
    's/y': '',
  })
  const news = (call: () => void): string[][] => {
    const before = [filesRead(), foldersSearched()]
    call()
    return [filesRead(), foldersSearched()].map((paths, index) =>
      paths.filter((name) => !before[index]?.includes(name)).map((name) => name.slice(path.length)),
    )
  }
  const main = join(path, 'etc/main.conf')
  t.strictSame(
    news(() => readSecurityConfig(main, { nodename: 'n' })),
    [
      ['/etc/main.conf', '/etc/d/a', '/etc/conf/default/x'],
      ['/etc/d', '/etc', '/etc/conf'],
    ],
    'of x, conf/global/x and local_changes.conf',
  )
  writeFileSync(join(path, 'etc/x'), '')
  const options = { searchPath: [join(path, 's')], cluster: join(path, 'etc/cluster.conf') }
  t.strictSame(
    news(() => readSecurityConfig(main, options)),
    [['/etc/x', '/etc/cluster.conf'], []],
  )
  writeFileSync(join(path, 'etc/main.conf'), 'include "z" security { }')
  t.strictSame(
    news(() => refusal(() => readSecurityConfig(main, options))),
    [[], []],
    'nothing, if it is refused',
  )
  writeFileSync(join(path, 's/z'), '')
  process.chdir(path)
  t.teardown(() => process.chdir(join(__dirname, '..')))
  t.strictSame(
    news(() => readSecurityConfig('etc/main.conf', { searchPath: ['s'] })),
    [['/s/z'], []],
    'relative names are the same files',
  )
})
