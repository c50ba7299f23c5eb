/** Promise: afterwards every thread has the requested ids, groups and sets, whatever kind of thread it is. */
import { live } from './live'
import { common, hardened, NONE, tasks } from './outside'
import { start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

live('the threads of a fresh process', ['root'], async (t) => {
  const subject = await start(t)
  t.equal(common(subject.pid).uid, '0 0 0 0', 'root before')
  const { report } = await subject.ask('harden', options)
  t.same(common(subject.pid), hardened)
  t.same(
    report.threads.map(({ name }: { name: string }) => name).sort(),
    tasks(subject.pid)
      .map(({ name }) => name)
      .sort(),
  )
})

live('the libuv pool, warmed before', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('warmPool', 8)
  const before = tasks(subject.pid).length
  await subject.ask('harden', options)
  t.same(common(subject.pid), hardened)
  t.equal(tasks(subject.pid).length, before)
  await subject.ask('warmPool', 8)
  t.same(common(subject.pid), hardened, 'and used again')
})

live('the libuv pool, started afterwards', ['root'], async (t) => {
  const subject = await start(t)
  const before = tasks(subject.pid).length
  await subject.ask('harden', options)
  await subject.ask('warmPool', 8)
  t.ok(tasks(subject.pid).length > before, 'there are new threads')
  t.same(common(subject.pid), hardened)
})

live('UV_THREADPOOL_SIZE=128', ['root'], async (t) => {
  const subject = await start(t, { env: { UV_THREADPOOL_SIZE: '128' } })
  await subject.ask('warmPool', 128)
  t.ok(tasks(subject.pid).length > 128)
  await subject.ask('harden', options)
  t.same(common(subject.pid), hardened)
})

live('Workers, before and after', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('startWorkers', 3)
  await subject.ask('harden', options)
  t.same(common(subject.pid), hardened)
  await subject.ask('startWorkers', 3)
  t.same(common(subject.pid), hardened, 'with three more')
})

live('an inspector that is open, and allowed', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('openInspector')
  const before = tasks(subject.pid).length
  await subject.ask('harden', { ...options, allowInspector: true })
  t.same(common(subject.pid), hardened)
  t.equal(tasks(subject.pid).length, before)
})

live('nothing retained', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', { user: 'nobody' })
  t.same(common(subject.pid), { ...hardened, permitted: NONE, effective: NONE, bounding: NONE })
})

live('no_new_privs off', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', { ...options, noNewPrivileges: false })
  t.same(common(subject.pid), { ...hardened, noNewPrivs: '0' })
})

live('another group, and supplementary ones, in whatever order', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', { user: 'nobody', group: 'mail', supplementalGroups: ['adm', 12, '7', 4, 100000] })
  const { gid, groups } = common(subject.pid)
  t.equal(gid, '8 8 8 8')
  t.equal(groups, '4 7 12 100000')
})

live('as many groups as the kernel takes', ['root'], async (t) => {
  const subject = await start(t)
  const all = Array.from({ length: 65536 }, (_, index) => index + 1)
  const { report } = await subject.ask('harden', { user: 'nobody', supplementalGroups: all })
  t.equal(common(subject.pid).groups, all.join(' '))
  t.same(report.groups, all)
})

live('the groups that were there before are gone', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--groups=0,1,4,27,42', '--'] })
  await subject.ask('warmPool', 4)
  t.equal(common(subject.pid).groups, '0 1 4 27 42')
  await subject.ask('harden', { user: 'nobody' })
  t.equal(common(subject.pid).groups, '')
})

live('a user and a group by number, without any account', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', { user: 4294967294, group: '4294967293' })
  const { uid, gid } = common(subject.pid)
  t.equal(uid, '4294967294 4294967294 4294967294 4294967294')
  t.equal(gid, '4294967293 4294967293 4294967293 4294967293')
})

live('the report is what an outsider sees, frozen, and a table', ['root'], async (t) => {
  const subject = await start(t)
  const { report, table, frozen } = await subject.ask('harden', options)
  t.match(report, {
    platform: 'linux',
    user: { real: 65534, effective: 65534, saved: 65534, fs: 65534 },
    group: { real: 65534, effective: 65534, saved: 65534, fs: 65534 },
    groups: [],
    capabilities: {
      permitted: ['cap_net_bind_service'],
      effective: ['cap_net_bind_service'],
      inheritable: [],
      bounding: ['cap_net_bind_service'],
      ambient: [],
    },
    securebits: 0,
    noNewPrivileges: true,
    findings: [],
  })
  t.ok(frozen)
  t.match(table, /^permitted +cap_net_bind_service$/m)
  t.match(table, /^user +nobody \(65534\), real, effective, saved and file system$/m)
})
