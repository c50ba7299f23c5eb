/** Promise: whoever could run code in this process by its inspector is a reason to stop, unless the caller accepts it. */
import t from 'tap'
import type { HardenError } from '../lib/errors'

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
      t.ok(remedy)
    }
})
