/** Promise: every thread is inside, whatever its working directory was, and no way leads out. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { CAP_NET_BIND_SERVICE, common, mask, roots, settled } from './outside'
import { loadThreads, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

/** A directory with nothing but the file 'inside' and the directory 'var'. */
function jail(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-jail-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'inside'), '')
  mkdirSync(join(folder, 'var'))
  mkdirSync(join(folder, 'proc'))
  chmodSync(folder, 0o755)
  return folder
}

live('every thread is inside, and stays an SMTP server', ['root'], async (t) => {
  const root = jail(t)
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await subject.ask('startWorkers', 1)
  await subject.ask('listen', 25, '127.0.0.30')
  await subject.ask('chdir', '/etc')
  const { report, table } = await subject.ask('harden', { ...options, chroot: root })
  t.match(table, /^user +nobody \(65534\), real, effective, saved and file system$/m, 'names of before')
  t.equal(report.chroot, root)
  t.same(roots(subject.pid), [`${root} ${root}`], 'root and working directory of each thread')
  t.equal(common(subject.pid).effective, mask(CAP_NET_BIND_SERVICE))
  t.equal(await subject.ask('cwd'), '/', 'what Node remembers')
  t.equal(await subject.ask('askWorker', 0, 'cwd'), '/')
  t.same(await subject.ask('readdir', '/'), ['inside', 'proc', 'var'])
  await subject.ask('close')
  await subject.ask('listen', 25, '127.0.0.30')
})

live('ways out', ['root'], async (t) => {
  const root = jail(t)
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  await subject.ask('chdir', '/etc')
  t.ok((await subject.ask('readdir', '../etc')).includes('passwd'), 'before')
  await subject.ask('harden', { ...options, chroot: root })
  const here = ['inside', 'proc', 'var']
  for (const path of ['.', '..', '../../../..', '/..', 'var/../..', '/proc/../..'])
    t.same(await subject.ask('readdir', path), here, path)
  t.same(await subject.ask('askWorker', 0, 'readdir', '../..'), here, 'a Worker')
  t.equal((await subject.refusal('readSync', '/etc/passwd')).code, 'ENOENT')
  t.equal((await subject.refusal('readCallback', '../etc/passwd')).code, 'ENOENT', 'from the pool')
})

live('/proc inside: no descriptor leads out', ['root'], async (t) => {
  const root = jail(t)
  const subject = await start(t, {
    wrapper: ['unshare', '--mount', 'sh', '-c', `mount -t proc proc ${root}/proc && exec "$@"`, 'sh'],
  })
  await subject.ask('harden', { ...options, chroot: root })
  const descriptors = await subject.ask('readdir', '/proc/self/fd')
  t.ok(descriptors.length > 3)
  for (const descriptor of descriptors) {
    const { code } = await subject.refusal('readdir', `/proc/self/fd/${descriptor}/`)
    t.match(code, /^(ENOTDIR|ENOENT|EACCES)$/, `descriptor ${descriptor}`)
  }
  for (const link of ['root', 'cwd'])
    t.same(await subject.ask('readdir', `/proc/self/${link}/..`), ['inside', 'proc', 'var'], link)
})

live('an open directory is refused, unless it is inside', ['root'], async (t) => {
  const root = jail(t)
  const subject = await start(t)
  await subject.ask('opendir', '/etc')
  const before = await settled(subject.pid)
  t.match(await subject.refusal('harden', { ...options, chroot: root }), {
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    found: '/etc',
  })
  t.same(await settled(subject.pid), before, 'nothing has changed')
  await subject.ask('closedir')
  await subject.ask('opendir', join(root, 'var'))
  await subject.ask('harden', { ...options, chroot: root })
})

live('a directory that is opened when all has been looked at', ['root', 'strace'], async (t) => {
  const root = jail(t)
  // main is held where the rehearsing child has ended, and a Worker waits for that
  const slow = ['-e', 'trace=wait4', '-e', 'inject=wait4:delay_enter=300000']
  const subject = await start(t, { wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...slow] })
  await subject.ask('startWorkers', 1)
  t.equal(await subject.ask('askWorker', 0, 'openInRehearsal', '/etc', subject.pid), 'watching')
  t.match(await subject.refusal('harden', { ...options, chroot: root }), {
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    step: 'descriptors',
    found: '/etc',
  })
  t.match(common(subject.pid), { uid: '0 0 0 0' })
  t.same(roots(subject.pid), ['/ /'])
  await subject.ask('askWorker', 0, 'closedir')
  await subject.ask('harden', { ...options, chroot: root })
  t.same(roots(subject.pid), [`${root} ${root}`])
})

