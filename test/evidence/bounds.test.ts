/**
 * Promise: a rehearsing child that a dead file system holds is not waited for without a bound, holds no listener, and is reaped by
 * the next call. Ten seconds each.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { constants } from 'node:os'
import type { Test } from 'tap'
import { FileSystem } from '../live/fuse'
import { live, type Need } from '../live/live'
import { children, common, hardened, settled } from '../live/outside'
import { folder, type Subject, start } from '../live/subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const needs: Need[] = ['root', 'fuse', 'nsenter', 'cc']
const HOST = '127.0.0.71'

/** All but the child that may be left. */
async function unchanged(pid: number): Promise<object> {
  const { threads, ...rest } = await settled(pid)
  return { threads: Object.entries(threads).map(([tid, lines]) => [tid, lines.slice(0, -1)]), ...rest }
}

/** One, which has nothing of the server's: no signal ends its call, or it is ending already and has no files any more. */
async function isHeld(t: Test, subject: Subject): Promise<void> {
  const [held, ...more] = children(subject.pid)
  t.same(more, [])
  t.match(readFileSync(`/proc/${held}/status`, 'latin1'), /^(State:\tD.*|FDSize:\t0)$/m)
  await subject.ask('close')
  const next = createServer().listen(25, HOST)
  await once(next, 'listening')
  await once(next.close(), 'close')
}

async function isReaped(t: Test, subject: Subject, system: FileSystem): Promise<void> {
  await system.unmount()
  while (children(subject.pid).some((pid) => !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))))
    await new Promise(setImmediate)
  await subject.ask('plan', options)
  t.same(children(subject.pid), [])
}

interface Held {
  title: string
  /** What is open when the file system dies, or what is asked. */
  open?: (subject: Subject, system: FileSystem) => Promise<unknown>
  asked: (system: FileSystem, jail: string) => object
  wanted: (system: FileSystem) => object
}

const cases: Held[] = [
  {
    title: 'a path of rehearse.read',
    asked: ({ file }) => ({ rehearse: { read: ['/etc/passwd', file] } }),
    wanted: ({ file }) => ({ code: 'ERR_HARDEN_ACCESS', option: 'rehearse.read[1]', step: 'read', found: file }),
  },
  {
    title: 'a path of rehearse.write',
    asked: ({ file }) => ({ rehearse: { write: [file] } }),
    wanted: ({ file }) => ({ code: 'ERR_HARDEN_ACCESS', option: 'rehearse.write[0]', step: 'write', found: file }),
  },
  {
    title: 'an open file',
    open: (subject, { file }) => subject.ask('open', file),
    asked: () => ({}),
    wanted: ({ file }) => ({ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'reopen', found: file }),
  },
  {
    title: 'an open directory, with a chroot',
    open: (subject, { folder }) => subject.ask('opendir', folder),
    asked: (_system, chroot) => ({ chroot }),
    wanted: ({ folder }) => ({ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'descriptors', found: folder }),
  },
]

for (const { title, open, asked, wanted } of cases)
  live(`${title}: refused`, needs, async (t) => {
    const system = await FileSystem.mount(t)
    const subject = await start(t, { wrapper: system.wrapper })
    await subject.ask('listen', 25, HOST)
    await open?.(subject, system)
    await system.die()
    const before = await unchanged(subject.pid)
    const refused = subject.refusal('harden', { ...options, ...asked(system, folder(t)) })
    const errno = -constants.errno.ETIMEDOUT
    t.match(await system.bounded(t, refused), { name: 'HardenError', errno, remedy: /answers/, ...wanted(system) })
    t.same(await unchanged(subject.pid), before, 'nothing has changed')
    await isHeld(t, subject)
    await isReaped(t, subject, system)
    await subject.ask('harden', options)
    t.same(common(subject.pid), hardened)
  })

live('a file that cannot be closed any more: all has been found out by then', needs, async (t) => {
  const system = await FileSystem.mount(t)
  const subject = await start(t, { wrapper: system.wrapper })
  await subject.ask('listen', 25, HOST)
  await subject.ask('open', system.file)
  // of access(2) the kernel knows then that this file system does not care
  const [nsenter = '', ...rest] = system.wrapper
  execFileSync(nsenter, [...rest, 'test', '-r', system.file])
  await system.die()
  await system.bounded(t, subject.ask('harden', options))
  t.same(common(subject.pid), hardened)
  await isHeld(t, subject)
  await isReaped(t, subject, system)
})
