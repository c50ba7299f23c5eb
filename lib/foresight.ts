/**
 * What will break as the new user, and what of root's next start that user can exchange: the rehearsing child already
 * is that user and answers. Every question here becomes a finding, never a refusal.
 */
import { existsSync, readlinkSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { foldersAbove } from './access'
import type { Finding, Question, Scene } from './contract'
import { errnoName, lacksFiles, moreFiles, showPath } from './errors'
import { attempt, danger, exchangedThrough, listSome, note } from './hazards'
import type { Answer } from './native'
import { filesRead, foldersSearched } from './places'

/** A question and the rehearsing child's answer. */
export interface Answered {
  readonly question: Question
  readonly answer: Answer
}

/** A bound: for each, the rehearsing child makes a few system calls. */
const FILES_MAX = 1024

export function questionsAhead(scene: Scene): Question[] {
  const { plan } = scene
  if (plan.wanted.user.real === 0) return []
  const files = program()
  return [...nextStart(scene, files), ...openFiles(scene), ...listeners(scene), ...(plan.root ? [] : reach(files))]
}

const question = (kind: Question['kind'], path: string, number: number, role: string): Question => ({
  kind,
  path,
  number,
  option: undefined,
  role,
})

/** What root runs or reads when this program starts again. */
function nextStart({ platform }: Scene, files: readonly string[]): Question[] {
  const main = process.argv[1] ?? ''
  const folders = isPath(main) ? foldersAbove(main).reverse() : []
  const own = folders.find((folder) => existsSync(join(folder, 'package.json')))
  const paths = new Set([
    ...files,
    ...(own === undefined ? [] : [join(own, 'package.json')]),
    ...folders.map((folder) => join(folder, 'node_modules')),
    ...[process.execPath, ...platform.libraries(), ...filesRead(), ...foldersSearched()].filter(isPath),
  ])
  // sorted, so that the folders that two paths share are walked once
  return [...paths].sort().map((path) => question('exchange', path, 1, ''))
}

const isPath = (path: string): boolean => path.startsWith('/') && !path.includes('\0')

/** The main module, and those that it has loaded. */
function program(): string[] {
  return [...new Set([process.argv[1] ?? '', ...modules().slice(0, FILES_MAX)])].filter(isPath)
}

/** CommonJS modules and addons. ECMAScript modules are not listed. */
function modules(): string[] {
  return typeof require === 'function' && require.cache ? Object.keys(require.cache) : []
}

const filesOf = ({ descriptors }: Scene) => (descriptors ?? []).filter(({ kind }) => kind === 'file')

/** Root appends to a file open for writing again at the next start; and a file that the new user cannot open works only
 * until it is opened again. */
function openFiles(scene: Scene): Question[] {
  const files = filesOf(scene).slice(0, FILES_MAX)
  return files.flatMap(({ descriptor, writable }) => {
    const path = attempt(() => readlinkSync(`/proc/self/fd/${descriptor}`))
    const again = question('reopen', '', descriptor, path ?? '')
    return writable && path && isPath(path) && !path.startsWith('/dev/')
      ? [question('exchange', path, 0, `descriptor ${descriptor}, open for writing`), again]
      : [again]
  })
}

/** Root binds the path again at the next start, and may change its mode. */
function listeners({ descriptors }: Scene): Question[] {
  return (descriptors ?? [])
    .filter(({ kind, name }) => kind === 'listens' && isPath(name))
    .map(({ name }) => question('exchange', name, 0, 'socket'))
}

/** What a running server uses again. */
function reach(files: readonly string[]): Question[] {
  const { env } = process
  const list = (name: string) => (env[name] ?? '').split(':').filter(isPath)
  const written = ['TMPDIR', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR']
  const ofSystemd = ['STATE_DIRECTORY', 'CACHE_DIRECTORY', 'LOGS_DIRECTORY', 'RUNTIME_DIRECTORY']
  return [
    // the directory may have been removed
    question('enter', attempt(() => process.cwd()) ?? '.', 0, 'the working directory'),
    question('enter', process.execPath, 0, 'node itself: fork() and cluster need it'),
    ...files.map((path) => question('read', path, 1, 'modules: a later require(), import() or Worker needs them')),
    ...[...written, ...ofSystemd].flatMap((name) => list(name).map((path) => question('write', path, 0, name))),
    ...list('CREDENTIALS_DIRECTORY').map((path) => question('enter', path, 0, 'CREDENTIALS_DIRECTORY')),
    // for root's HOME there is HARDEN_ENVIRONMENT
    ...(env.HOME === '/root' ? [] : list('HOME').map((path) => question('enter', path, 0, 'HOME'))),
  ]
}

/** @param answered in the order of the questions, without those whose answer is a plain yes */
export function findingsAhead(scene: Scene, answered: readonly Answered[]): Finding[] {
  const own = answered.filter(({ question }) => question.option === undefined)
  const user = scene.plan.wanted.user.real
  return [
    exchangeable(user, own),
    staleSocket(user, own),
    foreignFiles(own),
    outOfReach(user, own),
    othersCanExchange(answered),
    unanswered(own),
    beyondLimits(scene),
  ].filter((finding) => finding !== undefined)
}

/** A path that does not exist cannot be exchanged, and one on procfs names no file. Before Linux 5.8 there is no
 * faccessat2(2). */
function isUnanswered({ question: { kind }, answer: { errno } }: Answered): boolean {
  const { EACCES, ENOENT, ENOTDIR, ELOOP, ENOSYS } = constants.errno
  if (kind === 'exchange') return ![0, ENOENT, ENOTDIR, ELOOP].includes(errno)
  return kind === 'reopen' && ![0, EACCES, ENOENT, ENOSYS].includes(errno)
}

const makeItAnswer =
  'see that their file system answers, and find the seccomp filter or security module that refuses faccessat, faccessat2, statx or openat'

/** The process that asks may be less than root. */
const examineThem =
  'have them examined by a user that may enter their folders (npx privdrop plan --user USER --next-start PATH)'

/** Without this finding, a missing answer would look like a good one. */
function unanswered(answered: readonly Answered[]): Finding | undefined {
  const found = answered.filter(isUnanswered)
  if (found.length === 0) return undefined
  const named = found.map(
    ({ question: { path, role }, answer }) => `${showPath(path || role)} (${errnoName(answer.errno)})`,
  )
  return note(
    'HARDEN_NOT_EXAMINED',
    `whether the new user can exchange or open these is not known: ${listSome(named)}`,
    [...new Set(found.map(({ answer }) => remedyForErrno(errnoName(answer.errno))))].join('; '),
  )
}

function remedyForErrno(errno: string): string {
  if (lacksFiles(errno)) return moreFiles
  return errno === 'EACCES' ? `${examineThem}, or ${makeItAnswer}` : makeItAnswer
}

function beyondLimits(scene: Scene): Finding | undefined {
  if (scene.plan.wanted.user.real === 0) return undefined
  const counts = [[modules().length, 'modules'] as const, [filesOf(scene).length, 'open files'] as const]
  const beyond = counts.filter(([count]) => count > FILES_MAX)
  if (beyond.length === 0) return undefined
  const left = beyond.map(([count, what]) => `${count - FILES_MAX} of ${count} ${what}`)
  return note(
    'HARDEN_NOT_EXAMINED',
    `no more than ${FILES_MAX} are examined, so findings about these may be missing: ${left.join(', ')}`,
    'see that they, and the folders above, belong to root, and that the new user can read them',
  )
}

const isUsers = ({ answer }: Answered): boolean => answer.by === 'user' || answer.by === 'writer'

/** What to give to root: a file that can be written to, or the folder that lets the path lead elsewhere. */
function placeOf(user: number, { question, answer: { by, found } }: Answered): string {
  const path = found ?? question.path
  return by === 'user' ? exchangedThrough(path, user) : path
}

/** "'/srv/app', '/var/log/mail' (descriptor 19, open for writing) and 2 more" */
function listPlaces(user: number, answered: readonly Answered[]): string {
  const places = new Map<string, string>()
  for (const each of answered) {
    const place = placeOf(user, each)
    if (!places.has(place)) places.set(place, each.question.role)
  }
  return listSome([...places].map(([place, role]) => showPath(place) + (role && ` (${role})`)))
}

/** Whether other users can connect to a socket: root may have changed its mode by its path (chmod(2)), which follows a
 * link. */
function isOpenToOthers(path: string): boolean {
  return ((attempt(() => statSync(path).mode) ?? 0) & 0o002) !== 0
}

const giveToRoot = 'give them, and the folders above, to root (chown root, chmod go-w)'
/** The folder may belong to the user for a reason. */
const keepLog = "open a log after harden(), or keep it in a folder of root's, in which the file was made beforehand"

function exchangeable(user: number, answered: readonly Answered[]): Finding | undefined {
  const found = answered.filter(
    (each) => isUsers(each) && (each.question.role !== 'socket' || isOpenToOthers(each.question.path)),
  )
  if (found.length === 0) return undefined
  return danger(
    'HARDEN_NEXT_START',
    `user ${user} can exchange or change what root runs, reads or appends to at the next start: ${listPlaces(user, found)}`,
    found.every(({ question }) => question.role.startsWith('descriptor ')) ? keepLog : `${giveToRoot}; ${keepLog}`,
  )
}

function staleSocket(user: number, answered: readonly Answered[]): Finding | undefined {
  const found = answered.filter(
    (each) => each.question.role === 'socket' && isUsers(each) && !isOpenToOthers(each.question.path),
  )
  if (found.length === 0) return undefined
  return note(
    'HARDEN_UNIX_SOCKET',
    `a Unix socket listens in a folder of user ${user}: ${found.map(({ question }) => showPath(question.path)).join(', ')}; after a crash it is still there at the next start, where listen() says EADDRINUSE`,
    'keep it in a folder that is made anew at each start (systemd: RuntimeDirectory=), or have the service manager open it',
  )
}

/** Open files and devices; permissions do not matter to sockets and pipes. */
function foreignFiles(answered: readonly Answered[]): Finding | undefined {
  // before Linux 5.8 the call does not exist, and fails with ENOSYS
  const foreign = answered.filter(
    ({ question, answer }) => question.kind === 'reopen' && answer.errno === constants.errno.EACCES,
  )
  if (foreign.length === 0) return undefined
  const named = foreign.map(({ question }) => `descriptor ${question.number} (${showPath(question.role)})`)
  return note(
    'HARDEN_DESCRIPTORS',
    `the new user could not open these files, which stay open: ${listSome(named)}`,
    'nothing, if they stay open; code that opens them again by name (a rotated log, LevelDB, SQLite) fails: open ' +
      'these after harden(), in a folder of the new user',
  )
}

/** Only paths that exist and are closed to the new user. */
function outOfReach(user: number, answered: readonly Answered[]): Finding | undefined {
  const roles = new Map<string, string[]>()
  for (const { question, answer } of answered) {
    const { kind, role, path } = question
    if (answer.errno !== constants.errno.EACCES || !['read', 'write', 'enter'].includes(kind)) continue
    roles.set(role, [...(roles.get(role) ?? []), path])
  }
  if (roles.size === 0) return undefined
  const named = [...roles].map(
    ([role, [first = '', ...more]]) => `${showPath(first)}${more.length ? ` and ${more.length} more` : ''} (${role})`,
  )
  return note(
    'HARDEN_OUT_OF_REACH',
    `user ${user} cannot use: ${named.join(', ')}`,
    'make them, and every directory above, accessible to the new user; a program or a node under /root is best installed elsewhere (/opt, /usr/local)',
  )
}

/** A process that can write to a directory can exchange what lies in it (path_resolution(7), rename(2)). */
function othersCanExchange(answered: readonly Answered[]): Finding | undefined {
  const found = answered.find(({ question, answer }) => question.option === 'chroot' && answer.by === 'others')
  if (!found) return undefined
  const path = found.answer.found ?? found.question.path
  return note(
    'HARDEN_WRITABLE_ANCESTOR',
    `users other than root can exchange what the chroot's path names: ${showPath(path)}`,
    `give ${showPath(exchangedThrough(path))} to root (chown root), and take write permission from others (chmod go-w)`,
  )
}
