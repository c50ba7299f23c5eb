/**
 * Promise: in an lx zone, where prctl(2) does not know what the proof needs, nothing is promised and nothing changes. By a filter that
 * answers as lx does, on Linux.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { live, nodeHeaders } from '../live/live'
import { settled } from '../live/outside'
import { start } from '../live/subject'

const { EINVAL } = constants.errno
const prctl = process.arch === 'arm64' ? 167 : 157
/** prctl(2) and seccomp(2). lx pretends to have taken a capability from the bounding set. */
const answers = { PR_CAPBSET_READ: [23, EINVAL], PR_CAPBSET_DROP: [24, 0], PR_SET_NO_NEW_PRIVS: [38, EINVAL] } as const
const SECCOMP_RET_ERRNO = 0x0005_0000

const folder = mkdtempSync(join(tmpdir(), 'privdrop-lx-'))
t.teardown(() => rmSync(folder, { recursive: true }))

/** A server in such a zone. */
async function inZone(t: Test) {
  const library = join(folder, 'filters.node')
  const flags = ['-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-pthread', '-I', nodeHeaders]
  execFileSync('cc', [...flags, '-o', library, join(__dirname, '../evidence/filters.c')])
  const subject = await start(t)
  await subject.ask('load', library)
  for (const [operation, errno] of Object.values(answers))
    t.ok(((await subject.ask('native', 'everyThread', prctl, operation, SECCOMP_RET_ERRNO | errno)) as number) > 0)
  return subject
}

live('an lx zone', ['root', 'cc'], async (t) => {
  const subject = await inZone(t)
  const before = await settled(subject.pid)
  const options = { user: 'mail', capabilities: 'cap_net_bind_service+ep' }
  t.match(await subject.refusal('harden', options), {
    ...{ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'no_new_privs', syscall: 'prctl', errno: -EINVAL },
    remedy: /an lx zone/,
  })
  t.match(await subject.refusal('harden', { ...options, noNewPrivileges: false }), {
    ...{ code: 'ERR_HARDEN_NOT_PERMITTED', step: 'verify', message: /: bounding: wanted cap_net_bind_service, found / },
  })
  t.same(await settled(subject.pid), before)
})
