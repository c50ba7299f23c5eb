/** Promise: names come from the files; a file that is odd or cannot be read costs names and nothing else. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { allFour } from './states'

const files = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nsmtp:x:990:991::/:\nodd\n+::::::\n',
  group: 'root:x:0:\nmail:x:8:smtp\nsmtp:x:991:\n',
}

/** The module where /etc is another folder. */
function withFolder(t: Test, folder: string) {
  const opened: string[] = []
  const openSync = (path: string, flags: number) => {
    opened.push(path)
    return fs.openSync(path.replace('/etc', folder), flags)
  }
  const read: number[] = []
  const readFileSync = (descriptor: number) => {
    read.push(descriptor)
    return fs.fstatSync(descriptor).isFile() ? fs.readFileSync(descriptor, 'utf8') : ''
  }
  const databases = t.mockRequire<typeof import('../lib/databases')>('../lib/databases', {
    'node:fs': { ...fs, openSync, readFileSync },
  })
  return { ...databases, opened, read }
}

const state = { user: { ...allFour(990), saved: 0 }, group: allFour(991), groups: [8, 12] }
const none = { user: new Map(), group: new Map() }

t.test('of each id the first name', async (t) => {
  const { accountsOf, entries, nameOf, opened } = withFolder(t, t.testdir(files))
  t.strictSame(accountsOf([]), none)
  t.strictSame(accountsOf([state, { user: allFour(7), group: allFour(0), groups: [] }]), {
    user: new Map([
      [0, 'root'],
      [990, 'smtp'],
    ]),
    group: new Map([
      [0, 'root'],
      [8, 'mail'],
      [991, 'smtp'],
    ]),
  })
  t.strictSame([...new Set(opened)], ['/etc/passwd', '/etc/group'], 'no other file')
  t.strictSame(entries('group'), [
    { name: 'root', id: 0 },
    { name: 'mail', id: 8 },
    { name: 'smtp', id: 991 },
  ])
  t.equal(nameOf('user', 990), 'smtp')
  t.equal(nameOf('user', 991), '991')
})

t.test('a name that was asked for is that of its id, whoever knows it', async (t) => {
  const { accountsOf } = withFolder(t, t.testdir(files))
  const first = { user: allFour(0), group: allFour(4242), groups: [8] }
  t.strictSame(accountsOf([first], { user: 'toor', group: 'of-ldap' }), {
    user: new Map([[0, 'toor']]),
    group: new Map([
      [8, 'mail'],
      [4242, 'of-ldap'],
    ]),
  })
  for (const user of [0, '0', '00'])
    t.strictSame(accountsOf([first], { user }).user, new Map([[0, 'root']]), 'an id is none')
})

t.test('what cannot be read has no names, and is not waited for', async (t) => {
  const folder = t.testdir({ none: {}, folders: { passwd: {}, group: {} }, pipes: {}, devices: {}, large: files })
  execFileSync('mkfifo', [join(folder, 'pipes/passwd'), join(folder, 'pipes/group')])
  for (const name of ['passwd', 'group']) fs.truncateSync(join(folder, 'large', name), 16 * 1024 * 1024 + 1)
  for (const name of ['passwd', 'group']) fs.symlinkSync('/dev/zero', join(folder, 'devices', name))
  for (const kind of ['none', 'folders', 'pipes', 'devices', 'large']) {
    const { accountsOf, read } = withFolder(t, join(folder, kind))
    t.strictSame(accountsOf([state]), none, kind)
    t.strictSame(read, [], `${kind}: not read`)
  }
})
