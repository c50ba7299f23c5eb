/** Why the new identity cannot use a file, by the permissions of path_resolution(7), and the command that changes
 * it. */
import { realpathSync, type Stats, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import type { Plan, Question } from './contract'
import { nameOf } from './databases'
import { showPath } from './errors'
import { attempt } from './hazards'
import { shellWord } from './shell'
import type { State } from './state'

/** For what permissions do not explain: an access control list, a security module. */
const GENERAL =
  'make it, and every directory above it, accessible to the new user (chown, chmod, setfacl, or a supplementary group), or use it before harden()'

/** The system tells users apart by these files: no remedy may open one of them to a server. */
const OF_ROOT = /^\/etc\/(?:(?:passwd|group|shadow|gshadow)-?|sudoers(?:\.d(?:\/.*)?)?)$/
const NEVER = 'use it before harden(), and leave it closed: a process that can read or change it can become root'

/** hier(7): directories that all programs share; they stay root's. */
const SHARED =
  /^\/(?:bin|boot|dev|etc|home|lib\d*|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|usr(?:\/.*)?|var(?:\/(?:cache|lib|local|lock|log|mail|opt|run|spool|tmp))?)?$/

/** The remedy for a path that `rehearse` names and the new user may not use. */
export function remedyForPath({ kind, path }: Question, { wanted, root }: Plan): string {
  const there = root ? join(root.path, path) : path
  try {
    const closed = closedFolder(there, wanted) ?? closedFolder(realpathSync(there), wanted)
    const isInside = (path: string) => !root || !relative(root.path, path).startsWith('..')
    // a link leads elsewhere in the chroot than out here
    if (!isInside(closed ?? realpathSync(there))) return GENERAL
    const remedy =
      closed === undefined ? remedyForFile(there, kind === 'write', wanted) : remedyForFolder(closed, wanted)
    return remedy ?? GENERAL
  } catch {
    return GENERAL // this process may not look there, or the path is gone
  }
}

/** The remedy for a path that does not exist. For a file that the server creates later, its folder is the one to
 * name. */
export function remedyForAbsent({ kind, path }: Question, { wanted, root }: Plan): string {
  if (root && path.startsWith(`${root.path}/`) && attempt(() => realpathSync(path)) !== undefined)
    return `write ${showPath(path.slice(root.path.length))}, which is that path inside the chroot`
  const create = root ? 'create it inside the chroot' : 'create it'
  if (kind !== 'write') return create
  const there = root ? join(root.path, path) : path
  const folder = attempt(() => realpathSync(dirname(there)))
  if (folder !== undefined && !SHARED.test(folder))
    return `${create}, or name the folder in which the server creates it: ${showPath(dirname(path))}`
  const word = shellWord(there)
  return word === undefined ? create : `${create}; a folder: install -d -o ${userOf(wanted)} ${word}`
}

/** The first folder that the new user cannot pass through. */
function closedFolder(path: string, wanted: State): string | undefined {
  const closed = foldersAbove(path).find((folder) => !may('x', statSync(folder), wanted))
  return closed === undefined ? undefined : realpathSync(closed)
}

/** The folders above a path, from the top. */
export function foldersAbove(path: string): string[] {
  return path === '/' ? [] : [...foldersAbove(dirname(path)), dirname(path)]
}

/** Whose permissions count (chmod(1)): those of the first class that fits, even if another class may do more. */
function classOf({ uid, gid }: Stats, { user, group, groups }: State): 'u' | 'g' | 'o' {
  if (uid === user.real) return 'u'
  return gid === group.real || groups.includes(gid) ? 'g' : 'o'
}

const bits = { r: 4, w: 2, x: 1 } as const
const shifts = { u: 6, g: 3, o: 0 } as const

function may(letters: string, stats: Stats, wanted: State): boolean {
  const held = stats.mode >> shifts[classOf(stats, wanted)]
  return [...letters].every((letter) => held & bits[letter as keyof typeof bits])
}

function remedyForFolder(folder: string, wanted: State): string | undefined {
  const word = shellWord(folder)
  const who = classOf(statSync(folder), wanted)
  const line = who === 'o' ? `, or ${lineForGroup(word, 'x', wanted)}` : ''
  return word && `open the folder above it to user ${userOf(wanted)}: chmod ${who}+x ${word}${line}`
}

function remedyForFile(path: string, writes: boolean, wanted: State): string | undefined {
  const word = shellWord(path)
  const real = realpathSync(path)
  if (OF_ROOT.test(real)) return NEVER
  const stats = statSync(path)
  const letters = writes ? (stats.isDirectory() ? 'wx' : 'w') : 'r'
  if (word === undefined || may(letters, stats, wanted)) return undefined
  const who = classOf(stats, wanted)
  if (who !== 'o') return `give user ${userOf(wanted)} the permission: chmod ${who}+${letters} ${word}`
  if (writes && SHARED.test(real))
    return `name a folder of the server's own: install -d -o ${userOf(wanted)} ${join(real, 'NAME')}`
  return writes
    ? `give it to user ${userOf(wanted)}: chown ${userOf(wanted)} ${word}`
    : `read it before harden(), or let user ${userOf(wanted)} read it: ${lineForGroup(word, letters, wanted)}`
}

const userOf = ({ user }: State): string => nameOf('user', user.real)

function lineForGroup(word: string | undefined, letters: string, { group }: State): string {
  return `chgrp ${nameOf('group', group.real)} ${word} && chmod g+${letters} ${word}`
}
