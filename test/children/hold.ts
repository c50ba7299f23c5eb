/**
 * Preloaded into a mail server, which is otherwise as its administrator runs it: it listens and accepts connections, but
 * hears of that ('listening') only with SIGUSR2. What is delivered meanwhile is delivered before it gives up root. When it has, it
 * prints the findings.
 */
import cluster from 'node:cluster'
import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'
import { Server } from 'node:net'
import type { HardenReport } from 'privdrop'

let first = true
// of which its types know the overloads for the known events alone
const emit: (this: Server, event: string, ...args: unknown[]) => boolean = Server.prototype.emit

Server.prototype.emit = function (this: Server, event: string, ...args: unknown[]) {
  // the server by which a primary listens for its workers is node:cluster's own
  const own = cluster.isWorker || Object.keys(cluster.workers ?? {}).length === 0
  if (event !== 'listening' || !first || !own) return emit.call(this, event, ...args)
  first = false
  process.once('SIGUSR2', () => emit.call(this, event, ...args))
  writeSync(1, `held ${process.pid}\n`)
  return true
} as typeof Server.prototype.emit

subscribe('privdrop:hardened', (report) => {
  const { findings } = report as HardenReport
  writeSync(1, `findings: ${findings.map(({ level, code }) => `${level} ${code}`)}\n`)
})
