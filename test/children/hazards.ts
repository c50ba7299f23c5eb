/** The subject of test/live/hazards.test.ts; also a cluster worker or primary. */
import { type ChildProcess, spawn } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { harden } from 'privdrop'
import { answer } from './answer'

let child: ChildProcess | undefined
const odd: Record<string, (...args: unknown[]) => number> = {}

export const actions = {
  /** The findings, by code. */
  harden: (options: unknown) =>
    Object.fromEntries(harden(options as never).findings.map(({ code, ...rest }) => [code, rest])),
  pid: () => process.pid,
  /** test/children/ids.c */
  load: (path: string) => {
    process.dlopen({ exports: odd }, path)
  },
  native: (name: string, ...args: unknown[]) => odd[name]?.(...args),
  listen: async (where: number | string) => {
    await once(createServer().listen(where), 'listening')
  },
  /** What does not keep the process alive does not count for process.getActiveResourcesInfo(). */
  listenUnknownToNode: async (host: string) => {
    await once(createServer().listen(0, host).unref(), 'listening')
  },
  listenAndClose: async (where: number) => {
    const server = createServer().listen(where)
    await once(server, 'listening')
    await once(server.close(), 'close')
  },
  start: async (uid: number, program = 'cat') => {
    // it ends with this process, whose end of the pipe is closed then
    child = spawn(program, { uid, cwd: '/', stdio: ['pipe', 'ignore', 'ignore'] })
    await once(child, 'spawn')
    return child.pid
  },
  fork: async () => {
    cluster.setupPrimary({ exec: __filename })
    await once(cluster.fork(), 'message')
  },
  /** What the only worker answers. */
  askWorker: async (action: string, ...args: unknown[]) => {
    const worker = Object.values(cluster.workers ?? {})[0]
    worker?.send({ action, args })
    const [{ value, error }] = await once(worker as NonNullable<typeof worker>, 'message')
    if (error) throw error
    return value
  },
}

answer(actions)
process.send?.({ value: 'ready' })
process.once('exit', () => child?.kill('SIGKILL'))
process.once('disconnect', () => process.exit())
