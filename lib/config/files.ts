/** The files of a configuration, as they are found on the disk. No descriptor stays open. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs'
import type { HardenError } from '../errors'
import { placeOf } from '../root'
import { type Source, showPath, wrongAt } from './tokens'

export interface Directory {
  /** Their paths in lexical order, without those that begin with a dot; directories are among them. */
  readonly files: readonly string[]
}

/** @throws an error of Node's; that it is neither a file nor a directory */
export function open(path: string): Source | Directory {
  // a FIFO must not make root wait
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = fstatSync(descriptor, { bigint: true })
    if (stats.isDirectory()) return { files: list(path) }
    if (!stats.isFile()) throw new Error('it is neither a file nor a directory')
    return { path, place: placeOf(stats), text: readFileSync(descriptor, 'utf8') }
  } finally {
    closeSync(descriptor)
  }
}

function list(path: string): string[] {
  return readdirSync(path)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => `${path}/${name}`)
}

/** @param by the file that asks for it, and where in it */
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
