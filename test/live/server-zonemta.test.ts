/** Promise: the plugin hardens a process that calls it as ZoneMTA does; ZoneMTA itself, which needs its databases, is
 * not run. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { live, type Need } from './live'
import { common, hardened, NONE } from './outside'
import { deliver, examples, listeners, message, place, serve, stored } from './servers'

const needs: Need[] = ['root', 'setpriv', 'swaks']

async function started(t: Test, HOST: string, CONTEXT: string, user: string) {
  const { spool } = place(t)
  const home = examples()
  const CONFIG = JSON.stringify({ user, capabilities: 'cap_net_bind_service+ep' })
  const env = { HOST, CONTEXT, CONFIG, SPOOL: spool, PLUGIN: join(home, 'examples/zonemta/privdrop.js') }
  const server = serve(t, [join(home, 'test/out/children/zonemta.js')], env)
  await server.held()
  t.match(common(server.pid), { uid: '0 0 0 0', groups: '0 4 42' }, 'root, with the groups of a login')
  const swaks = async (subject: string) => {
    await deliver(t, HOST, message(subject))
    t.ok(stored(spool).includes(message(subject)), `${subject}: whole`)
  }
  await swaks('before')
  server.kill('SIGUSR2')
  return { server, swaks }
}

live('the main process', needs, async (t) => {
  const host = '127.0.0.82'
  const { server, swaks } = await started(t, host, 'main', 'nobody')
  await server.line(/^privdrop hardened$/)
  await server.line(/^loaded$/)
  t.match(common(server.pid), hardened)
  t.same(await server.findings(), ['note HARDEN_GROUPS_LOST'])
  await swaks('after')
  server.kill('SIGUSR2')
  await server.line(/^listening again$/)
  t.match(listeners(host), [/^65534 /], 'the new user has opened the port')
  await swaks('after listening again')
})

live('a receiver keeps no capability', needs, async (t) => {
  const { server, swaks } = await started(t, '127.0.0.83', 'receiver', 'nobody')
  await server.line(/^loaded$/)
  t.same(await server.findings(), ['note HARDEN_GROUPS_LOST'])
  t.match(common(server.pid), { ...hardened, permitted: NONE, effective: NONE, bounding: NONE })
  await swaks('after')
})

live('what cannot be hardened does not go on as root', needs, async (t) => {
  const { server } = await started(t, '127.0.0.84', 'main', 'no-such-account')
  t.match(await server.ended, { code: 1, stderr: /^privdrop .*no-such-account/ })
})
