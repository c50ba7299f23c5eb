/**
 * Nodemailer's smtp-server on port 25, with STARTTLS: root until it listens, then an ordinary user.
 *
 *   SPOOL=/var/spool/in KEY=/etc/ssl/private/mail.key CERT=/etc/ssl/certs/mail.pem KEY_GROUP=ssl-cert node server.mjs
 *
 * SIGHUP, after a renewal of the certificate, reads the key again, and closes and opens the listener. SIGTERM ends the server.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { harden } from 'privdrop'
import { SMTPServer } from 'smtp-server'

// better an account of the server's own: other processes of nobody could kill this one
const { HOST = '127.0.0.1', PORT = '25', ACCOUNT = 'nobody', SPOOL, KEY, CERT, KEY_GROUP } = process.env

// Files that only root can read are read now, and stay in memory.
let keys = readKeys()
let smtp = await listen()

const report = harden({
  user: ACCOUNT,
  capabilities: 'cap_net_bind_service+ep', // for the next listen()
  // A renewed key is read without root: by this group, the only one that is retained.
  supplementalGroups: KEY_GROUP ? [KEY_GROUP] : [],
  // Tried now, not when the first message arrives or the certificate is renewed.
  rehearse: { write: [SPOOL], read: KEY_GROUP ? [KEY, CERT] : [], bind: [Number(PORT)] },
})
console.log(String(report))
console.log('hardened')

let ending = false
let reloading = Promise.resolve()
process.on('SIGHUP', () => {
  reloading = reloading.then(reload) // one after the other
})
process.on('SIGTERM', () => {
  ending = true
  smtp.close()
})

async function reload() {
  if (ending) return
  try {
    keys = readKeys()
  } catch ({ message }) {
    console.error(`the old key stays: ${message}`)
  }
  smtp.server.close() // the port is free at once; connected clients continue
  smtp = await listen()
  console.log('listening again')
  if (ending) smtp.close()
}

function readKeys() {
  return { key: readFileSync(KEY), cert: readFileSync(CERT) }
}

async function listen() {
  const server = new SMTPServer({ ...keys, authOptional: true, disableReverseLookup: true, onData })
  server.listen(Number(PORT), HOST)
  await once(server.server, 'listening') // an error of listen() is thrown here
  server.on('error', ({ message }) => console.error(message)) // of a connection
  return server
}

/** The message is accepted when it is in the spool, whole. */
function onData(stream, _session, done) {
  const file = createWriteStream(join(SPOOL, `${randomUUID()}.eml`), { flags: 'wx', mode: 0o600, flush: true })
  pipeline(stream, file).then(() => done(), done)
}
