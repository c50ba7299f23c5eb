/** Promise: audit() says of every thread what the kernel says, from any thread, at any time, in a chroot without /proc too. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { CAP_NET_BIND_SERVICE, mask, settled, tasks } from './outside'
import { loadThreads, type Subject, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const CAP_SETUID = 7

interface Thread {
  tid: number
  name: string
  user: object
  group: object
  groups: number[]
  capabilities: Record<string, string[]>
  noNewPrivileges: boolean
  securebits?: number
}

function jail(t: Test): string {
  const root = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  chmodSync(root, 0o755)
  mkdirSync(join(root, 'proc'))
  return root
}

const names: Record<string, number> = { cap_net_bind_service: CAP_NET_BIND_SERVICE, cap_setuid: CAP_SETUID }

/** A report about a hardened process, in the words of the outside view. */
const outside = ({ tid, name, user, group, groups, capabilities, noNewPrivileges }: Thread) => ({
  tid,
  name,
  uid: Object.values(user).join(' '),
  gid: Object.values(group).join(' '),
  groups: groups.join(' '),
  ...Object.fromEntries(
    Object.entries(capabilities).map(([set, found]) => [
      set,
      mask(...found.map((capability) => names[capability] ?? 63)),
    ]),
  ),
  noNewPrivs: noNewPrivileges ? '1' : '0',
})

const byTid = (a: { tid: number }, b: { tid: number }) => a.tid - b.tid

async function agrees(t: Test, subject: Subject, source: string): Promise<void> {
  const { report, frozen } = await subject.ask('audit')
  t.equal(report.source, source)
  t.same(report.discrepancies, [])
  t.same(report.threads.map(outside).sort(byTid), tasks(subject.pid).sort(byTid), 'as root sees it from outside')
  t.ok(frozen)
}

/** A process with Workers that have loaded the addon, and threads of the pool. */
async function populated(t: Test, options?: Parameters<typeof start>[1]): Promise<Subject> {
  const subject = await start(t, options)
  await subject.ask('warmPool', 4)
  await subject.ask('startWorkers', 2)
  for (const worker of [0, 1]) await subject.ask('askWorker', worker, 'audit')
  return subject
}

live('before harden() there is nothing to compare with', ['root'], async (t) => {
  const subject = await start(t)
  const before = await settled(subject.pid)
  const { report, table } = await subject.ask('audit')
  t.match(report, { source: 'proc', discrepancies: [] })
  t.match(report.threads[0], { user: { real: 0, effective: 0, saved: 0, fs: 0 }, noNewPrivileges: false })
  t.equal(report.threads.length, tasks(subject.pid).length)
  t.match(table, /^user +real 0, effective 0/m)
  t.same(await settled(subject.pid), before)
})

live('after harden(), from main and from a Worker', ['root'], async (t) => {
  const subject = await populated(t)
  await subject.ask('harden', { ...options, supplementalGroups: [4, 8, 12] })
  const before = await settled(subject.pid)
  await agrees(t, subject, 'proc')
  t.match(await subject.ask('askWorker', 0, 'audit'), { source: 'proc', discrepancies: [] })
  t.same(await settled(subject.pid), before, 'it changes nothing')
  await subject.ask('startWorkers', 1)
  await agrees(t, subject, 'proc')
})

live('a thread that has changed since', ['root', 'cc'], async (t) => {
  for (const chroot of [undefined, jail(t)]) {
    const subject = await populated(t)
    await loadThreads(t, subject)
    await subject.ask('harden', { ...options, capabilities: 'cap_setuid+ep', chroot })
    const tid = await subject.ask('native', 'startOther')
    const name = tasks(subject.pid).find((task) => task.tid === tid)?.name
    const found = [
      {
        tid,
        name,
        field: 'user',
        wanted: '65534 65534 65534 65534',
        found: '65534 8 65534 8',
      },
    ]
    const { report, table } = await subject.ask('audit')
    t.equal(report.source, chroot ? 'threads' : 'proc')
    t.same(report.discrepancies, found)
    t.match(table, `thread ${tid} (${name}): user: wanted 65534 65534 65534 65534, found 65534 8 65534 8`)
    t.match(await subject.ask('askWorker', 1, 'audit'), { discrepancies: found })
  }
})

live('in a chroot without /proc every thread is asked', ['root'], async (t) => {
  const subject = await populated(t)
  // more than what is provided for at first
  const supplementalGroups = Array.from({ length: 100 }, (_, index) => 1000 + index)
  await subject.ask('harden', { ...options, supplementalGroups, chroot: jail(t) })
  const before = await settled(subject.pid)
  await agrees(t, subject, 'threads')
  const { report } = await subject.ask('audit')
  t.ok(report.threads.every(({ securebits }: Thread) => securebits === 0))
  const inWorker = (await subject.ask('askWorker', 0, 'audit')) as { source: string; threads: Thread[] }
  t.equal(inWorker.source, 'threads')
  t.same(inWorker.threads.map(outside).sort(byTid), tasks(subject.pid).sort(byTid))
  t.same(await settled(subject.pid), before, 'signals are as before, pending ones too')
})

live('in a chroot with a /proc of its own, and with another file system in its place', ['root'], async (t) => {
  for (const [mount, source] of [
    ['mount -t proc proc', 'proc'],
    ['mount -t tmpfs tmpfs', 'threads'],
  ] as const) {
    const root = jail(t)
    const wrapper = ['unshare', '--mount', 'sh', '-c', `${mount} ${root}/proc && exec "$@"`, 'sh']
    const subject = await populated(t, { wrapper })
    await subject.ask('harden', { ...options, chroot: root })
    await agrees(t, subject, source)
  }
})

live('from all threads at once', ['root'], async (t) => {
  const subject = await populated(t)
  await subject.ask('harden', { ...options, chroot: jail(t) })
  t.ok(await subject.ask('auditAll', 30))
})

live('while threads come and go', ['root', 'cc'], async (t) => {
  const subject = await populated(t)
  await loadThreads(t, subject)
  await subject.ask('harden', { ...options, chroot: jail(t) })
  await subject.ask('native', 'startChurn')
  t.ok(await subject.ask('auditAll', 10))
})

live('no /proc, and no chroot', ['root'], async (t) => {
  const wrapper = ['unshare', '--mount', '--', 'sh', '-c', 'umount -l /proc && exec "$@"', 'sh']
  const subject = await start(t, { wrapper })
  t.match(await subject.refusal('audit'), { code: 'ERR_HARDEN_PROC', remedy: /mount/ })
})

live('a thread that cannot be asked', ['root', 'cc'], async (t) => {
  const subject = await populated(t)
  await loadThreads(t, subject)
  await subject.ask('harden', { ...options, chroot: jail(t) })
  await subject.ask('native', 'startBlocked')
  t.match(await subject.refusal('audit'), { code: 'ERR_HARDEN_THREAD_UNREACHABLE', step: 'park', remedy: /signal 33/ })
  await subject.ask('native', 'stop')
  await agrees(t, subject, 'threads')
})
