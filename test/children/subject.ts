/**
 * The process that is hardened in a live test: one for each case, plain Node on the built package. It does nothing by
 * itself; the test tells it over IPC what to do next (test/live/subject.ts) and reads its state from outside.
 */
import { spawnSync } from 'node:child_process'
import { pbkdf2 } from 'node:crypto'
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type Dir, opendirSync, openSync, readdirSync, readFile, readFileSync } from 'node:fs'
import { readFile as readFilePromise } from 'node:fs/promises'
import { url } from 'node:inspector'
import { createServer, type Server } from 'node:net'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { audit, harden, plan, readSecurityConfig } from 'privdrop'
import { answer } from './answer'
import { churn } from './churn'

let server: Server | undefined
let directory: Dir | undefined
const workers: Worker[] = []
const heard: { warnings: object[]; published: unknown[] } = { warnings: [], published: [] }
process.on('warning', ({ name, message, code, detail }: Error & { code?: string; detail?: string }) =>
  heard.warnings.push({ name, message, code, detail }),
)
subscribe('privdrop:hardened', (message) => heard.published.push(JSON.parse(JSON.stringify(message))))
const odd: Record<string, (...args: unknown[]) => number> = {}

/** A Worker that answers { id, call, args } with what it found. */
const workerSource = `
  const { parentPort } = require('node:worker_threads')
  const { readFileSync } = require('node:fs')
  const net = require('node:net')
  const { execFile } = require('node:child_process')
  let server, directory, children
  const actions = {
    read: (path) => readFileSync(path, 'latin1').length,
    listen: (port, host) => new Promise((resolve, reject) => {
      server = net.createServer().on('error', reject).listen(port, host, () => resolve(server.address().port))
    }),
    harden: (options) => require(process.argv[2]).harden(options),
    plan: (options) => JSON.parse(JSON.stringify(require(process.argv[2]).plan(options))),
    audit: () => JSON.parse(JSON.stringify(require(process.argv[2]).audit())),
    // As soon as there is a rehearsing child, which is too late for it to have this directory.
    openInRehearsal: (path, main) => {
      const { opendirSync } = require('node:fs')
      setImmediate(() => {
        while (readFileSync('/proc/self/task/' + main + '/children', 'latin1') === '');
        directory = opendirSync(path)
      })
      return 'watching'
    },
    // Open when it is rehearsed for the first time, and closed then.
    closeInRehearsal: (path, main) => {
      directory = require('node:fs').opendirSync(path)
      setImmediate(() => {
        while (readFileSync('/proc/self/task/' + main + '/children', 'latin1') === '');
        directory.closeSync()
      })
      return 'watching'
    },
    closedir: () => directory.closeSync(),
    audits: (times) => {
      for (let i = 0; i < times; i++) if (require(process.argv[2]).audit().discrepancies?.length !== 0) return false
      return true
    },
    auditByCopy: (path) => JSON.parse(JSON.stringify(require(path).audit())),
    // As soon as there is a rehearsing child: what starts is root's, and lives as long as this process.
    startInRehearsal: (main) => {
      setImmediate(() => {
        while (readFileSync('/proc/self/task/' + main + '/children', 'latin1') === '');
        children = require('node:child_process').spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] })
      })
      return 'watching'
    },
    started: () => children.pid,
    readdir: (path) => require('node:fs').readdirSync(path),
    cwd: () => process.cwd(),
    native: (path, name, ...args) => {
      const addon = { exports: {} }
      process.dlopen(addon, path)
      return addon.exports[name](...args)
    },
    // One child after the other, until it is asked what they were.
    startSpawning: () => {
      children = []
      const next = () =>
        children && execFile('cat', ['/proc/self/status'], (error, text) => {
          if (error) throw error
          children?.push(text.match(/^(?:Uid|Gid|Groups|CapPrm):.*$/gm).join(' '))
          next()
        })
      next()
    },
    spawned: async () => {
      while (children.length === 0) await new Promise(setImmediate)
      const all = children
      children = undefined
      return all
    },
  }
  parentPort.on('message', async ([action, ...args]) => {
    try { parentPort.postMessage({ value: await actions[action](...args) }) }
    catch (error) { parentPort.postMessage({ error: { code: error.code, message: error.message } }) }
  })
  parentPort.postMessage('ready')
`

async function startWorker(): Promise<Worker> {
  const worker = new Worker(workerSource, { eval: true, argv: [require.resolve('privdrop')] })
  await once(worker, 'message')
  return worker
}

async function askWorker(worker: Worker | undefined, ...call: unknown[]): Promise<unknown> {
  if (!worker) throw new Error('there is no Worker')
  worker.postMessage(call)
  const [answer] = await once(worker, 'message')
  if (answer.error) throw answer.error
  return answer.value
}

