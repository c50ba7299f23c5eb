/**
 * Promise: the new root is the directory that root named, and no other process of the new user can make the name lead
 * elsewhere; an open directory that leads out of it is refused, whatever its path is.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { common, roots, settled } from './outside'
import {
  filtered,
  folder,
  inUserNamespace,
  KCMP,
  loadThreads,
  type Options,
  type Subject,
  shown,
  start,
} from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const [NOBODY, MAIL] = [65534, 8]

function directory(path: string, mode = 0o755, owner = 0, group = owner): string {
  mkdirSync(path)
  chownSync(path, owner, group)
  chmodSync(path, mode)
  return path
}

async function refused(t: Test, subject: Subject, asked: object, wanted: object): Promise<void> {
  const before = await settled(subject.pid)
  t.match(await subject.refusal('harden', { ...options, ...asked }), { name: 'HardenError', remedy: /./, ...wanted })
  t.same(await settled(subject.pid), before, 'nothing has changed')
}

/** `inside` is the kernel's path. */
async function entered(t: Test, subject: Subject, asked: { chroot: string }, inside = asked.chroot): Promise<void> {
  const { report } = await subject.ask('harden', { ...options, ...asked })
  t.equal(report.chroot, inside)
  t.same(roots(subject.pid), [`${inside} ${inside}`])
}

const exchangeable = (found: string) => ({
  code: 'ERR_HARDEN_CHROOT_PATH',
  option: 'chroot',
  step: 'exchange',
  found,
  remedy: /chown root/,
})

/** A way for the new user to put something else where the path leads, and the same without it. */
interface Way {
  title: string
  /** Between the two: by it the user can, or cannot any more. */
  open(app: string): void
  shut(app: string): void
  asked?: object
  /** Of the subject. */
  how?: (t: Test) => Options
}

const mode =
  (bits: number) =>
  (app: string): void =>
    chmodSync(app, bits)
const owner =
  (uid: number, path = '') =>
  (app: string): void =>
    chownSync(join(app, path), uid, uid)
const acl = (entry: string) => (app: string) => {
  execFileSync('setfacl', [...(entry ? ['-m', entry] : ['-b']), app])
}
const both =
  (...parts: ((app: string) => void)[]) =>
  (app: string) => {
    for (const part of parts) part(app)
  }

const ways: Way[] = [
  { title: 'owns the folder', open: owner(NOBODY), shut: owner(0) },
  { title: 'owns the folder, which is not writable', open: both(owner(NOBODY), mode(0o555)), shut: owner(0) },
  { title: 'may write to the folder', open: mode(0o757), shut: mode(0o755) },
  {
    title: 'may write to the folder by its group',
    open: both(mode(0o775), owner(NOBODY), (app) => chownSync(app, 0, MAIL)),
    shut: (app) => chownSync(app, 0, 0),
    asked: { supplementalGroups: ['mail'] },
  },
  {
    title: 'may write to the folder by a group of the account, which this process has not',
    open: both(mode(0o775), (app) => chownSync(app, 0, MAIL)),
    shut: (app) => chownSync(app, 0, 0),
    how: (t) => ({ wrapper: shown(t, '/etc/group', 'root:x:0:\nmail:x:8:nobody\nnogroup:x:65534:\n') }),
  },
  {
    title: 'may write to the folder by its group, and is in another that the user namespace does not map',
    open: both(mode(0o775), (app) => chownSync(app, 0, MAIL)),
    shut: (app) => chownSync(app, 0, 0),
    asked: { supplementalGroups: ['mail'] },
    how: (t) => {
      const ids = '0 0 1\n65534 65534 1\n'
      const { wrapper = [], ...rest } = inUserNamespace({ uid_map: ids, gid_map: `${ids}${MAIL} ${MAIL} 1\n` })
      const groups = shown(t, '/etc/group', 'root:x:0:\nmail:x:8:\nnogroup:x:65534:\nfar:x:70000:nobody\n')
      return { wrapper: [...groups, ...wrapper], ...rest }
    },
  },
  { title: 'may write to the folder by its ACL', open: acl(`u:${NOBODY}:rwx`), shut: acl('') },
  {
    title: 'owns what lies in a sticky folder',
    open: both(mode(0o1777), owner(NOBODY, 'jail')),
    shut: owner(0, 'jail'),
  },
  { title: 'owns the sticky folder', open: both(mode(0o1755), owner(NOBODY)), shut: owner(0) },
]

for (const { title, open, shut, asked, how } of ways)
  live(`the new user ${title}`, ['root', 'setfacl'], async (t) => {
    const app = directory(join(folder(t), 'app'))
    const jail = directory(join(app, 'jail'))
    open(app)
    const subject = await start(t, how?.(t))
    await refused(t, subject, { ...asked, chroot: jail }, exchangeable(jail))
    t.match((await subject.ask('plan', { ...options, ...asked, chroot: jail })).made.refusals, [exchangeable(jail)])
    shut(app)
    await entered(t, subject, { ...asked, chroot: jail })
  })

