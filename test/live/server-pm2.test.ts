/** Promise: in pm2's fork mode each process that it starts gives up root, and pm2, which stays root, reloads and stops it. */
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { live } from './live'
import { common, hardened } from './outside'
import { deliver, examples, listeners, MailServer, message, place, renew, stored } from './servers'
import { nodeUnderTest } from './subject'

live('started, reloaded, stopped', ['root', 'swaks', 'openssl', 'MANAGERS_MODULES'], async (t) => {
  const HOST = '127.0.0.91'
  const { path, spool } = place(t)
  const env = { PATH: process.env.PATH, HOST, SPOOL: spool, ...renew(path, 0), PM2_HOME: join(path, 'pm2') }
  const program = join(process.env.MANAGERS_MODULES as string, 'pm2/bin/pm2')
  const pm2 = (...args: string[]) => execFileSync(nodeUnderTest, [program, ...args], { env, encoding: 'utf8' })
  const server = join(examples(), 'examples/smtp-server/server.mjs')
  const args = ['start', server, '--name', 'mail', '--interpreter', nodeUnderTest, '--no-daemon']
  const manager = new MailServer(spawn(nodeUnderTest, [program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] }))
  t.teardown(async () => {
    pm2('kill')
    await manager.ended
  })

  const started = async () => {
    await manager.line(/hardened$/)
    const pid = Number(pm2('pid', 'mail'))
    t.match(common(pid), hardened)
    await deliver(t, HOST, message(`${pid}`))
    t.ok(stored(spool).includes(message(`${pid}`)))
    return pid
  }
  const first = await started()
  t.match(common(manager.pid), { uid: '0 0 0 0' })
  pm2('reload', 'mail')
  t.not(await started(), first)
  pm2('stop', 'mail')
  t.same(listeners(HOST), [])
})
