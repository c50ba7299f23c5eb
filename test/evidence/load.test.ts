/**
 * Promise: unchanged or done, and nothing is lost, in the middle of a mail server's work. Hundreds of messages are
 * under way, connections are switching to TLS and files are being written when it is hardened. Afterwards every message
 * that was accepted is in the spool, byte for byte, and no connection was dropped.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { Client } from '../children/client'
import type { actions as echo } from '../children/echo'
import type { actions as load } from '../children/load'
import { live } from '../live/live'
import { common, hardened, tasks } from '../live/outside'
import { examples, listeners, place, renew, stored } from '../live/servers'
import { start } from '../live/subject'

const LONG = 300
const HANDSHAKES = 50
const SHORT = 20
/** The server waits for a moment in which at least this goes on at once. */
const least = { messages: LONG, handshakes: 5, writes: 5 }

const digest = (data: string): string => createHash('sha256').update(data, 'latin1').digest('hex')

let messages = 0

/** A message under way, by a connection of its own. */
class Delivery {
  #lines: string[] = []

  private constructor(readonly client: Client) {}

  static async begin(host: string): Promise<Delivery> {
    const client = await Client.connect(host)
    const number = messages++
    if (number % 2) await client.startTls()
    await client.data()
    const delivery = new Delivery(client)
    delivery.line(`Subject: ${number}`)
    delivery.line('')
    return delivery
  }

  line(text: string): void {
    this.#lines.push(text)
    this.client.line(text)
  }

  /** What a careless server would damage: dots at the start, bytes above 127, long and empty lines. */
  more(): void {
    const number = this.#lines.length
    this.line(`${'.'.repeat(number % 3)}${'\xe9'.repeat((number * 37) % 900)}`)
  }

  /** The digest of what has been accepted. */
  async end(): Promise<string> {
    await this.client.command('.', 250)
    await this.client.quit()
    return digest(this.#lines.map((line) => `${line}\r\n`).join(''))
  }
}

async function short(host: string): Promise<string> {
  const delivery = await Delivery.begin(host)
  for (let line = 0; line < 20; line++) delivery.more()
  return delivery.end()
}

/** What the clients do until they are told to finish. */
class Clients {
  #over = false
  #done: Promise<string[]>[] = []
  #long: Delivery[] = []
  #trickle: NodeJS.Timeout
  connections = 0

  private constructor(readonly host: string) {
    // some lines each time, in turn
    let next = 0
    this.#trickle = setInterval(() => {
      for (let line = 0; line < 10; line++) this.#long[next++ % this.#long.length]?.more()
    }, 20)
  }

  static async begin(t: Test, host: string): Promise<Clients> {
    const clients = new Clients(host)
    t.teardown(() => clients.#stop())
    while (clients.#long.length < LONG)
      clients.#long.push(...(await Promise.all(Array.from({ length: 20 }, () => Delivery.begin(host)))))
    clients.connections = LONG
    const lanes = [
      ...Array.from({ length: HANDSHAKES }, () => clients.#repeat(() => clients.#handshake())),
      ...Array.from({ length: SHORT }, () => clients.#repeat(async () => [await short(host)])),
    ]
    clients.#done.push(...lanes)
    // what fails is thrown by finish()
    for (const lane of lanes) lane.catch(() => {})
    return clients
  }

  async #handshake(): Promise<string[]> {
    const client = await Client.connect(this.host)
    await client.startTls()
    await client.quit()
    return []
  }

  async #repeat(once: () => Promise<string[]>): Promise<string[]> {
    const accepted: string[] = []
    while (!this.#over) {
      this.connections++
      accepted.push(...(await once()))
    }
    return accepted
  }

  #stop(): void {
    this.#over = true
    clearInterval(this.#trickle)
  }

  /** The digests of all that has been accepted. @throws Error the first that has gone wrong */
  async finish(): Promise<string[]> {
    this.#stop()
    const long = this.#long.map((delivery) => delivery.end())
    return (await Promise.all([Promise.all(long), ...this.#done])).flat()
  }
}

async function nothingIsLost(t: Test, host: string, busy: ('workers' | 'pool')[]): Promise<void> {
  const { path, spool } = place(t)
  const { KEY, CERT } = renew(path, 0)
  const server = await start<typeof load>(t, { program: 'load', from: examples(), limit: 100_000 })
  await server.ask('listen', host, spool, readFileSync(KEY, 'latin1'), readFileSync(CERT, 'latin1'))
  t.match(listeners(host), [/^0 /], 'root has opened the port')
  if (busy.length) await server.ask('churn', 1, busy)

  const waiting = await start<typeof echo>(t, { program: 'echo' })
  const clients = await Clients.begin(t, host)
  await waiting.ask('begin', host)
  const user = { user: 'nobody', capabilities: 'cap_net_bind_service+ep', rehearse: { write: [spool], bind: [25] } }
  await waiting.ask('longest')
  const accepted = [await short(host)]
  const before = await waiting.ask('longest')
  const { at, timings } = await server.ask('harden', user, least)
  accepted.push(await short(host))
  const during = await waiting.ask('longest')
  t.same(common(server.pid), hardened, `each of ${tasks(server.pid).length} threads`)

  accepted.push(...(await clients.finish()), await short(host))
  await server.ask('listenAgain')
  t.match(listeners(host), [/^65534 /], 'the new user has opened the port')
  accepted.push(await short(host))
  t.same(stored(spool).map(digest).sort(), accepted.sort(), `${accepted.length} messages, whole`)
  t.same(await server.ask('errors'), [], `none of ${clients.connections} connections is dropped`)

  const us = timings.reduce((sum, part) => sum + part.us, 0)
  t.comment(`in that moment: ${at.messages} messages, ${at.handshakes} handshakes, ${at.writes} writes under way`)
  t.comment(`a client's longest wait: ${before.toFixed(1)} ms before, ${during.toFixed(1)} ms then`)
  t.comment(`harden(): ${(us / 1000).toFixed(1)} ms`)
}

for (const round of [100, 101, 102])
  live(`in the middle of it, 127.0.0.${round}`, ['root', 'openssl'], (t) => nothingIsLost(t, `127.0.0.${round}`, []))

for (const round of [103, 104])
  live(`with Workers and the pool busy, 127.0.0.${round}`, ['root', 'openssl'], (t) =>
    nothingIsLost(t, `127.0.0.${round}`, ['workers', 'pool']),
  )