live('the new user has put a link to another directory in its place', ['root'], async (t) => {
  const app = directory(join(folder(t), 'app'), 0o755, NOBODY)
  const jail = directory(join(app, 'jail'))
  execFileSync('sh', ['-c', 'mv jail old && ln -s /etc jail'], { cwd: app, uid: NOBODY, gid: NOBODY })
  await refused(t, await start(t), { chroot: jail }, exchangeable(jail))
})

live('a component in the middle, and folders above it', ['root'], async (t) => {
  const top = directory(join(folder(t), 'top'))
  const middle = directory(join(top, 'middle'))
  const jail = directory(join(directory(join(middle, 'app')), 'jail'))
  chownSync(top, NOBODY, NOBODY)
  const subject = await start(t)
  await refused(t, subject, { chroot: jail }, exchangeable(middle))
  chownSync(top, 0, 0)
  await entered(t, subject, { chroot: jail })
})

live("the new root itself may be the new user's, who can write to it", ['root'], async (t) => {
  for (const [bits, uid] of [
    [0o755, NOBODY],
    [0o777, 0],
  ] as const)
    await entered(t, await start(t), { chroot: directory(join(folder(t), 'jail'), bits, uid) })
})

live("what is retained says nothing about the user's other processes", ['root'], async (t) => {
  const jail = directory(join(folder(t), 'jail'))
  const subject = await start(t)
  const asked = { capabilities: 'cap_dac_override,cap_fowner+ep', chroot: jail }
  await entered(t, subject, asked)
})

live('user root could exchange everything, and is not asked about', ['root'], async (t) => {
  const app = directory(join(folder(t), 'app'), 0o777, NOBODY)
  const asked = { user: 'root', chroot: directory(join(app, 'jail')) }
  await entered(t, await start(t), asked)
})

live("root's links in root's folders are followed, and the report has the kernel's path", ['root'], async (t) => {
  const top = folder(t)
  const release = directory(join(directory(join(top, 'releases')), '7'))
  symlinkSync('releases/7', join(top, 'current'))
  symlinkSync(join(top, 'current'), join(top, 'latest'))
  symlinkSync('../releases/../current/.', join(top, 'releases', 'stable'))
  for (const chroot of [
    release,
    ...['current', 'latest', 'releases/stable', 'releases/./7', 'releases/../current'].map((path) =>
      join(top, '', path),
    ),
    `${top}//releases/7/`,
    `${top}/releases/../releases/7`,
  ])
    await entered(t, await start(t), { chroot }, release)
})

live('a link that the new user can exchange, and one that leads through a folder of his', ['root'], async (t) => {
  const top = folder(t)
  const jail = directory(join(top, 'jail'))
  const his = directory(join(top, 'his'), 0o755, NOBODY)
  symlinkSync(jail, join(his, 'current'))
  symlinkSync('his/current', join(top, 'current'))
  symlinkSync('his/../jail', join(top, 'around'))
  const subject = await start(t)
  await refused(t, subject, { chroot: join(his, 'current') }, exchangeable(join(his, 'current')))
  await refused(t, subject, { chroot: join(top, 'current') }, exchangeable(join(his, 'current')))
  // ".." of the user's folder is where that folder lies, whatever is in it
  await entered(t, subject, { chroot: join(top, 'around') }, jail)
})

live('paths that are too long, whatever makes them so', ['root'], async (t) => {
  const top = folder(t)
  const name = 'n'.repeat(255)
  const deep = Array(15).fill(name).join('/')
  for (const path of [deep, 'd/'.repeat(300)]) mkdirSync(join(top, path), { recursive: true })
  symlinkSync(deep, join(top, 'link'))
  const subject = await start(t)
  const error = { code: 'ERR_HARDEN_NOT_PERMITTED', option: 'chroot', errno: -constants.errno.ENAMETOOLONG }
  for (const [what, path] of [
    ['the option', 'x/'.repeat(2048)],
    ['where a link leads, with what follows it', `link/${name}/${name}`],
    ['the path without links', `link/${name}`],
    ['more folders than are kept open', 'd/'.repeat(300)],
  ] as const) {
    t.comment(what)
    await refused(t, subject, { chroot: join(top, path) }, { ...error, remedy: /^name it by a shorter path/ })
  }
  await entered(t, subject, { chroot: join(top, 'link') }, join(top, deep))
})

live('links without end, and one that leads nowhere', ['root'], async (t) => {
  const top = folder(t)
  symlinkSync('loop', join(top, 'loop'))
  symlinkSync('no/such/place', join(top, 'nowhere'))
  const subject = await start(t)
  const notOpened = { code: 'ERR_HARDEN_NOT_PERMITTED', option: 'chroot', step: 'chroot' }
  await refused(t, subject, { chroot: join(top, 'loop') }, { ...notOpened, errno: -constants.errno.ELOOP })
  await refused(
    t,
    subject,
    { chroot: join(top, 'nowhere') },
    { ...notOpened, errno: -constants.errno.ENOENT, found: join(top, 'no') },
  )
})

