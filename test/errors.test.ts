/** Promise: an error has fields for programs, and a message for people that ends with the remedy. */
import t from 'tap'
import { errnoName, HardenError, type HardenErrorFields } from '../lib/errors'

const least: HardenErrorFields = {
  code: 'ERR_HARDEN_PROC',
  message: 'the threads cannot be read',
  remedy: 'mount procfs on /proc',
}
const all: HardenErrorFields = {
  ...least,
  option: 'user',
  step: 'proc',
  syscall: 'open',
  errno: -2,
  tid: 4711,
  wanted: '0',
  found: '1',
}

t.test('its class', async (t) => {
  const error = new HardenError(least)
  t.ok(error instanceof HardenError)
  t.ok(error instanceof Error)
  t.equal(error.name, 'HardenError')
  t.match(String(error), /^HardenError: the threads/)
  t.match(error.stack, /errors\.test/)
  t.notOk(Object.hasOwn(error, 'name'))
  t.match(Object.getOwnPropertyDescriptor(HardenError.prototype, 'name'), { value: 'HardenError', enumerable: false })
})

t.test('its fields are own, enumerable, and no more than were given', async (t) => {
  t.strictSame({ ...new HardenError(least) }, { code: least.code, remedy: least.remedy })
  const { message: _, ...fields } = all
  t.strictSame({ ...new HardenError(all) }, fields)
  t.strictSame(JSON.parse(JSON.stringify(new HardenError(all))), fields)
  t.equal(new HardenError(all).errno, -2)
})

t.test('its message ends with the remedy', async (t) => {
  for (const fields of [least, all]) {
    const { message } = new HardenError(fields)
    t.ok(message.startsWith(fields.message))
    t.ok(message.endsWith(`${fields.remedy}.`))
  }
})

t.test('or with the place in a file', async (t) => {
  const error = new HardenError({ ...least, excerpt: 'a = b\n  ^' })
  t.ok(error.message.endsWith(`Remedy: ${least.remedy}.\na = b\n  ^`))
  t.strictSame({ ...error }, { code: least.code, remedy: least.remedy }, 'which is no field')
})

t.test('its cause is kept, and not made up', async (t) => {
  const cause = new RangeError('mine')
  t.equal(new HardenError({ ...least, cause }).cause, cause)
  t.notOk('cause' in new HardenError(least))
  t.notOk('cause' in new HardenError({ ...least, cause: undefined }))
  t.equal(new HardenError({ ...least, cause: null }).cause, null)
  t.notOk(Object.keys(new HardenError({ ...least, cause })).includes('cause'), 'as in any Error it is not enumerable')
})

t.test('names of errno values', async (t) => {
  for (const [errno, name] of [
    [1, 'EPERM'],
    [11, 'EAGAIN'],
    [12, 'ENOMEM'],
    [22, 'EINVAL'],
    [110, 'ETIMEDOUT'],
    [10, 'ECHILD'],
    [116, 'ESTALE'],
  ] as const)
    t.equal(errnoName(errno), name)
  t.match(errnoName(524), /524/, 'one that only the kernel knows')
  t.equal(errnoName(0), 'no answer')
})
