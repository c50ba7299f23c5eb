/** Promise: a misspelt name is told from an unrelated one, in little time. */
import t from 'tap'
import { nearest } from '../lib/nearest'

t.test('what is near', async (t) => {
  const names = ['cap_net_raw', 'cap_net_admin', 'user', 'group', 'noNewPrivileges']
  for (const [word, name] of [
    ['net_raw', 'cap_net_raw'],
    ['CAP-NET-RAW', 'cap_net_raw'],
    ['cap_net_rwa', 'cap_net_raw'],
    ['cap_net_adminxx', 'cap_net_admin'],
    ['no_new_privileges', 'noNewPrivileges'],
    ['usr', 'user'],
    ['resu', undefined],
    ['u', undefined],
    ['', undefined],
    ['cap_net_adminxxx', undefined],
    ['\u{1f4ec}\u{1f4ec}', undefined],
    ['x'.repeat(10_000_000), undefined],
  ] as const)
    t.equal(nearest(word, names), name, word.slice(0, 20))
  t.equal(nearest('grop', []), undefined)
  t.equal(
    nearest('mali', ['mail', 'malo']),
    'mail',
    'two letters that have changed places are one mistake, and the first counts',
  )
})
