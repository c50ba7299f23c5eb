/** Mail servers that run as their administrators run them, and messages from swaks. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { copy, type Ending, nodeUnderTest } from './subject'

export const NOBODY = 65534

/** A folder that any user can reach, and in it the spool of the server's user. */
export function place(t: Test): { path: string; spool: string } {
  const path = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  chmodSync(path, 0o755)
  const spool = join(path, 'spool')
  mkdirSync(spool)
  chownSync(spool, NOBODY, NOBODY)
  return { path, spool }
}

/** A new key, readable only by its owner and this group, and a certificate for it. */
export function renew(path: string, gid: number): { KEY: string; CERT: string } {
  const [KEY, CERT] = [join(path, 'key.pem'), join(path, 'cert.pem')]
  const kind = [
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=mail.example.com',
  ]
  execFileSync('openssl', ['req', ...kind, '-keyout', KEY, '-out', CERT], { stdio: 'ignore' })
  chownSync(KEY, 0, gid)
  chmodSync(KEY, gid ? 0o640 : 0o600)
  return { KEY, CERT }
}

let home: string | undefined

/** The package with its examples, and what they need. */
export function examples(): string {
  if (home) return home
  home = copy()
  const modules = ['smtp-server', 'nodemailer', 'punycode.js']
  for (const part of ['examples', ...modules.map((name) => `node_modules/${name}`)])
    cpSync(join(__dirname, '../..', part), join(home, part), { recursive: true })
  return home
}

export class MailServer {
  readonly ended: Promise<Ending>
  #process: ChildProcess
  #lines: string[] = []
  #awaited: (() => void) | undefined
  #over = false

  constructor(child: ChildProcess) {
    this.#process = child
    let stderr = ''
    const heard = (line: string) => {
      this.#lines.push(line)
      this.#awaited?.()
    }
    createInterface(child.stdout as NodeJS.ReadableStream).on('line', heard)
    createInterface(child.stderr as NodeJS.ReadableStream).on('line', (line) => {
      stderr += `${line}\n`
      heard(line)
    })
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.#over = true
      this.#awaited?.()
      return { code, signal, stderr }
    })
  }

  get pid(): number {
    return this.#process.pid as number
  }

  /** The first line that it has written, or writes, of this kind; each is given out once. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      for (const [index, line] of this.#lines.entries()) {
        const found = pattern.exec(line)
        if (!found) continue
        this.#lines.splice(index, 1)
        return found
      }
      if (this.#over) throw new Error(`no ${pattern}: ${this.#lines.join('\n')} ${JSON.stringify(await this.ended)}`)
      await new Promise<void>((resolve) => {
        this.#awaited = resolve
      })
    }
  }

  /** Of a process that listens, and has not heard of it yet (test/children/hold.ts). */
  async held(): Promise<number> {
    return Number((await this.line(/^held (\d+)$/))[1])
  }

  /** The level and code of each finding of a process that has given up root (test/children/hold.ts). */
  async findings(): Promise<string[]> {
    const [, list = ''] = await this.line(/^findings: (.*)$/)
    return list ? list.split(',') : []
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }
}

/**
 * Node with these arguments, as a service manager starts it: as root, in a session of its own, with few variables; and with
 * the supplementary groups of a login. It ends with the test.
 */
export function serve(t: Test, args: string[], env: NodeJS.ProcessEnv): MailServer {
  const hold = join(examples(), 'test/out/children/hold.js')
  const root = ['-u', 'NODE_OPTIONS', 'setpriv', '--groups', '0,4,42', '--', nodeUnderTest]
  const server = new MailServer(
    spawn('env', [...root, '--require', hold, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, ...env },
      cwd: '/',
      detached: true,
    }),
  )
  t.teardown(async () => {
    server.kill('SIGKILL')
    await server.ended
  })
  return server
}

/** What a careless server would damage: dots at the start of lines, long and empty lines, bytes above 127. */
export function message(subject: string): string {
  const lines = Array.from(
    { length: 1000 },
    (_, index) => `${'.'.repeat(index % 3)}line ${index} ${'\xe9'.repeat(index % 70)}`,
  )
  return [`Subject: ${subject}`, 'From: a@example.com', 'To: b@example.com', '', ...lines, '', '.', '..', ''].join(
    '\r\n',
  )
}

/** Delivers a message by swaks; rejects unless the server has accepted it. What swaks prints. */
export async function deliver(t: Test, host: string, data: string, ...more: string[]): Promise<string> {
  const { path } = place(t)
  const file = join(path, 'message')
  // swaks sends it as it is: the dots are doubled, and the last one ends it (RFC 5321, 4.5.2)
  writeFileSync(file, `${data.replace(/^\./gm, '..')}.`, 'latin1')
  const envelope = ['--from', 'a@example.com', '--to', 'b@example.com', '--helo', 'client.example.com']
  const args = ['--server', host, '--port', '25', ...envelope, '--no-data-fixup', '--data', `@${file}`, ...more]
  const { stdout } = await promisify(execFile)('swaks', [...args, '--timeout', '30', '--hide-all'])
  return stdout
}

/** The messages in the spool, byte for byte. */
export function stored(spool: string): string[] {
  return readdirSync(spool).map((name) => readFileSync(join(spool, name), 'latin1'))
}

/** Who has opened the sockets that listen there, from /proc/net/tcp (proc(5)): 'uid inode'. */
export function listeners(host: string, port = 25): string[] {
  const address = host
    .split('.')
    .reverse()
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join('')
  const local = `${address}:${port.toString(16).padStart(4, '0')}`.toUpperCase()
  return readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1] === local && fields[3] === '0A')
    .map((fields) => `${fields[7]} ${fields[9]}`)
}
