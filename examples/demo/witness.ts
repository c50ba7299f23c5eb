/**
 * The demo's witness: another process, started while the demo is still root. It stays root and reports the demo's
 * threads from outside, until it is told to give up everything; then it serves as the comparison: the same account
 * without the capability.
 */
import { createServer } from 'node:net'
import { harden } from 'privdrop'
import { threadsOf } from './threads'

const demo = process.ppid

const answers = {
  threads: () => threadsOf(demo),

  // Not the demo's address, which is in use: the question is about the port alone.
  bind: () =>
    new Promise<{ code?: string; message: string } | undefined>((resolve) => {
      const server = createServer()
        .on('error', ({ code, message }: NodeJS.ErrnoException) => resolve({ code, message }))
        .listen(25, '127.0.0.2', () => server.close(() => resolve(undefined)))
    }),

  harden: () => harden({ user: 'nobody' }),
}

export type Question = keyof typeof answers

process.on('message', async (question: Question) => process.send?.((await answers[question]()) ?? null))
process.on('disconnect', () => process.exit())
process.send?.('ready')
