/**
 * smtp-server in the workers of node:cluster, on port 25.
 *
 *   SPOOL=/var/spool/in WORKERS=2 node server.mjs
 *
 * First the workers become an ordinary user without capabilities, then the primary, which keeps cap_net_bind_service: it binds
 * for them, also for those that replace them later. In this order, because a primary that has given up root cannot signal a
 * worker that is still root.
 *
 * SIGHUP replaces the workers, one after the other. SIGTERM ends the server.
 */
import cluster from 'node:cluster'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { harden } from 'privdrop'
import { SMTPServer } from 'smtp-server'

// one account for both: the primary may signal the workers because their user is its own
const { HOST = '127.0.0.1', PORT = '25', ACCOUNT = 'nobody', SPOOL, WORKERS = '2' } = process.env

if (cluster.isPrimary) await primary()
else await worker()

async function primary() {
  await Promise.all(Array.from({ length: Number(WORKERS) }, start))
  harden({ user: ACCOUNT, capabilities: 'cap_net_bind_service+ep' })
  console.log('hardened')

  let ending = false
  cluster.on('exit', async () => {
    if (ending) return
    await start()
    console.log('replaced')
  })
  process.on('SIGHUP', async () => {
    for (const worker of Object.values(cluster.workers)) {
      worker.disconnect() // it takes no new connections, and ends with its last one
      await once(cluster, 'listening') // the next one does
    }
  })
  process.on('SIGTERM', () => {
    ending = true
    cluster.disconnect()
  })
}

/** A hardened worker; throws if it ends before it is hardened. */
async function start() {
  const worker = cluster.fork()
  const ended = once(worker, 'exit').then(([code, signal]) => {
    throw new Error(`a worker has ended before it was hardened: ${signal ?? code}`)
  })
  await Promise.race([once(worker, 'message'), ended])
  ended.catch(() => {}) // from now on a worker that ends is replaced
}

async function worker() {
  const smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    onData,
  })
  smtp.listen(Number(PORT), HOST)
  await once(smtp.server, 'listening')
  smtp.on('error', ({ message }) => console.error(message)) // of a connection

  // A worker that replaces another is this user already: here it becomes not dumpable, and its state is proved.
  harden({ user: ACCOUNT, rehearse: { write: [SPOOL] } })
  process.send('hardened')
}

/** The message is accepted when it is in the spool, whole. */
function onData(stream, _session, done) {
  const file = createWriteStream(join(SPOOL, `${randomUUID()}.eml`), { flags: 'wx', mode: 0o600, flush: true })
  pipeline(stream, file).then(() => done(), done)
}