live('a directory that only looks as if it were inside: of another mount namespace', ['root'], async (t) => {
  const root = jail(t)
  const wrapper = ['sh', '-c', `exec 7<${root}/var; exec unshare --mount "$@"`, 'sh']
  const subject = await start(t, { wrapper })
  const before = await settled(subject.pid)
  t.match(await subject.refusal('harden', { ...options, chroot: root }), {
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    message: /descriptor 7 /,
    found: join(root, 'var'),
  })
  t.same(await settled(subject.pid), before, 'nothing has changed')
  const inside = await start(t, { wrapper: ['sh', '-c', `exec 7<${root}/var; exec "$@"`, 'sh'] })
  await inside.ask('harden', { ...options, chroot: root })
})

live('a neighbour whose name begins alike is not inside', ['root'], async (t) => {
  const root = jail(t)
  const subject = await start(t)
  await subject.ask('opendir', join(root, 'var'))
  mkdirSync(join(root, 'va'))
  t.equal((await subject.refusal('harden', { ...options, chroot: join(root, 'va') })).code, 'ERR_HARDEN_OPEN_DIRECTORY')
})

live('refused, and nothing has changed', ['root'], async (t) => {
  const root = jail(t)
  const closed = jail(t)
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  mkdirSync(join(closed, 'private'), { mode: 0o700 })
  const before = await settled(subject.pid)
  for (const [asked, wanted] of [
    [{ chroot: '/no/such/place' }, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'chroot', syscall: 'openat', errno: -2 }],
    [{ chroot: join(root, 'inside') }, { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'chroot', errno: -20 }],
    [
      { chroot: join(closed, 'private') },
      { code: 'ERR_HARDEN_NOT_PERMITTED', syscall: 'chdir', errno: -13, remedy: /chmod/ },
    ],
    [{ chroot: 'relative' }, { code: 'ERR_INVALID_ARG_VALUE', option: 'chroot' }],
    [{ chroot: '' }, { code: 'ERR_INVALID_ARG_VALUE', option: 'chroot' }],
    [
      { chroot: root, capabilities: 'cap_sys_chroot+ep' },
      { code: 'ERR_HARDEN_CHROOT_ESCAPE', option: 'chroot' },
    ],
    [{ chroot: root, user: 'no-such-user' }, { code: 'ERR_UNKNOWN_CREDENTIAL' }],
  ] as const) {
    t.match(await subject.refusal('harden', { ...options, ...asked }), wanted, JSON.stringify(asked))
    t.same(await settled(subject.pid), before)
  }
  await subject.ask('harden', { ...options, chroot: root })
  t.same(roots(subject.pid), [`${root} ${root}`])
})

live('without CAP_SYS_CHROOT', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--bounding-set', '-sys_chroot', '--'] })
  t.match(await subject.refusal('harden', { ...options, chroot: jail(t) }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'chroot',
    syscall: 'chroot',
    errno: -1,
    remedy: /cap_sys_chroot/,
  })
})

for (const [kind, what] of [
  ['startFs', 'root directory'],
  ['startFiles', 'file table'],
] as const)
  live(`a thread with a ${what} of its own`, ['root', 'cc'], async (t) => {
    const root = jail(t)
    const subject = await start(t)
    await loadThreads(t, subject)
    const tid = await subject.ask('native', kind)
    const before = await settled(subject.pid)
    t.match(await subject.refusal('harden', { ...options, chroot: root }), {
      code: 'ERR_HARDEN_THREAD_DIFFERS',
      syscall: 'kcmp',
      tid,
    })
    t.same(await settled(subject.pid), before, 'nothing has changed')
    await subject.ask('native', 'stop')
    await subject.ask('harden', { ...options, chroot: root })
    t.same(roots(subject.pid), [`${root} ${root}`])
  })