export const actions = {
  /** libuv starts its pool at the first use: a test that never warms it misses those threads. */
  warmPool: async (size: number) => {
    await Promise.all(Array.from({ length: size }, () => promisify(pbkdf2)('a', 'b', 1, 8, 'sha1')))
  },
  startWorkers: async (count: number) => {
    for (let i = 0; i < count; i++) workers.push(await startWorker())
  },
  churn,
  askWorker: (index: number, ...call: unknown[]) => askWorker(workers[index], ...call),
  harden: (options: unknown) => {
    const report = harden(options as never)
    return { report: JSON.parse(JSON.stringify(report)), table: String(report), frozen: Object.isFrozen(report.user) }
  },
  hardenAsConfigured: (...files: Parameters<typeof readSecurityConfig>) => {
    harden(readSecurityConfig(...files))
  },
  plan: (options: unknown) => {
    const made = plan(options as never)
    return { made: JSON.parse(JSON.stringify(made)), table: String(made), frozen: Object.isFrozen(made.steps) }
  },
  /** What the process has after so many, good ones and one in ten wrong; --expose-gc. */
  plans: (count: number) => {
    const options = { user: 'nobody', capabilities: 'cap_kill+ep', chroot: '/', rehearse: { read: ['/'], bind: [25] } }
    for (let i = 0; i < count; i++) {
      plan(options)
      if (i % 10) continue
      try {
        plan({ ...options, user: 'no-such-user' })
      } catch {
        // it does not exist
      }
    }
    globalThis.gc?.()
    const [mapped, resident] = readFileSync('/proc/self/statm', 'latin1')
      .split(' ')
      .map((pages) => Number(pages) * 4)
    return {
      descriptors: readdirSync('/proc/self/fd').length,
      children: readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1'),
      heap: process.memoryUsage().heapUsed,
      mapped: mapped as number,
      resident: resident as number,
    }
  },
  audit: () => {
    const report = audit()
    return {
      report: JSON.parse(JSON.stringify(report)),
      table: String(report),
      frozen: Object.isFrozen(report.threads),
    }
  },
  /** Workers that call it without end are ended, each in the middle of it. */
  terminate: async (call: 'plan' | 'audit', times: number) => {
    const source = `
      const privdrop = require(process.argv[2])
      const options = { user: 65534, group: 65534, rehearse: { bind: [25] } }
      privdrop[process.argv[3]](options)
      require('node:worker_threads').parentPort.postMessage('begun')
      for (;;) privdrop[process.argv[3]](options)`
    for (let i = 0; i < times; i++) {
      const worker = new Worker(source, { eval: true, argv: [require.resolve('privdrop'), call] })
      await once(worker, 'message')
      // each somewhere else in it
      for (let turn = 0; turn < (i * 37) % 1500; turn++) await new Promise(setImmediate)
      await worker.terminate()
    }
    return times
  },
  /** In main and in each Worker at once: is there ever a discrepancy? */
  auditAll: async (times: number) => {
    const others = workers.map((worker) => askWorker(worker, 'audits', times))
    for (let i = 0; i < times; i++) if (audit().discrepancies?.length !== 0) return false
    return (await Promise.all(others)).every(Boolean)
  },
  hardenByCopy: (path: string, options: unknown) => JSON.parse(JSON.stringify(require(path).harden(options))),
  auditByCopy: (path: string) => JSON.parse(JSON.stringify(require(path).audit())),
  listen: async (port: number, host: string) => {
    server = createServer()
    server.listen(port, host)
    await once(server, 'listening')
  },
  close: async () => {
    server?.close()
    await once(server as Server, 'close')
  },
  readSync: (path: string) => readFileSync(path).length,
  readCallback: (path: string) => promisify(readFile)(path).then((data) => data.length),
  readPromise: (path: string) => readFilePromise(path).then((data) => data.length),
  run: (command: string, args: string[]) => {
    const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'latin1' })
    if (error) throw error
    return { status, stdout, stderr }
  },
  setgroups: (groups: (number | string)[]) => process.setgroups?.(groups),
  setegid: (id: number | string) => process.setegid?.(id),
  seteuid: (id: number | string) => process.seteuid?.(id),
  setuid: (id: number | string) => process.setuid?.(id),
  setgid: (id: number | string) => process.setgid?.(id),
  inspectorUrl: () => url() ?? null,
  openInspector: () => import('node:inspector').then(({ open }) => open(0, '127.0.0.1')),
  closeInspector: () => import('node:inspector').then(({ close }) => close()),
  listenForSigusr1: () => {
    process.on('SIGUSR1', () => process.send?.({ signal: 'SIGUSR1' }))
  },
  listenNoMore: () => {
    process.removeAllListeners('SIGUSR1')
  },
  /** Node installs a handler when it hears of the listener, by a listener of its own. */
  listenInVain: () => {
    process.removeAllListeners('newListener')
    actions.listenForSigusr1()
  },
  heard: () => heard,
  cwd: () => process.cwd(),
  chdir: (path: string) => process.chdir(path),
  readdir: (path: string) => readdirSync(path),
  open: (path: string) => openSync(path, 'r'),
  opendir: (path: string) => {
    directory = opendirSync(path)
  },
  closedir: () => directory?.closeSync(),
  /** Jobs for libuv's pool that take longer than any test. */
  compute: (jobs: number) => {
    for (let job = 0; job < jobs; job++) pbkdf2('a', 'b', 2 ** 31 - 1, 8, 'sha1', () => {})
  },
  /** test/children/threads.c, test/evidence/field.c and the like */
  load: (path: string) => {
    process.dlopen({ exports: odd }, path)
  },
  /** Both begin at once. */
  hardenBeside: (name: string, options: unknown) => {
    odd[name]?.()
    return actions.harden(options)
  },
  native: (name: string, ...args: unknown[]) => odd[name]?.(...args),
}

answer(actions)
process.send?.({ value: 'ready' })
