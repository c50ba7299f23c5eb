/** Promise: audit() says of every thread what /proc says, from any thread, at any time, and stops none. */
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

/** An empty root directory, with a place for /proc. */
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

async function agrees(t: Test, subject: Subject): Promise<void> {
  const { report, frozen } = await subject.ask('audit')
  t.equal(report.source, 'proc')
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

/** A jail in which something is mounted as /proc, and what the subject has to be started with. */
function mounted(t: Test, mount: string): [root: string, wrapper: string[]] {
  const root = jail(t)
  return [root, ['unshare', '--mount', 'sh', '-c', `${mount} ${root}/proc && exec "$@"`, 'sh']]
}

const noProc = { name: 'HardenError', code: 'ERR_HARDEN_PROC', step: 'proc' }

live('before harden() there is nothing to compare with', ['root'], async (t) => {
  const subject = await start(t)
  const before = await settled(subject.pid)
  const { report, table } = await subject.ask('audit')
  t.match(report, { source: 'proc', promise: null })
  t.notOk('discrepancies' in report, 'not "none"')
  t.match(report.threads[0], { user: { real: 0, effective: 0, saved: 0, fs: 0 }, noNewPrivileges: false })
  t.equal(report.threads.length, tasks(subject.pid).length)
  t.match(table, /^user +root \(0\), real, effective, saved and file system$/m)
  t.match(table, /^verdict +\d+ threads, all alike; harden\(\) has not been called/m)
  t.same(await settled(subject.pid), before)
})

live('after harden(), from main and from a Worker', ['root'], async (t) => {
  const subject = await populated(t)
  await subject.ask('harden', { ...options, supplementalGroups: [4, 8, 12] })
  const before = await settled(subject.pid)
  await agrees(t, subject)
  t.match(await subject.ask('askWorker', 0, 'audit'), { source: 'proc', discrepancies: [] })
  t.same(await settled(subject.pid), before, 'it changes nothing')
  await subject.ask('startWorkers', 1)
  await agrees(t, subject)
})

live('a thread that has changed since', ['root', 'cc'], async (t) => {
  for (const [chroot, wrapper] of [[], mounted(t, 'mount -t proc proc')]) {
    const subject = await populated(t, { wrapper })
    await loadThreads(t, subject)
    await subject.ask('harden', { ...options, capabilities: 'cap_setuid+ep', chroot })
    await agrees(t, subject)
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
    t.same(report.discrepancies, found)
    t.match(
      table,
      `discrepancy           ${tid} (${name}): user: wanted 65534 65534 65534 65534, found 65534 8 65534 8`,
    )
    t.match(await subject.ask('askWorker', 1, 'audit'), { discrepancies: found })
  }
})

live('in a chroot with a /proc of its own', ['root'], async (t) => {
  const [chroot, wrapper] = mounted(t, 'mount -t proc proc')
  const subject = await populated(t, { wrapper })
  await subject.ask('harden', { ...options, chroot })
  await agrees(t, subject)
})

live('where there is no /proc, or another file system in its place, it throws', ['root'], async (t) => {
  for (const [chroot, wrapper] of [[jail(t), []], mounted(t, 'mount -t tmpfs tmpfs')] as const) {
    const subject = await populated(t, { wrapper: [...wrapper] })
    await subject.ask('audit')
    await subject.ask('harden', { ...options, chroot })
    const before = await settled(subject.pid)
    const remedy = new RegExp(`npx privdrop audit ${subject.pid} `)
    t.match(await subject.refusal('audit'), { ...noProc, remedy })
    t.match(await subject.refusal('askWorker', 0, 'audit'), { code: noProc.code })
    t.same(await settled(subject.pid), before, 'it changes nothing')
  }
  const wrapper = ['unshare', '--mount', '--', 'sh', '-c', 'umount -l /proc && exec "$@"', 'sh']
  const subject = await start(t, { wrapper })
  t.match(await subject.refusal('audit'), { ...noProc, remedy: /mount/ })
})

live('no thread is stopped, with a /proc or without, which harden() does', ['root', 'cc'], async (t) => {
  for (const chroot of [undefined, jail(t)]) {
    const subject = await populated(t)
    await loadThreads(t, subject)
    await subject.ask('native', 'startPolling')
    t.equal(await subject.ask('native', 'interrupted'), 0)
    await subject.ask('harden', { ...options, chroot })
    const interruptions = (await subject.ask('native', 'interrupted')) as number
    t.ok(interruptions > 0, 'by harden()')
    const audit = () => (chroot ? subject.refusal('audit') : subject.ask('audit'))
    for (let times = 0; times < 10; times++) await audit()
    t.equal(await subject.ask('native', 'interrupted'), interruptions)
  }
})

live('from all threads at once', ['root'], async (t) => {
  const subject = await populated(t)
  await subject.ask('harden', options)
  t.ok(await subject.ask('auditAll', 30))
})

live('while threads come and go', ['root', 'cc'], async (t) => {
  const subject = await populated(t)
  await loadThreads(t, subject)
  await subject.ask('harden', options)
  await subject.ask('native', 'startChurn')
  t.ok(await subject.ask('auditAll', 10))
})

live('a thread that blocks every signal is read like any other', ['root', 'cc'], async (t) => {
  const subject = await populated(t)
  await loadThreads(t, subject)
  await subject.ask('harden', options)
  await subject.ask('native', 'startBlocked')
  await agrees(t, subject)
})
