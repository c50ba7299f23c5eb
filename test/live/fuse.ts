/** A file system that stops answering when the test says so: test/children/fuse.c. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { Test } from 'tap'
import { build, folder } from './subject'

/** So long nothing that has a bound waits. */
const FOR_EVER_MS = 60_000

export class FileSystem {
  readonly file: string
  /** What sees it: a command that runs the next. */
  readonly wrapper: string[]
  #server: ChildProcessByStdio<Writable, Readable, null>
  #said = ''

  private constructor(
    readonly folder: string,
    program: string,
  ) {
    this.#server = spawn(program, [folder], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#server.stdout.setEncoding('latin1').on('data', (text) => {
      this.#said += text
    })
    this.file = join(folder, 'file')
    this.wrapper = ['nsenter', `--mount=/proc/${this.#server.pid}/ns/mnt`, '--']
  }

  static async mount(t: Test): Promise<FileSystem> {
    const system = new FileSystem(folder(t), build(t, 'fuse'))
    t.teardown(() => system.unmount())
    await system.says('mounted')
    return system
  }

  /** 'asked': something waits for an answer that it will not get. */
  async says(word: 'mounted' | 'dead' | 'asked'): Promise<void> {
    while (!this.#said.includes(word)) await once(this.#server.stdout, 'data')
  }

  get wasAsked(): boolean {
    return this.#said.includes('asked')
  }

  async die(): Promise<void> {
    this.#server.kill('SIGUSR1')
    await this.says('dead')
  }

  /** What waits for it gets an error. */
  async unmount(): Promise<void> {
    this.#server.stdin.end()
    if (this.#server.exitCode === null && this.#server.signalCode === null) await once(this.#server, 'exit')
  }

  /** While it is dead: what does not come to its end is freed by unmounting, and has failed. */
  async bounded<T>(t: Test, part: Promise<T>): Promise<T> {
    const watchdog = setTimeout(() => {
      t.fail('it waits for the file system')
      void this.unmount()
    }, FOR_EVER_MS)
    return part.finally(() => clearTimeout(watchdog))
  }
}
