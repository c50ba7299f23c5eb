/**
 * Promise: what `rehearse` names is tried as the new identity before anything changes; harden() refuses if it cannot be
 * used.
 */

import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { common, hardened, settled } from './outside'
import { type Subject, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const NOBODY = 65534
const [EPERM, ENOENT, EACCES, ENOTDIR, EROFS] = [-1, -2, -13, -20, -30]

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  chmodSync(path, 0o755)
  return path
}

function file(path: string, mode: number, uid = 0, gid = 0): string {
  writeFileSync(path, '')
  chownSync(path, uid, gid)
  chmodSync(path, mode)
  return path
}

function directory(path: string, mode: number, uid = 0): string {
  mkdirSync(path)
  chownSync(path, uid, 0)
  chmodSync(path, mode)
  return path
}

async function refused(t: Test, subject: Subject, asked: object, wanted: object): Promise<void> {
  const before = await settled(subject.pid)
  const fields = await subject.refusal('harden', { ...options, ...asked })
  t.match(fields, { name: 'HardenError', code: 'ERR_HARDEN_ACCESS', remedy: /./, ...wanted })
  t.same(await settled(subject.pid), before, 'nothing has changed')
}

async function hardens(t: Test, subject: Subject, asked: object): Promise<void> {
  await subject.ask('harden', { ...options, ...asked })
  t.match(common(subject.pid), { uid: hardened.uid }, `${JSON.stringify(asked)} will do`)
}

live('read', ['root'], async (t) => {
  const path = folder(t)
  const subject = await start(t)
  const mine = file(join(path, 'mine'), 0o400, NOBODY)
  const theirs = file(join(path, 'theirs'), 0o600)
  const behind = file(join(directory(join(path, 'closed'), 0o700), 'file'), 0o644)
  const groups = file(join(path, 'groups'), 0o640, 0, 8)
  const fifo = join(path, 'fifo')
  execFileSync('mkfifo', ['-m', '644', fifo])
  for (const [read, errno, remedy] of [
    [[theirs], EACCES, /chown|chmod/],
    [[mine, theirs], EACCES, /group/],
    [[groups], EACCES, /group/],
    [[behind], EACCES, /^open the folder above it to user nobody: chmod o\+x /],
    [['/etc/shadow'], EACCES, /before harden/],
    [[join(path, 'none')], ENOENT, /create it/],
    [[join(mine, 'none')], ENOTDIR, /create it/],
  ] as const)
    await refused(
      t,
      subject,
      { rehearse: { read } },
      {
        step: 'read',
        syscall: 'open',
        errno,
        remedy,
        option: `rehearse.read[${read.length - 1}]`,
        found: read.at(-1),
        message: /^user 65534 will not be able to read '/,
      },
    )
  await hardens(t, subject, {
    supplementalGroups: ['mail'],
    rehearse: { read: [mine, groups, fifo, path, '/etc/passwd', '/dev/null'] },
  })
})

live('read, by a capability that is retained', ['root'], async (t) => {
  const subject = await start(t)
  await refused(t, subject, { rehearse: { read: ['/etc/shadow'] } }, { errno: EACCES })
  const permitted = { capabilities: 'cap_dac_read_search+p', rehearse: { read: ['/etc/shadow'] } }
  await refused(t, subject, permitted, { errno: EACCES })
  await hardens(t, subject, { capabilities: 'cap_dac_read_search+ep', rehearse: { read: ['/etc/shadow'] } })
})

live('write: nothing is created or changed', ['root'], async (t) => {
  const path = folder(t)
  const subject = await start(t)
  const mine = file(join(path, 'mine'), 0o200, NOBODY)
  const queue = directory(join(path, 'queue'), 0o700, NOBODY)
  const noSearch = directory(join(path, 'noSearch'), 0o600, NOBODY)
  const others = directory(join(path, 'others'), 0o755)
  for (const [write, errno] of [
    [file(join(path, 'theirs'), 0o644), EACCES],
    [others, EACCES],
    [noSearch, EACCES],
    [join(path, 'none'), ENOENT],
    [join(queue, 'new'), ENOENT],
  ] as const)
    await refused(
      t,
      subject,
      { rehearse: { write: [mine, write] } },
      { step: 'write', errno, option: 'rehearse.write[1]', found: write },
    )
  const before = [mine, queue].map((name) => statSync(name))
  await hardens(t, subject, { rehearse: { write: [mine, queue, '/dev/null'] } })
  t.same(
    [mine, queue].map((name) => statSync(name)),
    before,
  )
  t.same(readdirSync(queue), [])
})

