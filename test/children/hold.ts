/**
 * Preloaded into a mail server that otherwise runs as its administrator runs it: the server listens and accepts
 * connections, but gets its 'listening' event only on SIGUSR2. Messages sent before that are delivered before it gives
 * up root. Afterwards it prints the findings.
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
