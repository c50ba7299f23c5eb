/** Starts a process to be hardened (test/children/subject.ts) and speaks with it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { actions } from '../children/subject'
import { nodeHeaders } from './live'

type Actions = typeof actions
type Answer<A extends keyof Actions> = Awaited<ReturnType<Actions[A]>>

export interface Options {
  env?: NodeJS.ProcessEnv
  execArgv?: string[]
  /** A command that ends by running Node: ['setpriv', '--bounding-set', '-setuid', '--'] */
  wrapper?: string[]
}

export interface Ending {
  code: number | null
  signal: NodeJS.Signals | null
  stderr: string
}

/** What an action has thrown in the subject. */
export class Refusal extends Error {
  constructor(readonly fields: Record<string, unknown>) {
    super(`${fields.code}: ${fields.message}`)
  }
}

export class Subject {
  /** Resolves when the process has ended. */
  readonly ended: Promise<Ending>
  #process: ChildProcess
  #answers: { value?: unknown; error?: Record<string, unknown> }[] = []
  #awaited: (() => void) | undefined
  #over = false
  /** Signals that its own listeners have reported. */
  signals: string[] = []

  constructor(child: ChildProcess) {
    this.#process = child
    let stderr = ''
    child.stderr?.setEncoding('latin1').on('data', (text: string) => {
      stderr += text
    })
    child.on('message', (message: { signal?: string }) => {
      if (message.signal) this.signals.push(message.signal)
      else this.#answers.push(message)
      this.#awaited?.()
    })
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.#over = true
      this.#awaited?.()
      return { code, signal, stderr }
    })
  }

  /** Of the Node process, also where a wrapper started it: each of them executes the next. */
  get pid(): number {
    return this.#process.pid as number
  }

  async answer(): Promise<unknown> {
    while (this.#answers.length === 0) {
      if (this.#over) throw new Error(`the subject has ended: ${JSON.stringify(await this.ended)}`)
      await new Promise<void>((resolve) => {
        this.#awaited = resolve
      })
    }
    const { value, error } = this.#answers.shift() as { value?: unknown; error?: Record<string, unknown> }
    if (error) throw new Refusal(error)
    return value
  }

  tell<A extends keyof Actions>(action: A, ...args: Parameters<Actions[A]>): void {
    this.#process.send({ action, args })
  }

  /** @throws Refusal what the action threw */
  async ask<A extends keyof Actions>(action: A, ...args: Parameters<Actions[A]>): Promise<Answer<A>> {
    this.tell(action, ...args)
    return (await this.answer()) as Answer<A>
  }

  /** The fields of what the action throws; an Error if it does not. */
  async refusal<A extends keyof Actions>(action: A, ...args: Parameters<Actions[A]>): Promise<Record<string, unknown>> {
    const value = await this.ask(action, ...args).catch((error) => {
      if (error instanceof Refusal) return error
      throw error
    })
    if (value instanceof Refusal) return value.fields
    throw new Error(`${action} was not refused: ${JSON.stringify(value)}`)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

/** Arguments of env(1): tap writes a loader with a thread of its own into every child's NODE_OPTIONS. */
export const plainNode = ['-u', 'NODE_OPTIONS', process.execPath]

/** A subject that is ready, and that ends with the test. */
export async function start(t: Test, { env, execArgv = [], wrapper = [] }: Options = {}): Promise<Subject> {
  const subject = new Subject(
    spawn(
      'env',
      ['-u', 'NODE_OPTIONS', ...wrapper, process.execPath, ...execArgv, join(__dirname, '../out/children/subject.js')],
      {
        stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
        env: { PATH: process.env.PATH, ...env },
        // whatever becomes of this user, it may stand there
        cwd: '/',
      },
    ),
  )
  t.teardown(async () => {
    subject.kill()
    await subject.ended
  })
  await subject.answer()
  return subject
}

/** Threads that Node knows nothing of, from test/children/threads.c. */
export async function loadThreads(t: Test, subject: Subject): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const library = join(folder, 'threads.node')
  const source = join(__dirname, '../children/threads.c')
  execFileSync('cc', ['-shared', '-fPIC', '-pthread', '-I', nodeHeaders, '-o', library, source])
  await subject.ask('load', library)
}
