/** Promise: the remedy for a path names the account and the line, and the line helps. */

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { remedyForAbsent, remedyForPath } from '../lib/access'
import type { Plan, Question } from '../lib/contract'
import { allFour, plan as anyPlan, nothing, opened, stateOf } from './states'

const NOBODY = 65534
const plan: Plan = {
  ...anyPlan,
  root: undefined,
  wanted: stateOf({ ...nothing, user: allFour(NOBODY), group: allFour(NOBODY), groups: [8] }),
}
const ask = (kind: 'read' | 'write', path: string): Question => ({
  kind,
  path,
  number: 0,
  option: 'rehearse',
  role: '',
})
const general = /^make it, and every directory above it, accessible to the new user/

/** A folder that everybody may enter. */
function folder(t: Test): string {
  const made = realpathSync(mkdtempSync(join(tmpdir(), 'privdrop-access-')))
  t.teardown(() => rmSync(made, { recursive: true }))
  chmodSync(made, 0o755)
  return made
}

function file(path: string, mode: number, uid = 0, gid = 0): string {
  writeFileSync(path, '')
  chmodSync(path, mode)
  chownSync(path, uid, gid)
  return path
}

t.test('the file itself', { skip: process.getuid?.() !== 0 && 'it takes root' }, async (t) => {
  const there = folder(t)
  const at = (name: string) => join(there, name)
  const spool = at('spool')
  mkdirSync(spool, { mode: 0o755 })
  const group = 'nogroup'
  const table: [kind: 'read' | 'write', path: string, remedy: string][] = [
    ['write', file(at('log'), 0o644), `give it to user nobody: chown nobody ${at('log')}`],
    ['write', spool, `give it to user nobody: chown nobody ${spool}`],
    ['write', file(at('own'), 0o444, NOBODY), `give user nobody the permission: chmod u+w ${at('own')}`],
    ['write', file(at('shared'), 0o640, 0, 8), `give user nobody the permission: chmod g+w ${at('shared')}`],
    [
      'read',
      file(at('key'), 0o600),
      `read it before harden(), or let user nobody read it: chgrp ${group} ${at('key')} && chmod g+r ${at('key')}`,
    ],
    ['read', file(at('mine'), 0o600, 0, 8), `give user nobody the permission: chmod g+r ${at('mine')}`],
    ['write', file(at(`it's`), 0o600), `give it to user nobody: chown nobody '${there}/it'\\''s'`],
  ]
  for (const [kind, path, remedy] of table) t.equal(remedyForPath(ask(kind, path), plan), remedy)
  for (const [kind, path] of [
    ['read', file(at('open'), 0o644)],
    ['read', at('nothing')],
    ['write', file(at('\x1b[2J'), 0o600)],
  ] as const)
    t.match(remedyForPath(ask(kind, path), plan), general, 'the permissions do not say it')

  symlinkSync('/etc/shadow', at('link'))
  for (const path of ['/etc/shadow', '/etc/sudoers.d', '/etc/passwd', at('link')])
    if (existsSync(path))
      for (const kind of ['read', 'write'] as const)
        t.match(remedyForPath(ask(kind, path), plan), /^use it before harden\(\), and leave it closed: a process/, path)
  for (const path of ['/', '/etc', '/usr/bin', '/var/log', '/srv'])
    t.equal(
      remedyForPath(ask('write', path), plan),
      `name a folder of the server's own: install -d -o nobody ${join(path, 'NAME')}`,
    )

  const [, line = ''] = /: (chgrp .*)$/.exec(remedyForPath(ask('read', at('key')), plan)) ?? []
  execFileSync('/bin/sh', ['-c', line])
  const { gid, mode } = statSync(at('key'))
  t.strictSame([gid, mode & 0o777], [NOBODY, 0o640], 'the line does it')
  t.match(remedyForPath(ask('read', at('key')), plan), general)
})

t.test('a folder above it', { skip: process.getuid?.() !== 0 && 'it takes root' }, async (t) => {
  const there = folder(t)
  const closed = join(there, 'closed')
  mkdirSync(join(closed, 'deep'), { recursive: true })
  file(join(closed, 'deep/file'), 0o600)
  chmodSync(closed, 0o700)
  symlinkSync(join(closed, 'deep'), join(there, 'link'))
  const remedy = `open the folder above it to user nobody: chmod o+x ${closed}, or chgrp nogroup ${closed} && chmod g+x ${closed}`
  for (const path of [join(closed, 'deep/file'), join(closed, 'nothing'), join(there, 'link/file')])
    t.equal(remedyForPath(ask('read', path), plan), remedy, path)
  chownSync(closed, 0, 8)
  t.equal(
    remedyForPath(ask('read', join(closed, 'deep/file')), plan),
    `open the folder above it to user nobody: chmod g+x ${closed}`,
  )
  chmodSync(closed, 0o755)
  t.match(remedyForPath(ask('read', join(closed, 'deep/file')), plan), /chgrp nogroup/, 'then the file itself')

  const inside: Plan = { ...plan, root: { ...opened, path: there } }
  t.match(
    remedyForPath(ask('read', '/closed/deep/file'), inside),
    `chgrp nogroup ${closed}/deep/file && `,
    'in a chroot',
  )
  symlinkSync('/etc/shadow', join(there, 'out'))
  t.match(remedyForPath(ask('read', '/out'), inside), general, 'where its links lead elsewhere')
})

t.test('what is not there', { skip: process.getuid?.() !== 0 && 'it takes root' }, async (t) => {
  const there = folder(t)
  const folderOf = (path: string) => `, or name the folder in which the server creates it: '${path}'`
  const made = (path: string) => `; a folder: install -d -o nobody ${path}`
  const of = (kind: 'read' | 'write', path: string, more: Partial<Plan> = {}) =>
    remedyForAbsent(ask(kind, path), { ...plan, ...more })
  t.equal(of('read', join(there, 'key')), 'create it')
  t.equal(of('write', join(there, 'log')), `create it${folderOf(there)}`)
  t.equal(of('write', join(there, 'no/log')), `create it${made(join(there, 'no/log'))}`)
  t.equal(of('write', '/var/spool/no-such'), `create it${made('/var/spool/no-such')}`, 'in a folder of all programs')
  t.equal(of('write', '/no-such/\x1b'), 'create it', 'no shell takes the word')
  const root = { ...opened, path: there }
  const outside = file(join(there, 'config'), 0o644)
  t.equal(of('read', outside, { root }), `write '/config', which is that path inside the chroot`)
  t.equal(of('read', join(there, 'no'), { root }), 'create it inside the chroot')
  t.equal(of('read', '/key', { root }), 'create it inside the chroot')
  t.equal(of('write', '/log', { root }), `create it inside the chroot${folderOf('/')}`)
  t.equal(of('write', '/no/log', { root }), `create it inside the chroot${made(join(there, 'no/log'))}`)
})
