/** Promise: the new root is the directory that was opened, and no directory outside it stays open. */
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  opendirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { constants as os, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { closeRoot, openRoot, type Root, refuseOpenDirectories } from '../lib/chroot'
import { HardenError } from '../lib/errors'

const O_PATH = 0o10000000

const openDescriptors = () => readdirSync('/proc/self/fd').length
const target = (descriptor: number) => readlinkSync(`/proc/self/fd/${descriptor}`)

/** A folder with the directories jail, jail/var and jailbreak, the file 'file', and links. */
function surroundings(t: Test): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'privdrop-chroot-')))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const directory of ['jail', 'jail/var', 'jailbreak']) mkdirSync(join(folder, directory))
  writeFileSync(join(folder, 'file'), '')
  symlinkSync('jail', join(folder, 'link'))
  symlinkSync('loop', join(folder, 'loop'))
  symlinkSync('nowhere', join(folder, 'dangling'))
  return folder
}

function refusal(call: () => unknown): HardenError {
  try {
    call()
  } catch (error) {
    if (error instanceof HardenError) return error
    throw error
  }
  throw new Error('it was not refused')
}

t.test('it is opened by its path, and closed', async (t) => {
  const folder = surroundings(t)
  const before = openDescriptors()
  for (const [path, real] of [
    ['/', '/'],
    [join(folder, 'jail'), join(folder, 'jail')],
    [`${folder}/jail/`, join(folder, 'jail')],
    [`${folder}/jail/../jail/var/.`, join(folder, 'jail/var')],
    [join(folder, 'link'), join(folder, 'jail')],
  ] as const) {
    const root = openRoot(path)
    t.equal(root.path, path, 'as it was asked for')
    t.equal(target(root.descriptor), real)
    t.strictSame(Object.keys(root), ['path', 'descriptor'])
    t.equal(openDescriptors(), before + 1)
    const info = readFileSync(`/proc/self/fdinfo/${root.descriptor}`, 'latin1')
    const flags = Number.parseInt(/^flags:\t([0-7]+)$/m.exec(info)?.[1] ?? '', 8)
    for (const flag of [O_PATH, constants.O_DIRECTORY, 0o2000000])
      t.equal(flags & flag, flag, `flag 0${flag.toString(8)}: a handle, of a directory, closed by exec`)
    closeRoot(root)
    t.equal(openDescriptors(), before)
  }
  t.throws(() => closeRoot({ path: '/', descriptor: 1_000_000 }), { code: 'EBADF' })
  t.doesNotThrow(() => closeRoot(undefined))
  t.equal(openDescriptors(), before)
})

t.test('its path may lead elsewhere afterwards', async (t) => {
  const folder = surroundings(t)
  const root = openRoot(join(folder, 'jail'))
  t.teardown(() => closeRoot(root))
  renameSync(join(folder, 'jail'), join(folder, 'moved'))
  mkdirSync(join(folder, 'jail'))
  t.equal(target(root.descriptor), join(folder, 'moved'))
  const other = openSync(join(folder, 'jail'), constants.O_DIRECTORY)
  t.equal(refusal(() => refuseOpenDirectories(root)).found, join(folder, 'jail'), 'what has its path now is outside')
  closeSync(other)
  t.doesNotThrow(() => refuseOpenDirectories(root))
})

t.test('what is no directory', async (t) => {
  const folder = surroundings(t)
  const before = openDescriptors()
  const { ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG } = os.errno
  const table: [string, string, number, string][] = [
    ['nothing', join(folder, 'nowhere'), ENOENT, 'ENOENT'],
    ['below nothing', join(folder, 'nowhere/var'), ENOENT, 'ENOENT'],
    ['a link to nothing', join(folder, 'dangling'), ENOENT, 'ENOENT'],
    ['an empty path', '', ENOENT, 'ENOENT'],
    ['a file', join(folder, 'file'), ENOTDIR, 'ENOTDIR'],
    ['below a file', join(folder, 'file/var'), ENOTDIR, 'ENOTDIR'],
    ['a device', '/dev/null', ENOTDIR, 'ENOTDIR'],
    ['a loop', join(folder, 'loop'), ELOOP, 'ELOOP'],
    ['a megabyte', `/${'x'.repeat(1_000_000)}`, ENAMETOOLONG, 'ENAMETOOLONG'],
  ]
  for (const [title, path, errno, name] of table) {
    const error = refusal(() => openRoot(path))
    t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', option: 'chroot', step: 'chroot', syscall: 'open' }, title)
    t.equal(error.errno, -errno)
    t.match(error.message, `cannot be opened: ${name}`)
    t.ok(error.message.includes(path.slice(0, 60)))
    t.ok(error.message.length < 500)
    t.match(error.remedy, /exists/)
    t.match(error.cause, { code: name, syscall: 'open' })
  }
  const odd = refusal(() => openRoot('/\0'))
  t.match(odd, { code: 'ERR_HARDEN_NOT_PERMITTED', errno: 0, message: /no answer/ }, 'not even asked of the kernel')
  t.equal(openDescriptors(), before)
})

/** What refuseOpenDirectories says of this root while that is open, and how many descriptors it leaves. */
function withOpen(path: string, root: string, flags: number) {
  const descriptor = openSync(path, flags)
  const opened: Root = openRoot(root)
  const before = openDescriptors()
  let error: unknown
  try {
    refuseOpenDirectories(opened)
  } catch (thrown) {
    error = thrown
  }
  const left = openDescriptors() - before
  closeRoot(opened)
  closeSync(descriptor)
  return { error, left, descriptor }
}

