/** Promise: node:cluster keeps working. The primary keeps the capability and binds; the workers keep nothing. */
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import type { actions } from '../children/cluster'
import { live } from './live'
import { CAP_NET_BIND_SERVICE, common, mask, NONE } from './outside'
import { start } from './subject'

const greeting = () => text(connect(25, '127.0.0.60'))
const bind = mask(CAP_NET_BIND_SERVICE)

live('workers listen, are restarted and listen again', ['root'], async (t) => {
  const primary = await start<typeof actions>(t, { program: 'cluster' })
  const before = await primary.ask('fork', 2)
  await primary.ask('hardenWorkers', { user: 'nobody' })
  await primary.ask('harden', { user: 'nobody', capabilities: 'cap_net_bind_service+ep' })
  t.match(common(primary.pid), { uid: '65534 65534 65534 65534', effective: bind })
  for (const pid of before) t.match(common(pid), { uid: '65534 65534 65534 65534', permitted: NONE, bounding: NONE })
  t.equal(await greeting(), '220 ready\r\n')

  // all of them, so that the primary has closed the port and has to bind it again
  await primary.ask('stop')
  await t.rejects(greeting(), { code: 'ECONNREFUSED' })
  const after = await primary.ask('fork', 2)
  t.equal(await greeting(), '220 ready\r\n')
  for (const pid of after)
    t.match(common(pid), { uid: '65534 65534 65534 65534', permitted: NONE, bounding: bind, noNewPrivs: '1' })
  await primary.ask('hardenWorkers', {})
  for (const pid of after) t.match(common(pid), { permitted: NONE, inheritable: NONE, noNewPrivs: '1' })
})

live('without the capability in the primary they cannot listen again', ['root'], async (t) => {
  const primary = await start<typeof actions>(t, { program: 'cluster' })
  await primary.ask('fork', 1)
  await primary.ask('hardenWorkers', { user: 'nobody' }) // as root they could not be killed any more
  await primary.ask('harden', { user: 'nobody' })
  await primary.ask('stop')
  t.match(await primary.refusal('fork', 1), { code: 'EACCES' })
})
