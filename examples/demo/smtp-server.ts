/** The demo with smtp-server and nodemailer, from a checkout: sudo npm run demo */
import { text } from 'node:stream/consumers'
import { createTransport } from 'nodemailer'
import { SMTPServer } from 'smtp-server'
import { run } from './demo'

run({
  server: 'smtp-server',
  client: 'nodemailer',

  async listen(port, host, received) {
    const smtp = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      disableReverseLookup: true,
      onData: async (stream, _session, done) => {
        received(await text(stream))
        done()
      },
    })
    await new Promise<void>((resolve, reject) => {
      smtp.on('error', reject)
      smtp.listen(port, host, resolve)
    })
    return {
      get listening() {
        return smtp.server.listening
      },
      close: () => new Promise((resolve) => smtp.close(resolve)),
    }
  },

  send: (port, host, message) => createTransport({ host, port, ignoreTLS: true }).sendMail(message),
})
