/** A mail server as its clients see it: the longest pause, and the messages it takes. */
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { afterwards, Fresh, mustBeChanged, subject } from './fresh'
import type { Task } from './subject'

/** One connection, one command at a time. */
class Client {
  #socket: Socket
  #lines: AsyncIterator<string>

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1').setNoDelay()
    this.#lines = createInterface(this.#socket)[Symbol.asyncIterator]()
  }

  async say(text: string): Promise<void> {
    this.#socket.write(`${text}\r\n`)
    await this.hear()
  }

  /** Reads up to the last line of an answer (RFC 5321, 4.2.1). */
  async hear(): Promise<void> {
    let line: string
    do line = (await this.#lines.next()).value ?? 'closed'
    while (/^\d{3}-/.test(line))
    if (!/^[23]/.test(line)) throw new Error(line)
  }

  async greet(): Promise<this> {
    await this.hear()
    await this.say('EHLO client.example.com')
    return this
  }

  async deliver(): Promise<void> {
    await this.say('MAIL FROM:<a@example.com>')
    await this.say('RCPT TO:<b@example.com>')
    await this.say('DATA')
    await this.say(`Subject: bench\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(14)}.`)
  }

  close(): void {
    this.#socket.destroy()
  }
}

async function serve(way: Task['way'], threads: number): Promise<[Fresh, number]> {
  const server = new Fresh(subject({ way, threads, smtp: true }))
  return [server, (await server.answer()).port as number]
}

/** Milliseconds: the longest round trip of a NOOP while the server gives up root. */
export async function standstill(way: Task['way'], threads: number): Promise<number> {
  const [server, port] = await serve(way, threads)
  const client = await new Client(port).greet()
  let over = false
  let longest = 0
  try {
    for (let warm = 0; warm < 200; warm++) await client.say('NOOP')
    server.signal('SIGUSR2')
    const done = server.answer().then(() => {
      over = true
    })
    // once more: the answer may come before the round trip that was under way ends
    for (let more = 0; more < 5; more += over ? 1 : 0) {
      const start = performance.now()
      await client.say('NOOP')
      longest = Math.max(longest, performance.now() - start)
    }
    await done
    if (way !== 'nothing') mustBeChanged(server.pid, afterwards[way as 'set' | 'harden'], threads)
  } finally {
    client.close()
    await server.end()
  }
  return longest
}

/** Messages a second afterwards, as a share of those before. */
export async function throughput(way: 'nothing' | 'harden'): Promise<{ before: number; after: number }> {
  const [server, port] = await serve(way, 11)
  const clients = await Promise.all(Array.from({ length: 8 }, () => new Client(port).greet()))
  const deliverFor = async (seconds: number) => {
    let count = 0
    const end = performance.now() + 1000 * seconds
    const send = async (client: Client) => {
      for (; performance.now() < end; count++) await client.deliver()
    }
    await Promise.all(clients.map(send))
    return count / seconds
  }
  try {
    await deliverFor(1.5) // until the code is compiled
    const before = await deliverFor(1)
    server.signal('SIGUSR2')
    await server.answer()
    const after = await deliverFor(1)
    mustBeChanged(server.pid, afterwards[way], 11)
    return { before, after }
  } finally {
    for (const client of clients) client.close()
    await server.end()
  }
}
