/**
 * An SMTP server gives up root, and shows that it is gone. The server is in smtp-server.ts (sudo npm run demo), or in
 * plain.ts (sudo npx privdrop demo), which needs no other package.
 *
 * Each line says what was tried and what the system answered. Before harden() the same is tried as root, and must succeed.
 * Exit status: 0 every answer is right; 1 one is not, or the demo failed; 77 not root, or not Linux.
 */
import { execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFile, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile as readFilePromise } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { audit, harden } from 'privdrop'
import { type Thread, threadsOf } from './threads'
import type { Question } from './witness'

export interface Mail {
  /** How the demo calls it. */
  readonly server: string
  readonly client: string
  /** @param received receives each message, as it came after DATA */
  listen(port: number, host: string, received: (message: string) => void): Promise<Listener>
  send(port: number, host: string, message: Message): Promise<unknown>
}

export interface Listener {
  readonly listening: boolean
  close(): Promise<void>
}

export interface Message {
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly text: string
}

const host = '127.0.0.1'
const port = 25
const groups = [0, 4]
const secretOfDemo = 'PRIVDROP_DEMO_SECRET'
const subject = 'Delivered without root'
const body = Array.from({ length: 1000 }, (_, index) => `.line ${index + 1}\r\n`).join('')
const none = '0000000000000000'
const bindService = '0000000000000400' // bit 10 (linux/capability.h)
let received = ''
let checks = 0
let wrong = 0

async function demo(mail: Mail, secret: string): Promise<void> {
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'latin1')) ?? []
  if (!uid || !gid) throw new Error('there is no account nobody in /etc/passwd')
  const firstForAll = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'latin1'))
  if (firstForAll <= port)
    throw new Error(`anybody may bind port ${port} here: set net.ipv4.ip_unprivileged_port_start to 1024 (sysctl)`)

  // Now: nothing that is started after harden() is root.
  const witness = fork(`${__dirname}/witness.js`).on('exit', (code, signal) => {
    if (code !== 0) end(1, `the other process has ended: ${signal ?? `exit status ${code}`}`)
  })
  await once(witness, 'message')
  const ask = async (question: Question) => {
    witness.send(question)
    const [answer] = await once(witness, 'message')
    if (answer?.code) throw answer
    return answer
  }

  const listen = () =>
    mail.listen(port, host, (message) => {
      received = message
    })
  let server = await listen()

  heading('As root: everything is allowed')
  check(`${mail.server} on ${host}:${port}`, server.listening ? 'listening' : 'closed', 'listening')
  check('supplementary groups', threadsOf(process.pid)[0]?.Groups ?? 'unknown', groups.join(' '))
  await attempt(`another process: listen(${port})`, 'allowed', () => ask('bind'))
  // Programs that root executes get the bounding set (capabilities(7)).
  const everything = threadsOf(process.pid)[0]?.CapBnd
  await attempt(
    'a child process: cat /proc/self/status',
    `CapPrm ${everything}, CapEff ${everything}`,
    childCapabilities,
  )
  await attempt("root's file: new Worker", 'allowed', () => readInWorker(secret))
  await attempt("root's file: readFileSync", 'allowed', () => readFileSync(secret))
  await attempt("root's file: readFile, callback (libuv pool)", 'allowed', () => promisify(readFile)(secret))
  await attempt("root's file: readFile, promise (libuv pool)", 'allowed', () => readFilePromise(secret))
  await attempt('a child process as user 0', 'allowed', childOfRoot)
  const refused = setuid()
  await attempt('process.setuid(0)', refused ?? 'allowed', setuid)

  // The asynchronous reads have started libuv's pool: threads that setuid(2), the bare system call, leaves behind as root.
  const before = threadsOf(process.pid)
  heading('Every thread before')
  table(before)
  check('threads of user root', count(before, { Uid: '0 0 0 0' }), `${before.length} of ${before.length}`)

  heading(`harden({ user: 'nobody', capabilities: 'cap_net_bind_service+ep' })`)
  const report = harden({ user: 'nobody', capabilities: 'cap_net_bind_service+ep' })
  // The danger in it is true: the witness is still root.
  console.log(String(report))

  const after: Thread[] = await ask('threads')
  heading('Every thread after, as seen by another process that is still root (400 is cap_net_bind_service)')
  table(after)
  const asked = {
    Uid: `${uid} ${uid} ${uid} ${uid}`,
    Gid: `${gid} ${gid} ${gid} ${gid}`,
    Groups: '',
    CapInh: none,
    CapPrm: bindService,
    CapEff: bindService,
    CapBnd: bindService,
    CapAmb: none,
    NoNewPrivs: '1',
  }
  check('threads exactly as asked: ids, groups, all sets', count(after, asked), `${before.length} of ${before.length}`)
  check('audit(), from inside', `${audit().discrepancies?.length} discrepancies`, '0 discrepancies')

  heading('As nobody with cap_net_bind_service: still a mail server')
  await attempt(`the listener closed, and listen(${port}) again`, 'allowed', async () => {
    await server.close()
    server = await listen()
  })
  await attempt(`${mail.client} sends a message`, 'allowed', () =>
    mail.send(port, host, { from: 'postmaster@example.com', to: 'root@example.com', subject, text: body }),
  )
  check('its subject', /^Subject: (.*)\r$/m.exec(received)?.[1] ?? 'missing', subject)
  check('its body', received.endsWith(`\r\n\r\n${body}`) ? 'whole' : 'damaged', 'whole')

  heading('As nobody with cap_net_bind_service: nothing else is left of root')
  await attempt('a child process: cat /proc/self/status', `CapPrm ${none}, CapEff ${none}`, childCapabilities)
  await attempt("root's file: new Worker", 'EACCES', () => readInWorker(secret))
  await attempt("root's file: readFileSync", 'EACCES', () => readFileSync(secret))
  await attempt("root's file: readFile, callback (libuv pool)", 'EACCES', () => promisify(readFile)(secret))
  await attempt("root's file: readFile, promise (libuv pool)", 'EACCES', () => readFilePromise(secret))
  await attempt('a child process as user 0', 'EPERM', childOfRoot)
  await attempt('process.setuid(0)', refused ?? 'EPERM', setuid)

  heading('As nobody without capabilities: no mail server either')
  await attempt(`another process: harden({ user: 'nobody' })`, 'allowed', () => ask('harden'))
  await attempt(`another process: listen(${port})`, 'EACCES', () => ask('bind'))

  await server.close()
  witness.disconnect()
  heading(wrong ? `${wrong} of ${checks} answers WRONG` : `All ${checks} answers are right`)
  process.exitCode = wrong ? 1 : 0
}

