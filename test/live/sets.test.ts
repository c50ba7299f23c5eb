/** Promise: the sets are exactly what the text says, and exclusive: what it does not name is lost, for root too. */
import { constants } from 'node:os'
import type { Test } from 'tap'
import { live } from './live'
import { common, mask, NONE } from './outside'
import { loadIds, start } from './subject'

const [CHOWN, NET_BIND_SERVICE, NET_ADMIN, NET_RAW] = [0, 10, 12, 13]

interface Sets {
  permitted: string
  effective: string
  inheritable: string
  bounding: string
  ambient: string
}

async function setsAfter(t: Test, options: object): Promise<Sets> {
  const subject = await start(t)
  await subject.ask('harden', { user: 'nobody', ...options })
  const { permitted, effective, inheritable, bounding, ambient } = common(subject.pid)
  return { permitted, effective, inheritable, bounding, ambient }
}

const sets = (permitted: string, effective: string, inheritable: string, bounding: string, ambient = NONE): Sets => ({
  permitted,
  effective,
  inheritable,
  bounding,
  ambient,
})

const bind = mask(NET_BIND_SERVICE)
const raw = mask(NET_RAW)
const both = mask(NET_BIND_SERVICE, NET_RAW)

for (const [capabilities, wanted] of [
  [undefined, sets(NONE, NONE, NONE, NONE)],
  ['', sets(NONE, NONE, NONE, NONE)],
  ['=', sets(NONE, NONE, NONE, NONE)],
  ['cap_net_raw+ep', sets(raw, raw, NONE, raw)],
  ['cap_net_raw=pe', sets(raw, raw, NONE, raw)],
  ['cap_net_raw+p', sets(raw, NONE, NONE, raw)],
  ['cap_net_raw+i', sets(NONE, NONE, raw, raw)],
  ['cap_net_raw+eip', sets(raw, raw, raw, raw)],
  ['cap_net_raw,cap_net_bind_service+ep', sets(both, both, NONE, both)],
  ['cap_net_raw+ep cap_net_bind_service+p', sets(both, raw, NONE, both)],
  ['cap_net_raw+ep\tcap_net_bind_service+i\n', sets(raw, raw, bind, both)],
  ['cap_net_raw,cap_net_bind_service+ep cap_net_raw-ep', sets(bind, bind, NONE, bind)],
  ['13+ep', sets(raw, raw, NONE, raw)],
  ['= cap_chown+ep', sets(mask(CHOWN), mask(CHOWN), NONE, mask(CHOWN))],
] as const)
  live(`capabilities: ${JSON.stringify(capabilities)}`, ['root'], async (t) => {
    t.same(await setsAfter(t, { capabilities }), wanted)
  })

live("capabilities: all that the process has, by 'all=eip' less the rest", ['root'], async (t) => {
  const subject = await start(t)
  const before = common(subject.pid)
  // what this machine does not give even to root
  const missing = [...Array(41).keys()].filter((bit) => !((BigInt(`0x${before.permitted}`) >> BigInt(bit)) & 1n))
  const text = `all=eip ${missing.map((bit) => `${bit}-eip`).join(' ')}`
  await subject.ask('harden', { user: 'nobody', capabilities: text })
  const { permitted, effective, inheritable, bounding } = common(subject.pid)
  t.same([permitted, effective, inheritable, bounding], Array(4).fill(before.permitted))
})

live('a capability that this kernel does not have', ['root'], async (t) => {
  const subject = await start(t)
  const { report } = await subject.ask('harden', { user: 'nobody', capabilities: '63+ep cap_net_raw+ep' })
  t.equal(common(subject.pid).permitted, raw)
  t.match(report.findings, [{ code: 'HARDEN_UNKNOWN_CAPABILITY', level: 'note', message: /63/ }])
})

