/** Promise: the new root is the directory that was opened, and what was opened for it is closed again. */
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { constants as os, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import * as errors from '../lib/errors'
import { type Addon, type Failure, native } from '../lib/native'
import { closeRoot, enteredRoot, openRoot as openRootBy, placeOf, type Root } from '../lib/root'
import { refusal } from './refused'

const openRoot = (path: string): Root => openRootBy(path, native())

const O_PATH = 0o10000000
const O_CLOEXEC = 0o2000000

const openDescriptors = () => readdirSync('/proc/self/fd').length
const target = (descriptor: number) => readlinkSync(`/proc/self/fd/${descriptor}`)
const flagsOf = (descriptor: number) =>
  Number.parseInt(/^flags:\t([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1'))?.[1] ?? '', 8)

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
    t.strictSame(Object.keys(root).sort(), ['descriptor', 'path', 'place'])
    t.equal(root.path, real, "the kernel's, without links")
    t.equal(target(root.descriptor), real)
    t.equal(root.place, placeOf(statSync(real, { bigint: true })))
    t.equal(openDescriptors(), before + 1)
    const flags = flagsOf(root.descriptor)
    for (const flag of [O_PATH, constants.O_DIRECTORY, O_CLOEXEC])
      t.equal(flags & flag, flag, `flag 0${flag.toString(8)}: a handle, of a directory, closed by exec`)
    closeRoot(root)
    t.equal(openDescriptors(), before)
  }
})

t.test('without a root there is nothing to close', async (t) => {
  const before = openDescriptors()
  const directory = process.cwd()
  for (const close of [closeRoot, enteredRoot]) t.doesNotThrow(() => close(undefined))
  t.equal(openDescriptors(), before)
  t.equal(process.cwd(), directory)
})

t.test('an unused root that is no open descriptor is not closed in silence', async (t) => {
  const directory = process.cwd()
  t.teardown(() => process.chdir(directory))
  const nowhere = { path: '/', place: '0:0', descriptor: 1_000_000 }
  t.throws(() => closeRoot(nowhere), { code: 'EBADF' })
  t.doesNotThrow(() => enteredRoot(nowhere), 'there nothing may throw any more')
  const spare = openSync('/', constants.O_RDONLY)
  closeRoot({ ...nowhere, descriptor: spare })
  t.throws(() => closeSync(spare), { code: 'EBADF' }, 'that one is closed')
})

t.test('in the new root its directory is closed, and Node knows where it is', async (t) => {
  const folder = surroundings(t)
  const directory = process.cwd()
  t.teardown(() => process.chdir(directory))
  process.chdir(folder)
  t.equal(process.cwd(), folder)
  const before = openDescriptors()
  const root = openRoot(join(folder, 'jail'))
  enteredRoot(root)
  t.equal(process.cwd(), '/', 'not what process.cwd() remembered')
  t.equal(openDescriptors(), before)
  t.throws(() => closeSync(root.descriptor), { code: 'EBADF' })
})

t.test('a process.chdir() that the application has put in its place is called, and may throw', async (t) => {
  const chdir = t.intercept(process, 'chdir', {
    value: () => {
      throw new RangeError('replaced')
    },
  })
  const before = openDescriptors()
  t.doesNotThrow(() => enteredRoot(openRoot('/')))
  t.match(chdir(), [{ type: 'get', success: true }])
  t.equal(openDescriptors(), before)
})

t.test('its path may lead elsewhere afterwards', async (t) => {
  const folder = surroundings(t)
  const root = openRoot(join(folder, 'jail'))
  t.teardown(() => closeRoot(root))
  renameSync(join(folder, 'jail'), join(folder, 'moved'))
  mkdirSync(join(folder, 'jail'))
  t.equal(target(root.descriptor), join(folder, 'moved'))
  t.equal(root.place, placeOf(statSync(join(folder, 'moved'), { bigint: true })))
  t.not(root.place, placeOf(statSync(join(folder, 'jail'), { bigint: true })))
  t.equal(root.path, join(folder, 'jail'))
})

t.test('what is no directory', async (t) => {
  const folder = surroundings(t)
  const before = openDescriptors()
  const { ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG } = os.errno
  const table: [string, string, number, string][] = [
    ['nothing', join(folder, 'nowhere'), ENOENT, 'ENOENT'],
    ['below nothing', join(folder, 'nowhere/var'), ENOENT, 'ENOENT'],
    ['a link to nothing', join(folder, 'dangling'), ENOENT, 'ENOENT'],
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
    t.match(error.message, /^chroot '/)
    t.match(error.message, `: ${name}. `)
    t.ok(error.message.includes(path.slice(-60)))
    t.ok(error.message.length < 500)
    const exists = 'name a directory that exists'
    const remedies = new Map([
      ['nothing', `${exists}, or create it: mkdir -p ${path}`],
      ['below nothing', `${exists}, or create it: mkdir -p ${path}`],
      ['a megabyte', 'name it by a shorter path'],
    ])
    t.equal(error.remedy, errno === ENOTDIR ? 'name a directory' : (remedies.get(title) ?? exists))
  }
  t.equal(openDescriptors(), before)
})

t.test('the place of a directory is exact, and that of no other', async (t) => {
  t.equal(placeOf({ dev: 2n ** 64n - 1n, ino: 2n ** 53n + 1n }), '18446744073709551615:9007199254740993')
  t.not(placeOf({ dev: 1n, ino: 23n }), placeOf({ dev: 12n, ino: 3n }))
})

t.test('what the native code says of a path that it could not open', async (t) => {
  const { EMFILE, ENAMETOOLONG, ENFILE, ENOENT, EACCES } = os.errno
  const answer = (fields: Partial<Failure>): Addon => ({
    ...native(),
    openRoot: () => ({ step: 'chroot', syscall: 'open', errno: 0, signal: 0, tid: 0, item: 0, ...fields }),
  })
  const files = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  for (const [errno, name, remedy] of [
    [EMFILE, 'EMFILE', files],
    [ENFILE, 'ENFILE', files],
    [ENAMETOOLONG, 'ENAMETOOLONG', 'name it by a shorter path'],
    [ENOENT, 'ENOENT', 'name a directory that exists, or create it: mkdir -p /srv/mail'],
    [
      EACCES,
      'EACCES',
      'let the process enter it (chmod o+x), or start it as a user that may, or with cap_dac_read_search (Solaris: file_dac_search)',
    ],
  ] as const) {
    const error = refusal(() => openRootBy('/srv/mail', answer({ errno, found: '/srv' })))
    t.strictSame(
      { ...error },
      {
        code: 'ERR_HARDEN_NOT_PERMITTED',
        option: 'chroot',
        step: 'chroot',
        syscall: 'open',
        errno: -errno,
        found: '/srv',
        remedy,
      },
    )
    t.equal(error.message, `chroot '/srv/mail' cannot be opened: '/srv': ${name}. Remedy: ${remedy}.`)
  }
  const link = refusal(() => openRootBy('/proc/self/root', answer({ syscall: 'readlink', found: '/proc/1/root' })))
  t.match(link, {
    code: 'ERR_HARDEN_CHROOT_PATH',
    option: 'chroot',
    step: 'chroot',
    syscall: 'readlink',
    found: '/proc/1/root',
    message: /^chroot '\/proc\/self\/root' leads through '\/proc\/1\/root', a link on procfs/,
    remedy: 'name the directory itself',
  })
  t.notOk('errno' in link, 'no call has failed')
})

t.test('a root that cannot be looked at is closed', async (t) => {
  const { openRoot } = t.mockRequire<typeof import('../lib/root')>('../lib/root', {
    'node:fs': {
      closeSync,
      fstatSync: () => {
        throw Object.assign(new Error('EIO'), { code: 'EIO', errno: -os.errno.EIO, syscall: 'fstat' })
      },
    },
    '../lib/errors': errors,
  })
  const before = openDescriptors()
  const { EIO } = os.errno
  t.match(
    refusal(() => openRoot('/proc', native())),
    { code: 'ERR_HARDEN_NOT_PERMITTED', option: 'chroot', syscall: 'fstat', errno: -EIO, found: '/proc' },
  )
  t.equal(openDescriptors(), before)
})

t.test('a line for the shell is quoted, or left out', async (t) => {
  for (const [path, line] of [
    ['/nope/a b', `, or create it: mkdir -p '/nope/a b'`],
    [`/nope/it's; reboot`, `, or create it: mkdir -p '/nope/it'\\''s; reboot'`],
    ['/nope/$(reboot)', `, or create it: mkdir -p '/nope/$(reboot)'`],
    ['/nope/\x1b[2J', ''],
    ['/nope/\n', ''],
    [`/nope/${'x'.repeat(251)}`, ''],
  ] as const)
    t.equal(refusal(() => openRoot(path)).remedy, `name a directory that exists${line}`)
})

t.test('a link on procfs, for the kernel as it is', async (t) => {
  const before = openDescriptors()
  for (const [path, found] of [
    ['/proc/self/root', '/proc/self'],
    [`/proc/${process.pid}/root/etc`, `/proc/${process.pid}/root`],
    [`/proc/${process.pid}/cwd/`, `/proc/${process.pid}/cwd`],
  ] as const)
    t.match(
      refusal(() => openRoot(path)),
      { code: 'ERR_HARDEN_CHROOT_PATH', option: 'chroot', step: 'chroot', syscall: 'readlink', found },
      path,
    )
  t.equal(openDescriptors(), before)
})
