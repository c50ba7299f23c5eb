/**
 * Promise: unchanged or done, even while the C library changes the ids of all threads by the same signal from another
 * thread (nptl(7)): its setgroups, setegid and seteuid do not change all threads at one moment. Whenever harden() runs,
 * it ends, and no thread differs from the others.
 */
import { isDeepStrictEqual } from 'node:util'
import { live } from '../live/live'
import { common, hardened } from '../live/outside'
import { loadThreads, Refusal, start } from '../live/subject'

const options = { user: 65534, group: 65534, capabilities: 'cap_net_bind_service+ep' }
const RUNS = 80

live('glibc changes ids in another thread, at whatever moment', ['root', 'setpriv', 'cc'], async (t) => {
  const seen = new Map<string, number>()
  const run = async (): Promise<string> => {
    const subject = await start(t, { wrapper: ['setpriv', '--clear-groups', '--'] })
    await subject.ask('warmPool', 4)
    await loadThreads(t, subject)
    const before = common(subject.pid)
    const watchdog = setTimeout(() => subject.kill(), 20_000)
    const answer = await subject.ask('hardenBeside', 'startIds', options).catch((error: unknown) => error)
    if (answer instanceof Error && !(answer instanceof Refusal)) throw answer
    await subject.ask('native', 'stop')
    if (answer instanceof Refusal) {
      // it has gone through to where it began, and so has harden()
      if (!isDeepStrictEqual(common(subject.pid), before)) t.same(common(subject.pid), before, 'after a refusal')
      await subject.ask('harden', options)
    }
    clearTimeout(watchdog)
    if (!isDeepStrictEqual(common(subject.pid), hardened)) t.same(common(subject.pid), hardened)
    subject.kill()
    return answer instanceof Refusal ? `refused: ${answer.fields.code}, step '${answer.fields.step}'` : 'done'
  }
  for (let number = 0; number < RUNS; number++) {
    const outcome = await run()
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
  }
  for (const [outcome, times] of seen) t.comment(`${outcome}: ${times}`)
  t.ok(seen.size > 1, 'more moments than one have been met')
})
