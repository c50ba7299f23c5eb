/**
 * A mail server that is hardened in the middle of its work: it accepts a message when that is in the spool, whole. Each
 * write, the fsync(2) and the rename(2) is a job of libuv's pool, awaited before the next.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { harden } from 'privdrop'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { answer } from './answer'
import { churn } from './churn'

let smtp: SMTPServer
let options: SMTPServerOptions
let address: string
const errors: string[] = []

/** What goes on now. */
interface Work {
  messages: number
  handshakes: number
  writes: number
}

const work = { messages: 0, writes: 0 }

function write<T>(call: Promise<T>): Promise<T> {
  work.writes++
  return call.finally(() => work.writes--)
}

async function store(stream: Readable, spool: string): Promise<void> {
  const name = randomUUID()
  const file = await open(join(spool, `.${name}`), 'wx', 0o600)
  for await (const chunk of stream) await write(file.appendFile(chunk))
  await write(file.sync())
  await write(file.close())
  await write(rename(join(spool, `.${name}`), join(spool, name)))
}

async function listen(): Promise<SMTPServer> {
  const server = new SMTPServer(options)
  server.on('error', ({ message }) => errors.push(message))
  server.listen(25, address)
  await once(server.server, 'listening')
  return server
}

function now(): Work {
  // of a connection, while it becomes one by TLS; its types do not have it
  const handshakes = [...smtp.connections].filter(({ _upgrading }) => _upgrading).length
  return { ...work, handshakes }
}

export const actions = {
  listen: async (host: string, spool: string, key: string, cert: string) => {
    address = host
    options = {
      key,
      cert,
      authOptional: true,
      disableReverseLookup: true,
      onData: (stream, _session, done) => {
        work.messages++
        stream.once('end', () => work.messages--)
        store(stream, spool).then(() => done(), done)
      },
    }
    smtp = await listen()
  },
  churn,
  /** In the first moment in which so much goes on. */
  harden: async (asked: unknown, least: Work) => {
    let at = now()
    while (at.messages < least.messages || at.handshakes < least.handshakes || at.writes < least.writes) {
      await new Promise(setImmediate)
      at = now()
    }
    const { timings } = harden(asked as never)
    return { at, timings }
  },
  /** Who is connected goes on. */
  listenAgain: async () => {
    smtp.server.close()
    smtp = await listen()
  },
  errors: () => errors,
}

answer(actions)
process.send?.({ value: 'ready' })
