/**
 * Promise: Haraka with the plugin delivers before, after, and on a port opened again, and none of its processes is root
 * then; Haraka's own user= and group=, in the same test, keep root's groups and lose the port.
 */
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live, type Need } from './live'
import { common, hardened, NONE, tasks } from './outside'
import { deliver, examples, listeners, type MailServer, message, place, serve, stored } from './servers'

const needs: Need[] = ['root', 'setpriv', 'swaks', 'HARAKA_MODULES']
const kept = { ...hardened, permitted: NONE, effective: NONE, bounding: NONE }
const later = { ...kept, bounding: hardened.bounding }
const root = { uid: '0 0 0 0', groups: '0 4 42' }
/** What Haraka's own drop leaves of it, in every thread. */
const dropped = {
  uid: hardened.uid,
  gid: hardened.gid,
  groups: '0 4 42',
  permitted: NONE,
  effective: NONE,
  noNewPrivs: '0',
}

let modules: string | undefined

/** Haraka, in a place that any user can reach. */
function haraka(): string {
  if (modules) return join(modules, 'Haraka')
  modules = join(examples(), 'haraka/node_modules')
  cpSync(process.env.HARAKA_MODULES as string, modules, { recursive: true })
  return join(modules, 'Haraka')
}

/** A folder as `haraka -i` makes it, for the plugin or for smtp.ini's user= and group=. */
function installed(t: Test, host: string, nodes: number, user: { plugin?: string; own?: boolean }) {
  const { path, spool } = place(t)
  const home = examples()
  for (const name of ['config', 'plugins', 'queue', 'node_modules']) mkdirSync(join(path, name))
  symlinkSync(home, join(path, 'node_modules/privdrop'))
  cpSync(join(home, 'examples/haraka'), path, { recursive: true })
  cpSync(join(__dirname, '../haraka/plugins'), join(path, 'plugins'), { recursive: true })
  cpSync(join(haraka(), 'config/connection.ini'), join(path, 'config/connection.ini'))
  const config = (name: string, ...lines: string[]) =>
    writeFileSync(join(path, 'config', name), `${lines.join('\n')}\n`)
  config('smtp.ini', `listen=${host}:25`, `nodes=${nodes}`, ...(user.own ? ['user=nobody', 'group=nogroup'] : []))
  config('plugins', ...(user.own ? [] : ['privdrop']), 'relisten', 'accept')
  config('log.ini', 'level=notice')
  config('me', 'mail.example.com')
  if (user.plugin) config('privdrop.ini', `user=${user.plugin}`)
  return { path, spool }
}

/** Haraka, as root, when it has taken a first message. */
async function started(t: Test, host: string, nodes: number, user: { plugin?: string; own?: boolean } = {}) {
  const { path, spool } = installed(t, host, nodes, user)
  const server = serve(t, [join(haraka(), 'bin/haraka'), '-c', path], { SPOOL: spool })
  const listening: number[] = []
  while (listening.length < (nodes || 1)) listening.push(await server.held())
  for (const pid of new Set([server.pid, ...listening])) t.match(common(pid), root, 'root, with the groups of a login')
  const swaks = async (subject: string) => {
    await deliver(t, host, message(subject))
    const whole = (text: string) => text.startsWith('Received: ') && text.endsWith(message(subject))
    t.ok(stored(spool).some(whole), `${subject}: whole, after Haraka's own line`)
  }
  await swaks('before')
  t.match(listeners(host), [/^0 /], 'root has opened the port')
  const release = async (pattern: RegExp) => {
    for (const pid of listening) process.kill(pid, 'SIGUSR2')
    for (const _ of listening) await server.line(pattern)
  }
  return { haraka: server, listening, swaks, release }
}

/** What Haraka starts in place of a worker that has been killed. */
async function another(haraka: MailServer, pattern: RegExp): Promise<number> {
  const pid = await haraka.held()
  process.kill(pid, 'SIGUSR2')
  await haraka.line(pattern)
  return pid
}

live('one process', needs, async (t) => {
  const host = '127.0.0.76'
  const { haraka, swaks, release } = await started(t, host, 0)
  await release(/\[privdrop\] hardened$/)
  t.match(common(haraka.pid), hardened)
  t.same(await haraka.findings(), ['note HARDEN_GROUPS_LOST'])
  await swaks('after')
  haraka.kill('SIGUSR2')
  await haraka.line(/\[relisten\] listening again$/)
  t.match(listeners(host), [/^65534 /], 'the new user has opened the port')
  await swaks('after listening again')
  t.match(common(haraka.pid), hardened)
})

live("one process, Haraka's own drop", needs, async (t) => {
  const host = '127.0.0.77'
  const { haraka, swaks, release } = await started(t, host, 0, { own: true })
  await release(/New uid: 65534$/)
  await swaks('after')
  t.match(common(haraka.pid), dropped)
  t.ok(tasks(haraka.pid).length > 6, 'in every thread')
  haraka.kill('SIGUSR2')
  await haraka.line(/Failed to setup listeners: listen EACCES/)
  t.same(listeners(host), [], 'the port is lost')
})

live('two workers and their primary', needs, async (t) => {
  const host = '127.0.0.78'
  const { haraka, listening, swaks, release } = await started(t, host, 2)
  await release(/\[privdrop\] hardened$/)
  await haraka.line(/\[privdrop\] the primary is hardened$/)
  t.match(common(haraka.pid), hardened, 'the primary')
  for (const pid of listening) t.match(common(pid), kept, 'a worker')
  for (const _ of listening) t.same(await haraka.findings(), ['note HARDEN_PRIMARY_ROOT', 'note HARDEN_GROUPS_LOST'])
  t.same(await haraka.findings(), ['note HARDEN_GROUPS_LOST'], 'the primary')
  await swaks('after')

  // both at once for the primary, so that it closes the port and has to open it again
  haraka.kill('SIGSTOP')
  for (const pid of listening) process.kill(pid, 'SIGKILL')
  haraka.kill('SIGCONT')
  for (const _ of listening) t.match(common(await another(haraka, /\[privdrop\] hardened$/)), later, 'another worker')
  t.match(listeners(host), [/^65534 /], 'the new user has opened the port')
  await swaks('after both workers were replaced')
})

live("two workers and their primary, Haraka's own drop", needs, async (t) => {
  const host = '127.0.0.79'
  const { haraka, listening, swaks, release } = await started(t, host, 2, { own: true })
  await release(/New uid: 65534$/)
  await swaks('after')
  for (const pid of listening) t.match(common(pid), dropped, 'a worker')
  t.match(common(haraka.pid), root, 'the primary is root still')
})

for (const nodes of [0, 1])
  live(`what cannot be hardened does not go on as root, nodes=${nodes}`, needs, async (t) => {
    const { haraka, listening } = await started(t, `127.0.0.${80 + nodes}`, nodes, { plugin: 'no-such-account' })
    for (const pid of listening) process.kill(pid, 'SIGUSR2')
    t.match(await haraka.ended, nodes ? { signal: 'SIGTERM' } : { code: 1 })
    await haraka.line(/\[CRIT\].*no-such-account/)
  })