live('a link on procfs, whose text is not where it leads', ['root'], async (t) => {
  const jail = directory(join(folder(t), 'jail'))
  const subject = await start(t, { wrapper: ['sh', '-c', `exec "$@" 7<${jail}`, 'sh'] })
  for (const [chroot, found] of [
    ['/proc/self/fd/7', '/proc/self'],
    [`/proc/${subject.pid}/fd/7`, `/proc/${subject.pid}/fd/7`],
    [`/proc/${subject.pid}/root${jail}`, `/proc/${subject.pid}/root`],
  ] as const)
    await refused(
      t,
      subject,
      { chroot },
      { code: 'ERR_HARDEN_CHROOT_PATH', option: 'chroot', step: 'chroot', syscall: 'readlink', found },
    )
  await entered(t, subject, { chroot: jail })
})

live("a user namespace in which root's files look like those of the new user", ['root', 'setpriv'], async (t) => {
  const { wrapper = [], ...rest } = inUserNamespace({
    uid_map: '0 1000 1\n65534 65534 1\n',
    gid_map: '0 1000 1\n65534 65534 1\n',
  })
  const plain = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--']
  const top = directory(join(folder(t), 'top'))
  const jail = directory(join(top, 'jail'))
  const subject = await start(t, { wrapper: [...plain, ...wrapper], ...rest })
  t.match((await subject.ask('run', 'stat', ['-c', '%u', top])).stdout, /^65534$/m, 'as it is seen there')
  chownSync(top, NOBODY, NOBODY)
  await refused(t, subject, { chroot: jail }, exchangeable(jail))
  chownSync(top, 0, 0)
  await entered(t, subject, { chroot: jail })
})

live('a root without the capability to tell whose a file is', ['root', 'setpriv'], async (t) => {
  const top = directory(join(folder(t), 'top'))
  const jail = directory(join(top, 'jail'))
  const subject = await start(t, { wrapper: ['setpriv', '--bounding-set=-fowner', '--'] })
  chmodSync(top, 0o555)
  chownSync(top, NOBODY, NOBODY)
  await refused(t, subject, { chroot: jail }, exchangeable(jail))
  chownSync(top, 0, 0)
  await entered(t, subject, { chroot: jail })
})

/** A jail with a folder in it, and one beside it. */
function jailIn(t: Test): { jail: string; inner: string } {
  const jail = directory(join(folder(t), 'jail'))
  return { jail, inner: directory(join(jail, 'inner')) }
}

const leadsOut = { code: 'ERR_HARDEN_OPEN_DIRECTORY', option: 'chroot', step: 'descriptors' }

live('an open directory that has been removed leads out', ['root'], async (t) => {
  for (const part of ['inner', ''] as const) {
    const { jail, inner } = jailIn(t)
    const subject = await start(t)
    await subject.ask('opendir', join(jail, part))
    // a deployment: the jail is emptied and made anew
    rmSync(part ? inner : jail, { recursive: true })
    if (!part) directory(jail)
    directory(inner)
    await refused(t, subject, { chroot: jail }, { ...leadsOut, found: `${join(jail, part)} (deleted)` })
    await subject.ask('closedir')
    await subject.ask('opendir', inner)
    await entered(t, subject, { chroot: jail })
  }
})

live('an open directory that has been moved out leads out', ['root'], async (t) => {
  const { jail, inner } = jailIn(t)
  const subject = await start(t)
  await subject.ask('opendir', inner)
  const outside = `${jail}-outside`
  renameSync(inner, outside)
  await refused(t, subject, { chroot: jail }, { ...leadsOut, found: outside })
  renameSync(outside, inner)
  await entered(t, subject, { chroot: jail })
})

live('a directory of a mount of the jail beside it leads out', ['root'], async (t) => {
  const { jail } = jailIn(t)
  const beside = directory(`${jail}-beside`)
  // the same directories, by device and inode; ".." leads to the other place
  const wrapper = ['unshare', '--mount', 'sh', '-c', `mount --bind ${jail} ${beside} && exec "$@"`, 'sh']
  const subject = await start(t, { wrapper })
  for (const path of [join(beside, 'inner'), beside]) {
    await subject.ask('opendir', path)
    await refused(t, subject, { chroot: jail }, { ...leadsOut, found: path })
    await subject.ask('closedir')
  }
  await subject.ask('opendir', join(jail, 'inner'))
  await entered(t, subject, { chroot: jail })
})

live('a directory that a Worker has open for a moment is waited for', ['root'], async (t) => {
  const { jail } = jailIn(t)
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  t.equal(await subject.ask('askWorker', 0, 'closeInRehearsal', '/etc', subject.pid), 'watching')
  await entered(t, subject, { chroot: jail })
})

live('kcmp(2) is refused, and a thread has a root directory of its own', ['root', 'cc'], async (t) => {
  const { jail } = jailIn(t)
  const subject = await start(t, { wrapper: filtered(t, KCMP, constants.errno.EPERM) })
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startFs')
  await refused(t, subject, { chroot: jail }, { code: 'ERR_HARDEN_THREAD_DIFFERS', step: 'compare', tid })
  await subject.ask('native', 'stop')
  await entered(t, subject, { chroot: jail })
  t.match(common(subject.pid), { uid: '65534 65534 65534 65534' })
})
