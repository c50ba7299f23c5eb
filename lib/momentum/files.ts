/** The files of a configuration on the disk. No descriptor stays open. */
import { closeSync, constants, existsSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { type HardenError, showPath } from '../errors'
import { placeOf } from '../root'
import { type Source, wrongAt } from './tokens'

export interface Directory {
  readonly path: string
  /** Paths in lexical order, without names that begin with a dot; directories are included. */
  readonly files: readonly string[]
}

/** @throws an error of Node's, or that the path is neither a file nor a directory */
export function open(path: string): Source | Directory {
  // a FIFO must not make root wait
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = fstatSync(descriptor, { bigint: true })
    if (stats.isDirectory()) return { path, files: list(path) }
    if (!stats.isFile()) throw new Error('it is neither a file nor a directory')
    const text = readFileSync(descriptor, 'utf8')
    // a byte order mark, which some editors write, is not part of the text
    return { path, place: placeOf(stats), text: text.startsWith('\ufeff') ? text.slice(1) : text }
  } finally {
    closeSync(descriptor)
  }
}

export const isDirectory = (found: Source | Directory): found is Directory => Object.hasOwn(found, 'files')

/** @throws HardenError ERR_HARDEN_CONFIG if the path cannot be read or is not a file */
export function openFile(path: string): Source {
  const nothing = { path, text: '' }
  let found: Source | Directory
  try {
    found = open(path)
  } catch (error) {
    throw unreadable(nothing, 0, path, error)
  }
  if (!isDirectory(found)) return found
  throw wrongAt(nothing, 0, `${showPath(path)} is a directory`, 'name the file')
}

/** undefined: nothing is there. @throws HardenError as openFile() */
export function openIfThere(path: string): Source | undefined {
  try {
    return openFile(path)
  } catch (error) {
    if (isMissing((error as HardenError).cause)) return undefined
    throw error
  }
}

function list(path: string): string[] {
  return readdirSync(path)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => `${path}/${name}`)
}

/** Whether an error says that nothing of this name exists. */
export const isMissing = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '')

/** The last directory on the path that exists. */
export function folderThere(path: string): string {
  let found = dirname(resolve(path))
  while (!existsSync(found)) found = dirname(found)
  return found
}

/** @param by the file that names it, and `at` the place in that file */
export function unreadable(by: Pick<Source, 'path' | 'text'>, at: number, path: string, error: unknown): HardenError {
  const { code, message, syscall, errno } = error as NodeJS.ErrnoException
  return wrongAt(
    by,
    at,
    `${showPath(path)} cannot be read: ${code ?? message}`,
    'see that it is a file, and that this user may read it',
    { syscall, errno, cause: error },
  )
}
