/**
 * Promise: the prebuilt addon for arm64 does what the one for x64 does, on Node for arm64 under qemu's user mode. What qemu
 * adds and lacks is in test/children/qemu.c; nothing else is let pass.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { hardened, tasks } from './outside'
import { type Subject, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  chmodSync(path, 0o755)
  return path
}

function emulated(t: Test): Promise<Subject> {
  const library = join(folder(t), 'qemu.so')
  execFileSync('aarch64-linux-gnu-gcc', ['-shared', '-fPIC', '-o', library, join(__dirname, '../children/qemu.c')])
  return start(t, {
    node: process.env.NODE_ARM64,
    // -L: where Debian's cross compiler has the C++ library
    wrapper: ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu', '-E', `LD_PRELOAD=${library}`],
    env: { PREBUILDS_ONLY: '1' },
  })
}

/** All of them, seen from outside, but qemu's own: the first after main. */
const guests = ({ pid }: Subject) =>
  tasks(pid)
    .sort((a, b) => a.tid - b.tid)
    .filter((_, index) => index !== 1)
    .map(({ tid: _tid, name: _name, ...rest }) => rest)

live('every thread, and what it can no longer do', ['root', 'qemu-aarch64-static', 'NODE_ARM64'], async (t) => {
  const subject = await emulated(t)
  await subject.ask('warmPool', 4)
  await subject.ask('startWorkers', 1)
  await subject.ask('listen', 25, '127.0.0.25')
  const count = guests(subject).length
  t.ok(count >= 11)
  const { report } = await subject.ask('harden', options)
  t.equal(report.threads.length, count)
  t.same(guests(subject), Array(count).fill(hardened))
  for (const read of ['readSync', 'readCallback', 'readPromise'] as const)
    t.equal((await subject.refusal(read, '/etc/shadow')).code, 'EACCES', read)
  t.equal((await subject.refusal('setuid', 0)).code, 'EPERM')
  await subject.ask('close')
  await subject.ask('listen', 25, '127.0.0.25')
  t.match((await subject.ask('audit')).report, { source: 'proc', discrepancies: [] })
})

live('a refusal, then a chroot, and audit() in it', ['root', 'qemu-aarch64-static', 'NODE_ARM64'], async (t) => {
  const subject = await emulated(t)
  const before = guests(subject)
  t.match(await subject.refusal('harden', { ...options, rehearse: { read: ['/etc/shadow'] } }), {
    code: 'ERR_HARDEN_ACCESS',
    errno: -13,
  })
  t.same(guests(subject), before)
  await subject.ask('harden', { ...options, chroot: folder(t) })
  t.same(guests(subject), Array(before.length).fill(hardened))
})
