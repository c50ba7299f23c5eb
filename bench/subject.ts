/**
 * One fresh process that gives up root in one way, once: prints the times as a line of JSON, and stays, so that it can
 * be read from outside.
 */
import { pbkdf2 } from 'node:crypto'
import { once } from 'node:events'
import { read, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SMTPServer } from 'smtp-server'

export interface Task {
  /** 'nothing': the package is not even loaded. */
  way: 'nothing' | 'set' | 'psx' | 'psx all' | 'clone' | 'harden'
  /** The threads in all, when it begins. */
  threads: number
  busy?: boolean
  /** Megabytes of memory that it has written to. */
  heap?: number
  /** A mail server, which gives up root on SIGUSR2. */
  smtp?: boolean
  /** plan() has run twenty times before, so that all JavaScript but that of the commit has run. */
  warm?: boolean
  /** The process ends at once, instead of staying to be read. */
  ends?: boolean
}

/** Microseconds, by name; and the port of the mail server. */
export type Answer = Record<string, number>

const programs = process.env.PRIVDROP_BENCH ?? ''
const now = (): number => Number(process.hrtime.bigint()) / 1000
const say = (answer: Answer): unknown => process.stdout.write(`${JSON.stringify(answer)}\n`)

/** Loaded before the clock starts. */
function prepare({ way, ends, smtp, warm }: Task): () => Answer {
  if (way === 'set')
    return () => {
      process.setgroups?.([])
      process.setgid?.(65534)
      process.setuid?.(65534)
      return {}
    }
  if (way === 'psx' || way === 'psx all') {
    const psx = require(join(programs, 'psx.node'))
    return () => psx(way === 'psx all') ?? {}
  }
  if (way === 'clone') {
    const clone = require(join(programs, 'clone.node'))
    return () => ({ clone: clone() })
  }
  if (way === 'nothing') return () => ({})
  const { harden, audit, plan } = require('privdrop') as typeof import('privdrop')
  const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
  const split = splitCommit()
  return () => {
    for (let times = 0; warm && times < 20; times++) plan(options)
    const start = now()
    const { timings } = harden(options)
    const whole = now() - start
    if (ends || smtp) return {}
    const audited = now()
    audit()
    const again = now()
    audit()
    const parts = { ...Object.fromEntries(timings.map(({ name, us }) => [name, us])), ...split }
    return { ...parts, 'audit()': again - audited, 'audit() again': now() - again, whole }
  }
}

/** The proof is reading and comparing every thread. The commit is the rest of the native call. */
function splitCommit(): Answer {
  const addon = require('node-gyp-build')(join(__dirname, '../../..')) as import('../dist/native').LinuxAddon
  const { commit } = addon
  const split: Answer = {}
  addon.commit = (plan) => {
    const start = now()
    const answer = commit(plan)
    const { readMicroseconds } = answer as import('../dist/native').NativeCommitted
    split.proof = readMicroseconds
    split.commit = now() - start - readMicroseconds
    return answer
  }
  return split
}

/** Starts threads up to this number, libuv's pool of four among them. */
async function crowd({ threads, busy = false }: Task): Promise<void> {
  await promisify(pbkdf2)('', '', 1, 8, 'sha1')
  if (busy) {
    // the pool: two compute, two are in a system call
    for (let i = 0; i < 2; i++) pbkdf2('', '', 1e9, 8, 'sha1', () => {})
    for (let i = 0; i < 2; i++) read(0, Buffer.alloc(1), 0, 1, null, () => {})
  }
  const others = threads - readdirSync('/proc/self/task').length
  if (others > 0) require(join(programs, 'crowd.node'))(others, busy)
}

async function listen({ smtp }: Task): Promise<number> {
  const server = smtp
    ? new SMTPServer({
        authOptional: true,
        hideSTARTTLS: true,
        onData: (stream, _session, done) => stream.resume().once('end', done),
      }).server
    : createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}

async function main(task: Task): Promise<void> {
  const port = await listen(task)
  const heap = Array.from({ length: (task.heap ?? 0) / 10 }, () => Buffer.alloc(10e6, 1))
  const act = prepare(task)
  await crowd(task)
  if (task.smtp) {
    say({ port })
    await once(process, 'SIGUSR2')
  } else await promisify(setTimeout)(20) // until the threads sleep
  const start = now()
  const parts = act()
  const whole = now() - start
  if (task.ends) process.kill(process.pid, 'SIGKILL')
  say({ whole, ...parts })
  heap.length = 0 // keeps it alive up to here
}

void main(JSON.parse(process.argv[2] as string))
