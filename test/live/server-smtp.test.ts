/** Promise: a server with smtp-server delivers before, after, and once it has closed port 25 and opened it again. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live, type Need } from './live'
import { common, hardened } from './outside'
import { deliver, examples, listeners, type MailServer, message, place, renew, serve, stored } from './servers'

const needs: Need[] = ['root', 'setpriv', 'swaks', 'openssl']
const MAIL = 8

/** The server, as root, when it has taken a first message. */
async function started(t: Test, HOST: string, { gid = 0, ...more }: { gid?: number; KEY_GROUP?: string } = {}) {
  const { path, spool } = place(t)
  const files = renew(path, gid)
  const server = serve(t, [join(examples(), 'examples/smtp-server/server.mjs')], {
    HOST,
    SPOOL: spool,
    ...files,
    ...more,
  })
  t.equal(await server.held(), server.pid)
  t.match(common(server.pid), { uid: '0 0 0 0', groups: '0 4 42' }, 'root, with the groups of a login')
  const swaks = async (subject: string) => {
    const got = join(path, 'peer.pem')
    await deliver(t, HOST, message(subject), '--tls', '--tls-get-peer-cert', got)
    t.ok(stored(spool).includes(message(subject)), `${subject}: whole`)
    return readFileSync(got, 'latin1')
  }
  const [first] = [await swaks('before')]
  t.match(listeners(HOST), [/^0 /], 'root has opened the port')
  return { path, spool, server, swaks, first }
}

async function release(t: Test, server: MailServer): Promise<void> {
  process.kill(server.pid, 'SIGUSR2')
  await server.line(/^hardened$/)
  t.same(await server.findings(), [], 'groups are named: none is lost')
}

live('the key can be read by root alone', needs, async (t) => {
  const HOST = '127.0.0.70'
  const { path, server, swaks, first } = await started(t, HOST)
  await release(t, server)
  t.match(common(server.pid), hardened)
  t.equal(await swaks('after'), first)

  renew(path, 0)
  server.kill('SIGHUP')
  await server.line(/^the old key stays: EACCES: permission denied, open '.*key\.pem'$/)
  await server.line(/^listening again$/)
  t.match(listeners(HOST), [/^65534 /], 'the new user has opened the port')
  t.match(common(server.pid), hardened)
  t.equal(await swaks('after listening again'), first, 'with the old certificate')

  server.kill('SIGTERM')
  t.match(await server.ended, { code: 0 })
})

live('a group may read the key: the renewed one is used', needs, async (t) => {
  const HOST = '127.0.0.71'
  const { path, spool, server, swaks, first } = await started(t, HOST, { gid: MAIL, KEY_GROUP: 'mail' })
  await release(t, server)
  t.match(common(server.pid), { ...hardened, groups: `${MAIL}` })
  t.equal(await swaks('after'), first)

  renew(path, MAIL)
  server.kill('SIGHUP')
  await server.line(/^listening again$/)
  t.match(listeners(HOST), [/^65534 /])
  t.not(await swaks('after the renewal'), first, 'with the new certificate')
  t.equal(stored(spool).length, 3)
  t.equal(statSync(join(path, 'key.pem')).uid, 0)
  server.kill('SIGTERM')
  t.match(await server.ended, { code: 0, stderr: /^(?!.*old key)/s })
})

live('a group is named, and may not read the key: found out at the start', needs, async (t) => {
  const { server } = await started(t, '127.0.0.72', { KEY_GROUP: 'mail' })
  process.kill(server.pid, 'SIGUSR2')
  t.match(await server.ended, { code: 1, stderr: /ERR_HARDEN_ACCESS/ })
})
