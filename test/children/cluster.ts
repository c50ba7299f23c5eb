/** A cluster whose workers listen on port 25; test/live/cluster.test.ts tells the primary what to do, over IPC. */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { harden } from 'privdrop'
import { answer } from './answer'

const host = '127.0.0.60'

export const actions = {
  /** So many workers that listen; what listen() throws there, this throws. */
  fork: async (count: number) => {
    for (let i = 0; i < count; i++) await call(cluster.fork(), 'listen')
    return pids()
  },
  harden: (options: object) => harden(options).findings,
  hardenWorkers: async (options: object) => {
    for (const worker of workers()) await call(worker, 'harden', options)
  },
  stop: async () => {
    for (const worker of workers()) {
      worker.kill()
      await once(worker, 'exit')
    }
  },
}

const workers = (): Worker[] => Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
const pids = (): number[] => workers().map((worker) => worker.process.pid as number)

async function call(worker: Worker, action: string, ...args: unknown[]): Promise<void> {
  worker.send({ action, args })
  const [{ error }] = await once(worker, 'message')
  if (error) throw error
}

const worker = {
  listen: async () => {
    const server = createServer((socket) => socket.end('220 ready\r\n'))
    server.listen(25, host)
    await once(server, 'listening')
  },
  harden: (options: object) => {
    harden(options)
  },
}

answer(cluster.isPrimary ? actions : worker)
if (cluster.isPrimary) process.send?.({ value: 'ready' })
