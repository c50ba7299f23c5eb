/**
 * What a plugin gets from ZoneMTA 3.10: the process listens, and then calls init() with its configuration. Messages go
 * to the folder SPOOL instead of a database. SIGUSR2, after loading: the listener is closed and opened again.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { SMTPServer } from 'smtp-server'

const { HOST, SPOOL, CONTEXT, CONFIG = '{}', PLUGIN = '' } = process.env

async function listen(): Promise<SMTPServer> {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    onData: (stream, _session, done) => pipeline(stream, createWriteStream(`${SPOOL}/${randomUUID()}.eml`), done),
  })
  server.listen(25, HOST)
  await once(server.server, 'listening')
  return server
}

async function main(): Promise<void> {
  let server = await listen()
  const logger = {
    info: (prefix: string, text: string) => console.log(`${prefix} ${text}`),
    error: (prefix: string, text: string) => console.error(`${prefix} ${text}`),
  }
  const app = { config: JSON.parse(CONFIG), logger, manager: { context: CONTEXT } }
  await new Promise<void>((resolve, reject) => {
    require(PLUGIN).init(app, (error?: Error) => (error ? reject(error) : resolve()))
  })
  console.log('loaded')
  process.on('SIGUSR2', async () => {
    await new Promise<void>((resolve) => server.close(resolve))
    server = await listen()
    console.log('listening again')
  })
}

main()
