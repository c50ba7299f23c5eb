/**
 * Promise: the behaviour of Momentum's `security { }` scope, line by line, and its two documented examples unchanged.
 * Behaviour with a test file of its own is not repeated here: sets.test.ts (retained, exclusive), chroot.test.ts,
 * threads.test.ts (groups by name and id), refusals.test.ts (a second call).
 */
import { join } from 'node:path'
import { withAccounts } from './accounts'
import { live } from './live'
import { common, mask, NONE } from './outside'
import { inUserNamespace, start } from './subject'

const ECUSER = '4242 4242 4242 4242'
const CLUSTER = [10, 12, 13, 24] // net_bind_service, net_admin, net_raw, sys_resource (linux/capability.h)

const standAlone = {
  user: 'ecuser',
  group: 'ecuser',
  capabilities: 'cap_net_bind_service+ep',
  privileges: 'basic net_privaddr',
}
const clusterNode = {
  user: 'ecuser',
  group: 'ecuser',
  capabilities: 'cap_net_admin+ep cap_net_bind_service+ep cap_net_raw+ep cap_sys_resource+ep',
  privileges: 'basic net_privaddr net_bindmlp sys_resource sys_net_config net_rawaccess',
}

live('the stand-alone example', ['root'], async (t) => {
  const subject = await start(t, { wrapper: withAccounts(t) })
  await subject.ask('harden', standAlone)
  t.match(common(subject.pid), { uid: ECUSER, gid: ECUSER, groups: '', permitted: mask(10), effective: mask(10) })
  await subject.ask('listen', 25, '127.0.0.90')
  await subject.ask('close')
  await subject.ask('listen', 25, '127.0.0.90')
})

live('the cluster example, where CAP_SYS_RESOURCE is lacking, names it', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: [...withAccounts(t), 'setpriv', '--bounding-set=-sys_resource', '--'] })
  const before = common(subject.pid)
  t.match(await subject.refusal('harden', clusterNode), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'capset',
    remedy: /cap_sys_resource/,
  })
  t.same(common(subject.pid), before)
})

const everything = { uid_map: '0 0 4294967295', gid_map: '0 0 4294967295' }

live('the cluster example', ['root'], async (t) => {
  const subject = await start(t, inUserNamespace(everything, ...withAccounts(t)))
  await subject.ask('harden', clusterNode)
  const four = mask(...CLUSTER)
  t.match(common(subject.pid), {
    uid: ECUSER,
    gid: ECUSER,
    permitted: four,
    effective: four,
    inheritable: NONE,
    bounding: four,
  })
})

const file = (name: string) => join(__dirname, '../fixtures', name)

live('both examples as files', ['root'], async (t) => {
  const examples = [
    { cluster: undefined, retained: mask(10) },
    { cluster: file('ecelerity-cluster.conf'), retained: mask(...CLUSTER) },
  ]
  for (const { cluster, retained } of examples) {
    const subject = await start(t, inUserNamespace(everything, ...withAccounts(t)))
    await subject.ask('hardenAsConfigured', file('ecelerity.conf'), { cluster })
    t.match(common(subject.pid), {
      uid: ECUSER,
      gid: ECUSER,
      groups: '',
      permitted: retained,
      effective: retained,
      bounding: retained,
    })
  }
})

live('DuraVIP: a child moves an address, as a plain user', ['root', 'ip'], async (t) => {
  const child = async (ambientCapabilities: string) => {
    const subject = await start(t, { wrapper: ['unshare', '--net'] })
    await subject.ask('harden', { user: 'nobody', capabilities: 'cap_net_admin+ep', ambientCapabilities })
    const add = await subject.ask('run', 'ip', ['address', 'add', '192.0.2.25/32', 'dev', 'lo'])
    const show = await subject.ask('run', 'ip', ['address', 'show', 'dev', 'lo'])
    return { status: add.status, moved: show.stdout.includes('192.0.2.25/32') }
  }
  t.same(await child('cap_net_admin'), { status: 0, moved: true })
  t.same(await child(''), { status: 2, moved: false }, 'not without ambientCapabilities')
})

live("each system ignores the other's option, but not its type", ['root'], async (t) => {
  const subject = await start(t)
  t.match(await subject.refusal('harden', { user: 'nobody', privileges: 1 }), {
    code: 'ERR_INVALID_ARG_TYPE',
    option: 'privileges',
  })
  await subject.ask('harden', { user: 'nobody', privileges: 'no such privilege' })
  t.match(common(subject.pid), { permitted: NONE })
})
