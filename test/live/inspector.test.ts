/** Promise: no process of the new user gets into this one through its inspector. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { live } from './live'
import { plainNode, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

/** Sends SIGUSR1 as that user in a loop, and says when it has reached the process a thousand times. */
const attack = `
  let reached = 0
  for (;;) {
    try { process.kill(Number(process.argv[1]), 'SIGUSR1'); reached++ } catch (error) { if (error.code !== 'EPERM') throw error }
    if (reached === 0 && !globalThis.begun) { globalThis.begun = true; require('fs').writeSync(1, 'begun\\n') }
    if (reached === 1000) { require('fs').writeSync(1, 'reached\\n'); break }
  }
`

live('SIGUSR1 in a loop from the target user, before, during and after', ['root'], async (t) => {
  for (let round = 0; round < 10; round++) {
    const subject = await start(t)
    const attacker = spawn('env', [...plainNode, '-e', attack, String(subject.pid)], {
      uid: 65534,
      gid: 65534,
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: '/',
    })
    t.teardown(() => attacker.kill('SIGKILL'))
    const says = async () => String((await once(attacker.stdout, 'data'))[0]).trim()
    t.equal(await says(), 'begun')
    const reached = says()
    await subject.ask('harden', options)
    t.equal(await reached, 'reached', 'a thousand signals arrived')
    t.equal(await subject.ask('inspectorUrl'), null, 'and the inspector is shut')
    await subject.ask('warmPool', 1)
    t.equal(await subject.ask('inspectorUrl'), null)
    subject.kill()
  }
})

live('without harden() the same signal opens it', ['root'], async (t) => {
  const subject = await start(t)
  process.kill(subject.pid, 'SIGUSR1')
  // its thread opens it in its own time
  while ((await subject.ask('inspectorUrl')) === null);
  t.match(await subject.ask('inspectorUrl'), /^ws:/)
})

live('an application that listens for SIGUSR1 goes on hearing it', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('listenForSigusr1')
  await subject.ask('harden', options)
  process.kill(subject.pid, 'SIGUSR1')
  while (subject.signals.length === 0) await subject.ask('inspectorUrl')
  t.same(subject.signals, ['SIGUSR1'])
  t.equal(await subject.ask('inspectorUrl'), null)
})

live('a listener that is added afterwards works', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('harden', options)
  await subject.ask('listenForSigusr1')
  process.kill(subject.pid, 'SIGUSR1')
  while (subject.signals.length === 0) await subject.ask('inspectorUrl')
  t.same(subject.signals, ['SIGUSR1'])
})

live('an inspector that is open is refused', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('openInspector')
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_INSPECTOR', remedy: /allowInspector/ })
  await subject.ask('closeInspector')
  await subject.ask('harden', options)
})
