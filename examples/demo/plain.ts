/** The demo with the little SMTP (RFC 5321) that it needs, from the installed package: sudo npx privdrop demo */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { run } from './demo'

run({
  server: 'a mail server',
  client: 'a mail client',

  async listen(port, host, received) {
    const smtp = createServer((socket) => serve(socket, received))
    smtp.listen(port, host)
    await once(smtp, 'listening')
    return {
      get listening() {
        return smtp.listening
      },
      close: async () => {
        smtp.close()
        await once(smtp, 'close')
      },
    }
  },

  async send(port, host, { from, to, subject, text }) {
    const socket = connect(port, host)
    const replies = createInterface(socket)[Symbol.asyncIterator]()
    const expect = async (code: string) => {
      const { value = 'the connection was closed' } = await replies.next()
      if (!value.startsWith(code)) throw new Error(value)
    }
    await expect('220')
    const stuffed = text.replace(/^\./gm, '..')
    for (const [line, code] of [
      ['HELO localhost', '250'],
      [`MAIL FROM:<${from}>`, '250'],
      [`RCPT TO:<${to}>`, '250'],
      ['DATA', '354'],
      [`From: ${from}\r\nTo: ${to}\r\nSubject: ${subject}\r\n\r\n${stuffed}.`, '250'],
      ['QUIT', '221'],
    ] as const) {
      socket.write(`${line}\r\n`)
      await expect(code)
    }
  },
})

async function serve(socket: Socket, received: (message: string) => void): Promise<void> {
  const reply = (line: string) => socket.write(`${line}\r\n`)
  let message: string | undefined
  reply('220 localhost ESMTP')
  for await (const line of createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (message === undefined) {
      const [command = ''] = line.toUpperCase().split(' ')
      if (command === 'DATA') message = ''
      reply(replies[command] ?? '500 not understood')
      if (command === 'QUIT') break
    } else if (line === '.') {
      received(message)
      message = undefined
      reply('250 accepted')
    } else message += `${line.replace(/^\./, '')}\r\n`
  }
  socket.end()
}

const replies: Readonly<Record<string, string>> = {
  HELO: '250 localhost',
  MAIL: '250 sender ok',
  RCPT: '250 recipient ok',
  DATA: '354 go on',
  QUIT: '221 bye',
}
