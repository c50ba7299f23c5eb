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
  readSync,
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
import { closeRoot, enteredRoot, openRoot, placeOf } from '../lib/chroot'
import type { HardenError } from '../lib/errors'
import { refusal } from './refused'

const O_PATH = 0o10000000
const O_ACCMODE = 0o3
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
    t.strictSame(Object.keys(root), ['path', 'descriptor', 'place', 'stat'])
    t.equal(root.path, path, 'as it was asked for')
    t.equal(target(root.descriptor), real)
    t.equal(root.place, placeOf(statSync(real, { bigint: true })))
    t.equal(target(root.stat), `/proc/${process.pid}/stat`)
    t.equal(openDescriptors(), before + 2)
    const flags = flagsOf(root.descriptor)
    for (const flag of [O_PATH, constants.O_DIRECTORY, O_CLOEXEC])
      t.equal(flags & flag, flag, `flag 0${flag.toString(8)}: a handle, of a directory, closed by exec`)
    t.equal(flagsOf(root.stat) & (O_ACCMODE | O_PATH | O_CLOEXEC), O_CLOEXEC, 'to be read, closed by exec')
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

t.test('what is no open descriptor is not closed in silence', async (t) => {
  const directory = process.cwd()
  t.teardown(() => process.chdir(directory))
  const spare = openSync('/', constants.O_RDONLY)
  const none = 1_000_000
  const nowhere = { path: '/', place: '0:0' }
  t.throws(() => closeRoot({ ...nowhere, descriptor: none, stat: none }), { code: 'EBADF' })
  t.throws(() => closeRoot({ ...nowhere, descriptor: spare, stat: none }), { code: 'EBADF' })
  t.throws(() => closeSync(spare), { code: 'EBADF' }, 'that one is closed')
  t.throws(() => enteredRoot({ ...nowhere, descriptor: none, stat: none }), { code: 'EBADF' })
})

t.test('what is kept open says how many threads there are', async (t) => {
  const root = openRoot('/')
  t.teardown(() => closeRoot(root))
  const buffer = Buffer.alloc(4096)
  // twice, from the beginning, as audit() does
  for (const _ of [1, 2]) {
    const stat = buffer.toString('latin1', 0, readSync(root.stat, buffer, 0, buffer.length, 0))
    t.ok(stat.startsWith(`${process.pid} (`))
    const threads = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[17]) // num_threads, proc_pid_stat(5)
    t.ok(threads >= 1, `${threads}`)
  }
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
  t.equal(openDescriptors(), before + 1)
  t.throws(() => closeSync(root.descriptor), { code: 'EBADF' })
  t.equal(target(root.stat), `/proc/${process.pid}/stat`, 'audit() reads it from there')
  closeSync(root.stat)
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
    t.match(error.message, /^chroot '/)
    t.match(error.message, `cannot be opened: ${name}. `)
    t.ok(error.message.includes(path.slice(0, 60)))
    t.ok(error.message.length < 500)
    t.match(error.remedy, /exists/)
    t.match(error.cause, { code: name, syscall: 'open' })
  }
  const odd = refusal(() => openRoot('/\0'))
  t.match(odd, { code: 'ERR_HARDEN_NOT_PERMITTED', errno: 0, message: /no answer/ }, 'not even asked of the kernel')
  t.equal(openDescriptors(), before)
})

t.test('the place of a directory is exact, and that of no other', async (t) => {
  t.equal(placeOf({ dev: 2n ** 64n - 1n, ino: 2n ** 53n + 1n }), '18446744073709551615:9007199254740993')
  t.not(placeOf({ dev: 1n, ino: 23n }), placeOf({ dev: 12n, ino: 3n }))
})

t.test('if anything of it fails the directory is closed again', async (t) => {
  const fs = require('node:fs') as typeof import('node:fs')
  const { EMFILE, ENOENT, EACCES, EIO } = os.errno
  const before = openDescriptors()
  for (const [call, syscall, code, errno] of [
    ['openSync', 'open', 'EMFILE', EMFILE],
    ['openSync', 'open', 'ENOENT', ENOENT],
    ['openSync', 'open', 'EACCES', EACCES],
    ['fstatSync', 'fstat', 'EIO', EIO],
  ] as const) {
    const opened: number[] = []
    const cause = Object.assign(new Error(code), { code, errno: -errno, syscall })
    const { openRoot } = t.mockRequire<typeof import('../lib/chroot')>('../lib/chroot', {
      'node:fs': {
        ...fs,
        [call]: () => {
          throw cause
        },
        // the first is the directory
        openSync: (path: string, flags: number) => {
          if (opened.length > 0 && call === 'openSync') throw cause
          return opened[opened.push(openSync(path, flags)) - 1]
        },
      },
    })
    let error: unknown
    try {
      openRoot('/')
    } catch (thrown) {
      error = thrown
    }
    // not instanceof: the mocked copy of lib has an error class of its own
    t.match(error, {
      name: 'HardenError',
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'chroot',
      step: 'chroot',
      syscall,
      errno: -errno,
      message: new RegExp(`^chroot '/' cannot be opened: ${code}\\. `),
      remedy: /^mount \/proc, and raise the limit on open files \(RLIMIT_NOFILE, ulimit -n\)$/,
    })
    t.equal((error as HardenError).cause, cause)
    t.equal(opened.length, 1, 'the directory was open')
    t.equal(openDescriptors(), before, 'and is no more')
  }
})
