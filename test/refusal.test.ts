/** Promise: what speaks against a plan on both systems becomes an error that says which question, call, errno, and what to do. */
import { chmodSync } from 'node:fs'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import t from 'tap'
import type { Platform, Question } from '../lib/contract'
import type { Failure } from '../lib/native'
import { linux } from '../lib/platform/linux'
import { exchanged, heldBy, noAccess, notAsked, whereOf } from '../lib/refusal'
import { opened, plan } from './states'

const { EACCES, ECHILD, EMFILE, ENOENT, ENOSYS, EPERM, EROFS, ETIMEDOUT } = constants.errno
const platformOf = (call: string): Platform => ({ ...linux, callOf: () => call, remedyForAnswer: () => 'mend it' })
const failure: Failure = { step: 'read', syscall: 'open', errno: 0, signal: 0, tid: 0, item: 0 }

t.test('where it was, and nothing that is not known', async (t) => {
  t.strictSame(whereOf(failure), { step: 'read', syscall: 'open' })
  t.strictSame(whereOf({ ...failure, errno: EPERM, tid: 7 }), { step: 'read', syscall: 'open', errno: -EPERM, tid: 7 })
})

t.test('what the new user will not be able to use', async (t) => {
  type Row = [question: Question, syscall: string, errno: number, found: string, what: string]
  const question = (kind: Question['kind'], path: string, number: number, index: number): Question => ({
    ...{ kind, path, number },
    option: `rehearse.${kind}[${index}]`,
    role: '',
  })
  const table: Row[] = [
    [question('read', '/etc/key.pem', 0, 0), 'open', EACCES, '/etc/key.pem', `read '/etc/key.pem'`],
    [question('read', '/etc/aliases', 0, 1), 'open', ENOENT, '/etc/aliases', `read '/etc/aliases'`],
    [question('write', '/var/spool', 0, 0), 'faccessat2', EROFS, '/var/spool', `write '/var/spool'`],
    [question('bind', '', 25, 0), 'bind', EACCES, '25', 'bind to TCP port 25'],
    [question('bind', '', 587, 1), 'bind', EPERM, '587', 'bind to TCP port 587'],
  ]
  for (const [question, syscall, errno, found, what] of table)
    for (const root of [undefined, opened]) {
      const { kind: step, option } = question
      const error = noAccess(platformOf(syscall), question, errno, { ...plan, root })
      const fields = { code: 'ERR_HARDEN_ACCESS', step, syscall, errno: -errno, option, found, remedy: 'mend it' }
      t.strictSame({ ...error }, fields)
      const where = root && step !== 'bind' ? ' in the chroot' : ''
      const reason = `${syscall}: ${getSystemErrorName(-errno)}`
      t.equal(error.message, `user 990 will not be able to ${what}${where}: ${reason}. Remedy: mend it.`)
    }
})

t.test('a wait that ran out', async (t) => {
  const held = { ...failure, errno: ETIMEDOUT, tid: 4711 }
  const remedy = 'see that its file system answers (NFS, FUSE), and call harden() again'
  const table: [Question, Failure['step'], string, string, string][] = [
    [
      { kind: 'read', path: '/mnt/a', number: 0, option: 'rehearse.read[0]', role: '' },
      'read',
      'ERR_HARDEN_ACCESS',
      '/mnt/a',
      `'/mnt/a'`,
    ],
    [
      { kind: 'bind', path: '', number: 25, option: 'rehearse.bind[0]', role: '' },
      'bind',
      'ERR_HARDEN_ACCESS',
      '25',
      'port 25',
    ],
    [
      { kind: 'exchange', path: '/mnt', number: 0, option: 'chroot', role: '' },
      'exchange',
      'ERR_HARDEN_NOT_PERMITTED',
      '/mnt',
      `'/mnt'`,
    ],
    [
      { kind: 'reopen', path: '', number: 9, option: undefined, role: '' },
      'reopen',
      'ERR_HARDEN_NOT_PERMITTED',
      '9',
      'descriptor 9 (closed by now)',
    ],
  ]
  for (const [question, step, code, found, what] of table) {
    const error = heldBy(question, { ...held, step })
    const { option } = question
    const fields = {
      step,
      syscall: 'open',
      errno: -ETIMEDOUT,
      tid: 4711,
      code,
      ...(option && { option }),
      found,
      remedy,
    }
    t.strictSame({ ...error }, fields)
    t.equal(error.message, `the rehearsal waited in vain for ${what}: open: ETIMEDOUT. Remedy: ${remedy}.`)
  }
})

const exchange: Question = { kind: 'exchange', path: '/srv/mail', number: 0, option: 'chroot', role: '' }

t.test('a name of the chroot that the new user decides', async (t) => {
  const sticky = t.testdir({ jail: {} })
  chmodSync(sticky, 0o1777)
  for (const [found, place] of [
    ['/srv', '/'],
    [undefined, '/srv'],
    [`${sticky}/jail`, `${sticky}/jail`],
  ] as const) {
    const component = found ?? '/srv/mail'
    const error = exchanged(platformOf('faccessat'), exchange, found, plan)
    t.match(error, {
      code: 'ERR_HARDEN_CHROOT_PATH',
      option: 'chroot',
      step: 'exchange',
      syscall: 'faccessat',
      found: component,
      message: `user 990 can put something else in the place of '${component}', so`,
      remedy: `give '${place}' to root (chown root), and take write permission from user 990`,
    })
    t.notOk('errno' in error, 'no call has failed')
  }
})

t.test('what could not be asked', async (t) => {
  const error = notAsked(platformOf('faccessat'), exchange, ENOENT)
  const fields = { code: 'ERR_HARDEN_NOT_PERMITTED', option: 'chroot', step: 'exchange', syscall: 'faccessat' }
  const remedy = 'see that it stays where it is, and that its file system answers, and call harden() again'
  t.strictSame({ ...error }, { ...fields, errno: -ENOENT, found: '/srv/mail', remedy })
  t.match(error.message, /^'\/srv\/mail' could not be examined as another process of the new user: ENOENT\./)
  const silent = notAsked(platformOf('faccessat'), exchange)
  t.strictSame({ ...silent }, { ...fields, found: '/srv/mail', remedy })
  t.match(silent.message, /: no answer\./)
  const limit = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  t.match(notAsked(platformOf('openat'), exchange, EMFILE), { errno: -EMFILE, remedy: limit })
  const { remedy: ended } = notAsked(platformOf('faccessat'), exchange, ECHILD)
  t.match(ended, /^give the server an account of its own: /)
  for (const errno of [EPERM, ENOSYS])
    t.match(notAsked(platformOf('faccessat'), exchange, errno), { errno: -errno, remedy: /^find the seccomp filter/ })
})