live('write, by a capability that is retained; and to a file system that is read-only', ['root'], async (t) => {
  const path = folder(t)
  const theirs = file(join(path, 'theirs'), 0o600)
  const mount = ['unshare', '--mount', 'sh', '-c', `mount --bind ${path} ${path} && mount -o remount,ro,bind ${path}`]
  const subject = await start(t, { wrapper: [...mount.slice(0, -1), `${mount.at(-1)} && exec "$@"`, 'sh'] })
  const wanted = { step: 'write', syscall: 'faccessat2', errno: EROFS, remedy: /mount/ }
  const all = file(join(path, 'all'), 0o666)
  await refused(t, subject, { rehearse: { write: [all] } }, wanted)
  const other = await start(t)
  await hardens(t, other, { capabilities: 'cap_dac_override+ep', rehearse: { write: [theirs] } })
})

live('paths are those in the chroot', ['root'], async (t) => {
  const root = folder(t)
  file(join(root, 'config'), 0o644)
  directory(join(root, 'spool'), 0o700, NOBODY)
  const subject = await start(t)
  await refused(
    t,
    subject,
    { chroot: root, rehearse: { read: [join(root, 'config')] } },
    { errno: ENOENT, message: /in the chroot/, remedy: `write '/config', which is that path inside the chroot` },
  )
  await hardens(t, subject, { chroot: root, rehearse: { read: ['/config'], write: ['/spool'] } })
})

live('bind: for IPv4 and IPv6, also while the server listens there', ['root', 'ip'], async (t) => {
  const wrapper = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  const subject = await start(t, { wrapper })
  await subject.ask('listen', 25, '127.0.0.1')
  await refused(
    t,
    subject,
    { capabilities: '', rehearse: { bind: [2525, 25] } },
    {
      step: 'bind',
      syscall: 'bind',
      errno: EACCES,
      option: 'rehearse.bind[1]',
      found: '25',
      message: /TCP port 25/,
      remedy: /cap_net_bind_service/,
    },
  )
  await refused(t, subject, { capabilities: 'cap_net_bind_service+p', rehearse: { bind: [587] } }, { errno: EACCES })
  await hardens(t, subject, { rehearse: { bind: [25, 465, 587, 2525, 65535] } })
  await subject.ask('close')
  await subject.ask('listen', 25, '127.0.0.1')
})

live('bind, in a kernel without IPv6, and where a filter refuses', ['root', 'ip', 'strace'], async (t) => {
  const fault = (inject: string, trace: string) => ({
    wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${trace}`, '-e', `inject=${inject}`],
  })
  // the second socket of the child is that for IPv6
  const without = await start(t, fault('socket:error=EAFNOSUPPORT:when=2', 'socket'))
  await refused(t, without, { capabilities: '', rehearse: { bind: [25] } }, { errno: EACCES })
  await hardens(t, without, { rehearse: { bind: [25] } })
  const filtered = await start(t, fault('bind:error=EPERM', 'bind'))
  await refused(t, filtered, { rehearse: { bind: [25] } }, { step: 'bind', errno: EPERM })
})

live('before Linux 5.8, which has no faccessat2(2)', ['root', 'strace'], async (t) => {
  const path = folder(t)
  const old = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=faccessat2', '-e']
  const subject = await start(t, { wrapper: [...old, 'inject=faccessat2:error=ENOSYS'] })
  const write = directory(join(path, 'queue'), 0o755)
  await refused(t, subject, { rehearse: { write: [write] } }, { step: 'write', errno: EACCES })
  chownSync(write, NOBODY, 0)
  await hardens(t, subject, { rehearse: { write: [write] } })
})