t.test('directories that are open', async (t) => {
  const folder = surroundings(t)
  const jail = join(folder, 'jail')
  const table: [title: string, path: string, root: string, refused: boolean][] = [
    ['the one above', folder, jail, true],
    ['the one at the top', '/', jail, true],
    ['another', '/proc', jail, true],
    ['a neighbour whose name begins the same', join(folder, 'jailbreak'), jail, true],
    ['the one above, when the root is deeper', jail, join(jail, 'var'), true],
    ['the root itself', jail, jail, false],
    ['one inside', join(jail, 'var'), jail, false],
    ['one inside, of a root behind a link', join(jail, 'var'), join(folder, 'link'), false],
    ['the root, of a root behind a link', jail, join(folder, 'link'), false],
    ['one outside, of a root behind a link', join(folder, 'jailbreak'), join(folder, 'link'), true],
    ['a file outside', join(folder, 'file'), jail, false],
    ['a device outside', '/dev/null', jail, false],
    ['the root /', '/', '/', false],
    ['any, with the root /', folder, '/', false],
    ['another, with the root /', '/proc', '/', false],
  ]
  for (const [title, path, root, refused] of table)
    for (const flags of [constants.O_RDONLY, O_PATH]) {
      const { error, left, descriptor } = withOpen(path, root, flags)
      t.equal(left, 0, 'nothing else is left open')
      if (!refused) t.equal(error, undefined, title)
      else {
        t.match(error, { code: 'ERR_HARDEN_OPEN_DIRECTORY', option: 'chroot', remedy: /close it/ }, title)
        const { found, message } = error as HardenError
        t.equal(found, path)
        t.match(message, `descriptor ${descriptor} is the open directory '${path}'`)
      }
    }
})

t.test('as Node opens them', async (t) => {
  const folder = surroundings(t)
  const root = openRoot(join(folder, 'jail'))
  t.teardown(() => closeRoot(root))
  for (const [path, found] of [
    ['jailbreak', join(folder, 'jailbreak')],
    ['link', undefined],
  ] as const) {
    const directory = opendirSync(join(folder, path))
    if (found) t.match(refusal(() => refuseOpenDirectories(root)).found, found)
    else t.doesNotThrow(() => refuseOpenDirectories(root))
    t.doesNotThrow(() => refuseOpenDirectories(undefined), 'no new root, nothing to get out of')
    directory.closeSync()
  }
  t.doesNotThrow(() => refuseOpenDirectories(root))
})

t.test('directories that are no more', async (t) => {
  const folder = surroundings(t)
  const root = openRoot(join(folder, 'jail'))
  t.teardown(() => closeRoot(root))
  for (const [path, refused] of [
    ['jail/var', false],
    ['jailbreak', true],
  ] as const) {
    const descriptor = openSync(join(folder, path), constants.O_DIRECTORY)
    rmdirSync(join(folder, path))
    if (refused) t.match(refusal(() => refuseOpenDirectories(root)).found, join(folder, path))
    else t.doesNotThrow(() => refuseOpenDirectories(root))
    closeSync(descriptor)
  }
  rmdirSync(join(folder, 'jail'))
  t.doesNotThrow(() => refuseOpenDirectories(root), 'the root itself')
})

t.test('a directory out of reach of the process itself is outside of any root', async (t) => {
  const fs = await import('node:fs')
  const folder = surroundings(t)
  const descriptor = openSync(folder, constants.O_DIRECTORY)
  t.teardown(() => closeSync(descriptor))
  const { refuseOpenDirectories } = t.mockRequire<typeof import('../lib/chroot')>('../lib/chroot', {
    // as the kernel shows what lies outside the root of the process (getcwd(2))
    'node:fs': {
      ...fs,
      readlinkSync: (path: string) =>
        path === `/proc/self/fd/${descriptor}` ? `(unreachable)${folder}` : readlinkSync(path),
    },
  })
  for (const path of ['/', folder]) {
    const root = openRoot(path)
    t.throws(() => refuseOpenDirectories(root), { code: 'ERR_HARDEN_OPEN_DIRECTORY', message: '(unreachable)/' }, path)
    closeRoot(root)
  }
})

t.test('what cannot be read is no success', async (t) => {
  t.throws(() => refuseOpenDirectories({ path: '/', descriptor: 1_000_000 }), {
    code: 'ERR_HARDEN_PROC',
    step: 'open directories',
    syscall: 'readlink',
    errno: -2,
  })
  for (const [call, code] of [
    ['fstatSync', 'EIO'],
    ['readlinkSync', 'EACCES'],
    ['readdirSync', 'EMFILE'],
  ] as const) {
    const fail = () => {
      throw Object.assign(new Error(code), { code, errno: -5, syscall: 'odd' })
    }
    const { refuseOpenDirectories } = t.mockRequire<typeof import('../lib/chroot')>('../lib/chroot', {
      'node:fs': { ...require('node:fs'), [call]: fail },
    })
    const root = openRoot('/')
    t.throws(() => refuseOpenDirectories(root), { code: 'ERR_HARDEN_PROC', syscall: 'odd', errno: -5 }, call)
    closeRoot(root)
  }
})
