/** Promise: no reason for a refusal is lost: harden() says how many there are, plan() says which. */
import t from 'tap'
import { HardenError, type HardenErrorFields } from '../lib/errors'
import { harden } from '../lib/harden'
import type { HardenOptions } from '../lib/options'
import { plan } from '../lib/plan'
import { Reasons, refuseAll } from '../lib/reasons'
import { refusal } from './refused'

const wrong = (message: string, fields: Partial<HardenErrorFields> = {}) =>
  new HardenError({ code: 'ERR_UNKNOWN_CREDENTIAL', message, remedy: 'mend it', ...fields })

function reasonsOf(listed: boolean, errors: readonly HardenError[]): Reasons {
  const reasons = new Reasons(listed)
  for (const error of errors)
    reasons.run(() => {
      throw error
    })
  return reasons
}

t.test('what a part returns, and what it throws', async (t) => {
  const reasons = new Reasons(false)
  t.equal(
    reasons.run(() => 7),
    7,
  )
  t.notOk(reasons.found)
  const error = wrong('one')
  const raise = () => {
    throw error
  }
  t.equal(reasons.run(raise), undefined)
  t.equal(reasons.run(raise), undefined)
  t.ok(reasons.found)
  t.strictSame(reasons.errors, [error], 'what is found again is said once')
  t.equal(reasons.error(), error)
  t.equal(error.message, 'one. Remedy: mend it.', 'it is alone')
  const mine = new RangeError('mine')
  t.throws(
    () =>
      reasons.run(() => {
        throw mine
      }),
    mine,
    'what is no refusal is thrown on',
  )
})

t.test('several', async (t) => {
  const two = [wrong('one', { option: 'user' }), wrong('two', { option: 'group', found: 'x' })]
  const first = reasonsOf(false, two).error()
  t.equal(first.message, 'one. Remedy: mend it. There is 1 more reason: plan() with the same options lists all.')
  t.ok(first.stack?.includes(first.message))
  t.notOk('others' in first)
  const three = reasonsOf(false, [wrong('one'), wrong('two'), wrong('three')]).error()
  t.equal(three.message, 'one. Remedy: mend it. There are 2 more reasons: plan() with the same options lists all.')

  const all = reasonsOf(true, [
    wrong('one'),
    wrong('two', { found: 'x' }),
    wrong('f:1:2: three', { place: 'f:1:2' }),
  ]).error()
  t.equal(
    all.message,
    'one. Remedy: mend it.\nERR_UNKNOWN_CREDENTIAL: two. Remedy: mend it.\nf:1:2: three. Remedy: mend it.',
  )
  t.strictSame(all.others, [
    { code: 'ERR_UNKNOWN_CREDENTIAL', message: 'two. Remedy: mend it.', remedy: 'mend it', found: 'x' },
    { code: 'ERR_UNKNOWN_CREDENTIAL', message: 'f:1:2: three. Remedy: mend it.', remedy: 'mend it', place: 'f:1:2' },
  ])
})

t.test('errors about one thing', async (t) => {
  const [one, two] = [wrong('one'), wrong('two')]
  const reasons = new Reasons(false)
  t.throws(() => refuseAll([one, two], reasons.run), one, 'which is wrong as a whole')
  t.strictSame(reasons.errors, [one, two])
  t.doesNotThrow(() => refuseAll([], reasons.run))
})

t.test('mistakes that have nothing to do with one another', async (t) => {
  const options = {
    uid: 5,
    user: 'no-such-account',
    group: 'no-such-group',
    supplementalGroups: ['mail', 'no-such-list'],
    capabilities: 'kill+ep cap_chown',
    ambientCapabilities: 'chown',
    chroot: '/no-such-folder',
    rehearse: { bind: ['25'] },
  }
  const expected: [string, string][] = [
    ['ERR_INVALID_ARG_VALUE', 'uid'],
    ['ERR_INVALID_ARG_TYPE', 'rehearse.bind[0]'],
    ['ERR_UNKNOWN_CREDENTIAL', 'user'],
    ['ERR_UNKNOWN_CREDENTIAL', 'group'],
    ['ERR_UNKNOWN_CREDENTIAL', 'supplementalGroups[1]'],
    ['ERR_HARDEN_CAPABILITIES', 'capabilities'],
    ['ERR_HARDEN_CAPABILITIES', 'capabilities'],
    ['ERR_HARDEN_CAPABILITIES', 'ambientCapabilities'],
    ['ERR_HARDEN_NOT_PERMITTED', 'chroot'],
  ]
  const listed = (options: unknown): [string, string | undefined][] => {
    const error = refusal(() => plan(options as HardenOptions))
    return [error, ...(error.others ?? [])].map(({ code, option }) => [code, option])
  }
  t.strictSame(listed(options), expected)
  t.match(
    refusal(() => harden(options as never)).message,
    / There are 8 more reasons: plan\(\) with the same options lists all\.$/,
  )
  const { uid: _, rehearse: __, ...right } = options
  t.strictSame(listed(right), expected.slice(2), 'where the options themselves are right')
})

t.test('what rests on a mistake is no other reason', async (t) => {
  for (const [options, option] of [
    [{ uid: 0 }, 'uid'],
    [{ user: 4242, gid: 4242 }, 'gid'],
    [{ user: null, supplementalGroups: 'initgroups' }, 'user'],
    [{ user: 'no-such-account', supplementalGroups: 'initgroups' }, 'user'],
    [{ user: 'nobody', caps: 'cap_kill+ep', ambientCapabilities: 'cap_kill' }, 'caps'],
    [{ user: 'nobody', capabilities: 'cap_kill', ambientCapabilities: 'cap_kill' }, 'capabilities'],
    [{ user: 'nobody', capabilities: 'cap_kill', chroot: '/' }, 'capabilities'],
  ] as const) {
    const error = refusal(() => plan(options as never))
    t.equal(error.option, option)
    t.notOk('others' in error, JSON.stringify(options))
  }
})