live('ambient: children keep it, and it alone', ['root'], async (t) => {
  const admin = mask(NET_ADMIN)
  const subject = await start(t)
  await subject.ask('harden', {
    user: 'nobody',
    capabilities: 'cap_net_admin,cap_net_raw+ep',
    ambientCapabilities: 'cap_net_admin',
  })
  const { ambient, inheritable, bounding } = common(subject.pid)
  t.same({ ambient, inheritable, bounding }, { ambient: admin, inheritable: admin, bounding: mask(NET_ADMIN, NET_RAW) })
  const { stdout } = await subject.ask('run', 'cat', ['/proc/self/status'])
  for (const set of ['CapPrm', 'CapEff', 'CapInh', 'CapAmb']) t.match(stdout, `${set}:\t${admin}`)
  t.match(stdout, 'Uid:\t65534')
})

live('ambient: separated by spaces and commas', ['root'], async (t) => {
  const wanted = mask(NET_ADMIN, NET_RAW, NET_BIND_SERVICE)
  t.same(
    await setsAfter(t, {
      capabilities: 'cap_net_admin,cap_net_raw,cap_net_bind_service+ep',
      ambientCapabilities: ' cap_net_admin, cap_net_raw\tcap_net_bind_service ',
    }),
    sets(wanted, wanted, wanted, wanted, wanted),
  )
})

for (const [ambientCapabilities, found] of [
  ['cap_chown', 'cap_chown'],
  ['cap_net_raw cap_no', 'cap_no'],
  ['CAP_NET_RAW', 'CAP_NET_RAW'],
  ['cap_net_raw+ep', 'cap_net_raw+ep'],
] as const)
  live(`ambient: ${ambientCapabilities} is refused`, ['root'], async (t) => {
    const subject = await start(t)
    const before = common(subject.pid)
    t.match(await subject.refusal('harden', { user: 'nobody', capabilities: 'cap_net_raw+ep', ambientCapabilities }), {
      code: 'ERR_HARDEN_CAPABILITIES',
      option: 'ambientCapabilities',
      found,
    })
    t.same(common(subject.pid), before)
  })

/** /etc/shadow belongs to root, who reads it as its owner, without capabilities; another user's file shows whether they
 * are held. */
const OTHERS = '/proc/self/status'

live('user root with a text loses all that it does not name, its children too', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadIds(t, subject)
  const { report } = await subject.ask('harden', { user: 'root', capabilities: 'cap_net_bind_service+ep' })
  t.match(common(subject.pid), { uid: '0 0 0 0', ...sets(bind, bind, NONE, bind), noNewPrivs: '1' })
  t.match(report.findings, [{ code: 'HARDEN_USER_ROOT', level: 'danger' }])
  await subject.ask('listen', 25, '127.0.0.40')
  t.equal(await subject.ask('native', 'setuid', 65534), constants.errno.EPERM)
  const { stdout } = await subject.ask('run', 'cat', [OTHERS])
  t.match(stdout, `CapPrm:\t${bind}`, 'a child of root has what the bounding set leaves')
  t.match(stdout, `CapEff:\t${bind}`)
})

live('user root with an empty text loses everything', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', { user: 'root', capabilities: '' })
  t.match(common(subject.pid), { uid: '0 0 0 0', ...sets(NONE, NONE, NONE, NONE) })
  t.equal((await subject.refusal('listen', 25, '127.0.0.41')).code, 'EACCES')
  const { stdout } = await subject.ask('run', 'cat', [OTHERS])
  t.match(stdout, `CapEff:\t${NONE}`)
})

live('user root without a text stays as privileged as it is, its children too', ['root'], async (t) => {
  const subject = await start(t)
  const { permitted, effective, inheritable, bounding } = common(subject.pid)
  const { report } = await subject.ask('harden', { user: 'root', noNewPrivileges: false })
  t.match(common(subject.pid), { uid: '0 0 0 0', groups: '', ...sets(permitted, effective, inheritable, bounding) })
  t.match(report.findings, [{ code: 'HARDEN_USER_ROOT', level: 'danger' }])
  const { stdout } = await subject.ask('run', 'cat', [OTHERS])
  t.match(stdout, `CapEff:\t${effective}`)
})
