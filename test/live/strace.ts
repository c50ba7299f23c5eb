/** Faults from outside, into one thread alone: strace(1), "Tampering". */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'

/** The system call is not made, and returns this. */
export const inject = (call: string, fault: string) => ['-e', `trace=${call}`, '-e', `inject=${call}:${fault}`]

/** Attaches to this one thread; `call` may be several, with commas between. */
export async function tracer(
  t: Test,
  tid: number,
  call: string,
  fault: string,
  ...only: string[]
): Promise<ChildProcess> {
  const strace = spawn('strace', ['-p', String(tid), '-o', '/dev/null', ...inject(call, fault), ...only], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  t.teardown(() => strace.kill('SIGKILL'))
  await once(strace.stderr, 'data') // 'strace: Process 4711 attached'
  return strace
}
