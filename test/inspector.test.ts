/** Promise: harden() refuses if a process could run code in this one through its inspector, unless the caller accepts
 * that. */
import t from 'tap'
import type { HardenError } from '../lib/errors'
import type { Addon } from '../lib/native'

t.test('the inspector', async (t) => {
  const address = 'ws://127.0.0.1:9229/0f936c39'
  const open = (url: string | undefined) =>
    t.mockRequire<typeof import('../lib/inspector')>('../lib/inspector', { 'node:inspector': { url: () => url } })

  for (const options of [{}, { allowInspector: false }, { allowInspector: true }])
    t.doesNotThrow(() => open(undefined).refuseInspector(options), 'closed')
  t.doesNotThrow(() => open(address).refuseInspector({ allowInspector: true }), 'open, and accepted')

  for (const options of [{}, { allowInspector: false }, { allowInspector: undefined }])
    try {
      open(address).refuseInspector(options)
      t.fail('it was not refused')
    } catch (error) {
      const { code, message, remedy } = error as HardenError
      t.equal(code, 'ERR_HARDEN_INSPECTOR')
      t.match(message, address)
      t.equal((error as HardenError).found, address)
      t.ok(remedy)
    }
})

t.test('after the commit: an inspector that is open ends the process, unless the caller accepts it', async (t) => {
  const ended: string[] = []
  const addon = { endProcess: (reason: string) => ended.push(reason) } as unknown as Addon
  const open = (url: string | undefined) =>
    t.mockRequire<typeof import('../lib/inspector')>('../lib/inspector', { 'node:inspector': { url: () => url } })
  open(undefined).endIfInspectorIsOpen({}, addon)
  open('ws://127.0.0.1:9229/x').endIfInspectorIsOpen({ allowInspector: true }, addon)
  t.strictSame(ended, [])
  open('ws://127.0.0.1:9229/x').endIfInspectorIsOpen({}, addon)
  t.strictSame(ended, ['the inspector has been opened during harden()'])
  t.equal(open('ws://127.0.0.1:9229/x').inspectorUrl(), 'ws://127.0.0.1:9229/x')
})