function childCapabilities(): string {
  const status = execFileSync('cat', ['/proc/self/status'], { encoding: 'latin1' })
  return [...status.matchAll(/^(CapPrm|CapEff):\t(\w+)/gm)].map(([, set, mask]) => `${set} ${mask}`).join(', ')
}

async function childOfRoot(): Promise<void> {
  await once(spawn('true', { uid: 0 }), 'exit')
}

/** Where libuv may use io_uring, Node refuses the call for every user: CVE-2024-22017. */
function setuid(): string | undefined {
  try {
    process.setuid?.(0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_INVALID_STATE') return 'Node refuses'
    throw error
  }
}

async function readInWorker(path: string): Promise<void> {
  const threads = threadsOf(process.pid).length
  // Not a file: the user nobody may be unable to read it.
  const worker = new Worker(`require('node:fs').readFileSync('${path}')`, { eval: true })
  const errors: Error[] = []
  worker.on('error', (error) => errors.push(error))
  await new Promise((resolve) => worker.on('exit', resolve))
  // The kernel lists a thread a moment longer than Node waits for it.
  while (threadsOf(process.pid).length > threads) await setImmediate()
  if (errors[0]) throw errors[0]
}

function count(threads: Thread[], wanted: Partial<Thread>): string {
  const equal = threads.filter((thread) =>
    Object.entries(wanted).every(([field, value]) => thread[field as keyof Thread] === value),
  )
  return `${equal.length} of ${threads.length}`
}

/** The code of the error, the text returned, or else 'allowed'. */
async function attempt(what: string, wanted: string, action: () => unknown): Promise<void> {
  try {
    const answer = await action()
    check(what, typeof answer === 'string' ? answer : 'allowed', wanted)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    check(what, code ?? 'error', wanted, message)
  }
}

function check(what: string, answer: string, wanted: string, message = answer): void {
  const right = answer === wanted
  checks++
  if (!right) wrong++
  const mark = right ? paint(32, '   ok') : paint(31, 'WRONG')
  console.log(`  ${mark}  ${what.padEnd(48)}  ${message}${right ? '' : ` (wanted: ${wanted})`}`)
}

function table(threads: Thread[]): void {
  const alike = (ids: string) => (new Set(ids.split(' ')).size === 1 ? ids.replace(/ .*/, '') : ids)
  const rows = [
    ['tid', 'name', 'uid', 'gid', 'groups', 'permitted', 'effective', 'no_new_privs'],
    ...threads.map((thread) => [
      thread.Tid,
      thread.Name,
      alike(thread.Uid),
      alike(thread.Gid),
      thread.Groups || 'none',
      thread.CapPrm,
      thread.CapEff,
      thread.NoNewPrivs,
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of rows)
    console.log(`  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
}

function heading(words: string): void {
  console.log(`\n${paint(1, words)}`)
}

function paint(colour: number, words: string): string {
  return process.stdout.isTTY && !process.env.NO_COLOR ? `\x1b[${colour}m${words}\x1b[0m` : words
}

function end(status: number, words: string): never {
  console.error(`demo: ${words}`)
  process.exit(status)
}

/** Runs the demo as a child process, because its surroundings (groups, a secret file) take a process that stays
 * root. */
function surround(): void {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-demo-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755) // so that the file, not the folder, is closed to nobody
  const secret = join(folder, 'secret')
  writeFileSync(secret, 'for root alone\n', { mode: 0o600 })
  // Groups that must go. Not by process.setgroups(), which not every Node allows, and not more than this.
  harden({ user: 'root', supplementalGroups: groups, noNewPrivileges: false })
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [secretOfDemo]: secret },
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  child.on('error', ({ message }) => end(1, message))
  child.on('exit', (status) => process.exit(status ?? 1))
}

export function run(mail: Mail): void {
  // a reader that closes the pipe early, such as head(1)
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  if (process.platform !== 'linux' || process.getuid?.() !== 0) end(77, 'it takes root, on Linux: use sudo')
  const secret = process.env[secretOfDemo]
  if (secret) start(mail, secret)
  else surround()
}

function start(mail: Mail, secret: string): void {
  process.exitCode = 1 // until the last line of demo() is reached
  setTimeout(end, 600_000, 1, 'not finished after ten minutes').unref()
  demo(mail, secret).catch((error) => {
    if (error.code === 'EADDRINUSE')
      end(1, `port ${port} of ${host} is in use: stop the mail server that listens there`)
    end(1, error.message)
  })
}
