/** Promise: exact in every thread, including threads that start or end meanwhile. A hundred fresh processes. */
import type { Test } from 'tap'
import { live } from './live'
import { hardened, type Task, tasks } from './outside'
import { loadThreads, type Subject, start } from './subject'

/** What of every thread of a fresh process is not as asked, and how many there were. */
async function run(t: Test, churn: (subject: Subject) => Promise<unknown>): Promise<{ seen: number; odd: Task[] }> {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await churn(subject)
  await subject.ask('harden', { user: 'nobody', capabilities: 'cap_net_bind_service+ep' })
  const seen = new Map<number, Task>()
  const odd = []
  // until threads from before have made way for new ones
  for (let round = 0; round < 10 || seen.size < 20; round++)
    for (const task of tasks(subject.pid)) {
      const { tid, name: _, ...rest } = task
      seen.set(tid, task)
      if (JSON.stringify(rest) !== JSON.stringify(hardened)) odd.push(task)
    }
  subject.kill()
  await subject.ended
  return { seen: seen.size, odd }
}

async function hundred(t: Test, churn: (subject: Subject) => Promise<unknown>): Promise<void> {
  let threads = 0
  for (let number = 0; number < 100; number++) {
    const { seen, odd } = await run(t, churn)
    if (odd.length) t.same(odd, [], `run ${number}`)
    threads += seen
  }
  t.ok(threads >= 2000, `${threads} threads looked at, all as asked`)
}

live('100 runs with Workers starting and ending all the while', ['root'], async (t) => {
  await hundred(t, (subject) => subject.ask('churn', 3))
})

live('while glibc broadcasts ids of its own, by the same signal', ['root', 'cc'], async (t) => {
  let threads = 0
  for (let number = 0; number < 30; number++) {
    const { seen, odd } = await run(t, async (subject) => {
      await loadThreads(t, subject)
      await subject.ask('churn', 2)
      await subject.ask('native', 'startSetxid')
    })
    if (odd.length) t.same(odd, [], `run ${number}`)
    threads += seen
  }
  t.ok(threads >= 600, `${threads} threads, all as asked`)
})

live('100 runs with native threads that are born and die without pause', ['root', 'cc'], async (t) => {
  await hundred(t, async (subject) => {
    await loadThreads(t, subject)
    await subject.ask('native', 'startChurn')
  })
})
