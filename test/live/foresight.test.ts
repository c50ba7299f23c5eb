/** Promise: what will break as the new user, and what of root's next start that user can exchange, is found, and
 * nothing else. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { actions } from '../children/hazards'
import { live } from './live'
import { copy, folder, nodeUnderTest, type Options, shown, start } from './subject'

const NOBODY = 65534
const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

/** The finding of this code, of a process started so; undefined if there is none. */
async function finding(t: Test, code: string, how: Options = {}, asked: object = {}) {
  const subject = await start<typeof actions>(t, { program: 'hazards', ...how })
  return (await subject.ask('harden', { ...options, ...asked }))[code]
}

/** Run by sh(1) before Node takes its place. */
const shell = (command: string): Options => ({ wrapper: ['sh', '-c', `${command} "$@"`, 'sh'] })

function directory(path: string, mode: number, uid: number, gid = uid): string {
  mkdirSync(path)
  chmodSync(path, mode)
  chownSync(path, uid, gid)
  return path
}

live('HARDEN_NEXT_START: the program of root, and the folders in which it lies', ['root'], async (t) => {
  const code = 'HARDEN_NEXT_START'
  const from = copy()
  const children = join(from, 'test/out/children')
  const program = join(children, 'hazards.js')
  const found = () => finding(t, code, { from })
  t.notOk(await found(), "all is root's")
  for (const path of [children, join(from, 'test'), program]) {
    chownSync(path, NOBODY, NOBODY)
    t.match(await found(), { level: 'danger', message: `'${path}'`, remedy: /chown root/ })
    chownSync(path, 0, 0)
  }
  chownSync(children, 0, NOBODY)
  chmodSync(children, 0o775)
  t.match(await found(), { level: 'danger', message: `'${children}'` }, "by the user's group")
  chmodSync(children, 0o1775)
  t.notOk(await found(), "in a sticky folder of root's what is root's stays")
  chmodSync(children, 0o755)
  t.notOk(await found(), "the user's group may only read")
  chownSync(children, NOBODY, NOBODY)
  t.notOk(await finding(t, code, { from }, { user: 'root' }), 'user root')
})

live('HARDEN_NEXT_START: a log that root opens for writing', ['root'], async (t) => {
  const code = 'HARDEN_NEXT_START'
  const above = folder(t)
  const users = directory(join(above, 'users'), 0o755, NOBODY)
  const roots = directory(join(above, 'roots'), 0o755, 0)
  for (const path of [users, roots]) {
    writeFileSync(join(path, 'log'), '')
    chownSync(join(path, 'log'), NOBODY, NOBODY)
  }
  t.match(await finding(t, code, shell(`exec 7>>${users}/log; exec`)), {
    level: 'danger',
    message: `'${users}' (descriptor 7, open for writing)`,
    remedy: /after harden\(\)/,
  })
  t.notOk(await finding(t, code, shell(`exec 7>>${roots}/log; exec`)), "the user's own file, in a folder of root's")
  t.notOk(await finding(t, code, shell(`exec 7<${users}/log; exec`)), 'open for reading')
})

live('HARDEN_OUT_OF_REACH: the working directory', ['root'], async (t) => {
  const code = 'HARDEN_OUT_OF_REACH'
  const closed = directory(join(folder(t), 'closed'), 0o700, 0)
  const below = directory(join(closed, 'below'), 0o755, 0)
  for (const path of [closed, below])
    t.match(await finding(t, code, shell(`cd ${path} && exec`)), {
      level: 'note',
      message: new RegExp(`^user ${NOBODY} cannot use: '${path}' \\(the working directory\\)$`),
    })
  t.notOk(await finding(t, code, shell(`cd ${below} && exec`), { user: 'root' }), 'user root')
  chmodSync(closed, 0o711)
  t.notOk(await finding(t, code, shell(`cd ${below} && exec`)), 'it can be entered')
})

live('a working directory that has been removed', ['root'], async (t) => {
  const gone = directory(join(folder(t), 'gone'), 0o700, 0)
  t.notOk(await finding(t, 'HARDEN_OUT_OF_REACH', shell(`cd ${gone} && rmdir ${gone} && exec`), { user: 'root' }))
  mkdirSync(gone, 0o700)
  const found = await finding(t, 'HARDEN_OUT_OF_REACH', shell(`cd ${gone} && rmdir ${gone} && exec`))
  t.match(found, { level: 'note', message: "'.' (the working directory)" })
})

live('HARDEN_GROUPS_LOST: those that the process has', ['root', 'setpriv'], async (t) => {
  const code = 'HARDEN_GROUPS_LOST'
  const held = { wrapper: ['setpriv', '--groups=0,2000', '--'] }
  t.match(await finding(t, code, held), {
    level: 'note',
    message: /: 2000$/,
    remedy: 'supplementalGroups: [2000]',
  })
  t.notOk(await finding(t, code, held, { supplementalGroups: [2000] }), 'retained')
  t.notOk(await finding(t, code, held, { supplementalGroups: [] }), 'given up in so many words')
  t.notOk(await finding(t, code, { wrapper: ['setpriv', '--groups=0', '--'] }), "root's own")
})

live('HARDEN_GROUPS_LOST: those that the account has', ['root'], async (t) => {
  const code = 'HARDEN_GROUPS_LOST'
  const groups = (line: string) => ({
    wrapper: shown(t, '/etc/group', `${readFileSync('/etc/group', 'latin1')}${line}\n`),
  })
  const member = groups('privdropkeys:x:4712:nobody')
  t.match(await finding(t, code, member), {
    level: 'note',
    message: /: privdropkeys$/,
    remedy: "supplementalGroups: ['privdropkeys']",
  })
  t.notOk(await finding(t, code, member, { supplementalGroups: 'initgroups' }), 'retained')
  t.notOk(await finding(t, code, groups('privdropkeys:x:4712:daemon')), 'a group of another account')
  t.notOk(await finding(t, code, groups('docker:x:4713:nobody')), 'never advised: it amounts to root')
})

live('HARDEN_GROUP_IS_ROOT', ['root'], async (t) => {
  const code = 'HARDEN_GROUP_IS_ROOT'
  t.match(await finding(t, code, {}, { supplementalGroups: ['mail', 'shadow'] }), {
    level: 'danger',
    message: /: shadow \([^)]+\)$/,
    remedy: /^leave shadow out/,
  })
  t.match(await finding(t, code, {}, { group: 'disk' }), { level: 'danger', message: ': disk (' })
  t.notOk(await finding(t, code, {}, { supplementalGroups: ['mail', 'adm'] }), 'other groups')
  t.notOk(await finding(t, code, {}, { user: 'root', group: 'disk' }), 'user root')
})

live('HARDEN_FILE_CAPABILITIES: those of node', ['root', 'setcap'], async (t) => {
  const code = 'HARDEN_FILE_CAPABILITIES'
  const node = join(folder(t), 'node')
  copyFileSync(nodeUnderTest, node)
  t.notOk(await finding(t, code, { node }), 'it has none')
  execFileSync('setcap', ['cap_net_bind_service,cap_net_raw+ep', node])
  t.match(await finding(t, code, { node }), {
    level: 'note',
    message: `'${node}' has file capabilities that no child may have any more: cap_net_raw;`,
    remedy: `setcap -r ${node}`,
  })
  execFileSync('setcap', ['cap_net_bind_service+ep', node])
  t.notOk(await finding(t, code, { node }), 'what is retained')
})
