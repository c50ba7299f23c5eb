/** The sending side of SMTP (RFC 5321), a line at a time. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as secure } from 'node:tls'

export class Client {
  #socket: Socket
  #received = ''
  #broken: Error | undefined
  #awaited: (() => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = this.#listen(socket)
  }

  static async connect(host: string): Promise<Client> {
    const client = new Client(connect(25, host))
    await client.reply(220)
    await client.command('EHLO client.example.com', 250)
    return client
  }

  #listen<S extends Socket>(socket: S): S {
    const broken = (error: Error) => {
      this.#broken ??= error
      this.#awaited?.()
    }
    socket.on('data', (data: Buffer) => {
      this.#received += data.toString('latin1')
      this.#awaited?.()
    })
    socket.on('error', broken).on('close', () => broken(new Error('the connection is closed')))
    return socket
  }

  /** @throws Error another code, or the connection has ended */
  async reply(code: number): Promise<void> {
    for (;;) {
      const [reply, found] = /^(?:\d{3}-.*\r\n)*(\d{3}) .*\r\n/.exec(this.#received) ?? []
      if (reply !== undefined) {
        this.#received = this.#received.slice(reply.length)
        if (Number(found) !== code) throw new Error(reply)
        return
      }
      if (this.#broken) throw this.#broken
      await new Promise<void>((resolve) => {
        this.#awaited = resolve
      })
    }
  }

  async command(line: string, code: number): Promise<void> {
    this.#socket.write(`${line}\r\n`)
    await this.reply(code)
  }

  async startTls(): Promise<void> {
    await this.command('STARTTLS', 220)
    this.#socket.removeAllListeners()
    const socket = secure({ socket: this.#socket, rejectUnauthorized: false })
    await once(socket, 'secureConnect') // rejects if there is an error
    this.#socket = this.#listen(socket)
    await this.command('EHLO client.example.com', 250)
  }

  async data(): Promise<void> {
    await this.command('MAIL FROM:<a@example.com>', 250)
    await this.command('RCPT TO:<b@example.com>', 250)
    await this.command('DATA', 354)
  }

  /** A line of the message, its first dot doubled (4.5.2). */
  line(text: string): void {
    this.#socket.write(`${text.startsWith('.') ? '.' : ''}${text}\r\n`, 'latin1')
  }

  async quit(): Promise<void> {
    await this.command('QUIT', 221)
    this.#socket.end()
    if (!this.#socket.closed) await once(this.#socket, 'close')
  }
}
