/** Promise: smtp-server in a cluster delivers before, after, and once workers were replaced; no process in it is root
 * then. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live, type Need } from './live'
import { common, hardened, NONE } from './outside'
import { deliver, examples, listeners, type MailServer, message, place, serve, stored } from './servers'

const needs: Need[] = ['root', 'setpriv', 'swaks']
const kept = { ...hardened, permitted: NONE, effective: NONE, bounding: NONE }
// what the primary's bounding set leaves to a worker that it starts later, without CAP_SETPCAP
const later = { ...kept, bounding: hardened.bounding }

const children = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').map(Number)

/** The primary and its workers, all root, when a first message has been taken. */
async function started(t: Test, HOST: string, WORKERS: number) {
  const { spool } = place(t)
  const env = { HOST, SPOOL: spool, WORKERS: `${WORKERS}` }
  const server = serve(t, [join(examples(), 'examples/cluster/server.mjs')], env)
  const workers: number[] = []
  while (workers.length < WORKERS) workers.push(await server.held())
  for (const pid of [server.pid, ...workers]) t.match(common(pid), { uid: '0 0 0 0', groups: '0 4 42' }, 'root')
  const swaks = async (subject: string) => {
    await deliver(t, HOST, message(subject))
    t.ok(stored(spool).includes(message(subject)), `${subject}: whole`)
  }
  await swaks('before')
  t.match(listeners(HOST), [/^0 /], 'root has opened the port')
  return { server, workers, swaks }
}

/** Another worker, in place of this one; with its process id. */
async function replaced(server: MailServer, pid: number): Promise<number> {
  process.kill(pid, 'SIGKILL')
  const next = await server.held()
  process.kill(next, 'SIGUSR2')
  await server.line(/^replaced$/)
  return next
}

live('two workers, one of which is replaced', needs, async (t) => {
  const HOST = '127.0.0.73'
  const { server, workers, swaks } = await started(t, HOST, 2)
  const [first, second] = workers as [number, number]
  process.kill(first, 'SIGUSR2')
  process.kill(second, 'SIGUSR2')
  await server.line(/^hardened$/)
  t.match(common(server.pid), hardened, 'the primary')
  for (const pid of workers) t.match(common(pid), kept, 'a worker')
  for (const _ of workers) t.same(await server.findings(), ['note HARDEN_PRIMARY_ROOT', 'note HARDEN_GROUPS_LOST'])
  t.same(await server.findings(), ['note HARDEN_GROUPS_LOST'], 'the primary')
  await swaks('after')

  const third = await replaced(server, first)
  t.match(common(third), later, 'the worker that came instead')
  t.same(new Set(children(server.pid)), new Set([second, third]))
  for (const subject of ['to one of them', 'to the other']) await swaks(subject)

  server.kill('SIGHUP')
  for (const _ of [second, third]) {
    const next = await server.held()
    process.kill(next, 'SIGUSR2')
    await server.line(/^replaced$/)
    t.match(common(next), later)
  }
  t.notOk(
    children(server.pid).some((pid) => pid === second || pid === third),
    'both are gone',
  )
  await swaks('after SIGHUP')
  server.kill('SIGTERM')
  t.match(await server.ended, { code: 0 })
})

live('its only worker is replaced: the primary opens the port again', needs, async (t) => {
  const HOST = '127.0.0.74'
  const { server, workers, swaks } = await started(t, HOST, 1)
  process.kill(workers[0] as number, 'SIGUSR2')
  await server.line(/^hardened$/)
  await swaks('after')
  t.match(common(await replaced(server, workers[0] as number)), later)
  t.match(listeners(HOST), [/^65534 /], 'the new user has opened the port')
  await swaks('after opening it again')
})

live('a worker that cannot be hardened ends them all', needs, async (t) => {
  const { server, workers } = await started(t, '127.0.0.75', 2)
  process.kill(workers[0] as number, 'SIGKILL')
  t.match(await server.ended, { code: 1, stderr: /ended before it was hardened: SIGKILL/ })
})
