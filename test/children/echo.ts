/** A client in a process of its own, which nothing but the server keeps waiting: how long does a reply take? */
import { setTimeout } from 'node:timers/promises'
import { answer } from './answer'
import { Client } from './client'

let longest = 0

async function ask(client: Client): Promise<never> {
  for (;;) {
    const then = performance.now()
    await client.command('NOOP', 250)
    longest = Math.max(longest, performance.now() - then)
    await setTimeout(1)
  }
}

export const actions = {
  begin: async (host: string) => {
    void ask(await Client.connect(host))
  },
  /** Milliseconds, since it was last called. */
  longest: () => {
    const found = longest
    longest = 0
    return found
  },
}

answer(actions)
process.send?.({ value: 'ready' })
