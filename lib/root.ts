/**
 * The new root directory: opened once, when the plan is made, and identified by that descriptor from then on, because
 * its path may lead elsewhere a moment later.
 */
import { closeSync, fstatSync } from 'node:fs'
import { errnoName, HardenError, lacksFiles, moreFiles, showPath } from './errors'
import { type Addon, type Failure, isFailure } from './native'
import { shellWord } from './shell'

export interface Root {
  /** As the kernel gives it, without links. */
  readonly path: string
  readonly descriptor: number
  /** placeOf() the directory. */
  readonly place: string
}

/** A directory's device and inode (stat(2)), which identify it. */
export const placeOf = ({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string => `${dev}:${ino}`

/** @throws HardenError ERR_HARDEN_NOT_PERMITTED, ERR_HARDEN_CHROOT_PATH */
export function openRoot(path: string, addon: Addon): Root {
  const opened = addon.openRoot(path)
  if (isFailure(opened)) throw notOpened(path, opened)
  try {
    return { ...opened, place: placeOf(fstatSync(opened.descriptor, { bigint: true })) }
  } catch (error) {
    closeSync(opened.descriptor)
    const { syscall = 'fstat', errno = 0 } = error as NodeJS.ErrnoException
    throw notOpened(path, { step: 'chroot', syscall, errno: -errno, signal: 0, tid: 0, item: 0, found: opened.path })
  }
}

function notOpened(path: string, opened: Failure): HardenError {
  const { step, syscall, errno } = opened
  const found = (Object.hasOwn(opened, 'found') && opened.found) || path
  const where = { option: 'chroot', step, syscall, ...(errno && { errno: -errno }), found }
  if (syscall === 'readlink')
    return new HardenError({
      ...where,
      code: 'ERR_HARDEN_CHROOT_PATH',
      message: `chroot ${showPath(path)} leads through ${showPath(found)}, a link on procfs, whose text is not where it leads`,
      remedy: 'name the directory itself',
    })
  return new HardenError({
    ...where,
    code: 'ERR_HARDEN_NOT_PERMITTED',
    message: `chroot ${showPath(path)} cannot be opened: ${showPath(found)}: ${errnoName(errno)}`,
    remedy: remedyFor(errnoName(errno), path, found),
  })
}

function remedyFor(errno: string, path: string, found: string | undefined): string {
  if (lacksFiles(errno)) return moreFiles
  if (errno === 'ENOTDIR') return 'name a directory'
  if (errno === 'ENAMETOOLONG') return 'name it by a shorter path'
  if (errno === 'EACCES')
    return 'let the process enter it (chmod o+x), or start it as a user that may, or with cap_dac_read_search (Solaris: file_dac_search)'
  const word = shellWord(path)
  // not for the target of a link, which mkdir(1) does not follow
  const isNamed = found !== undefined && `${path}/`.startsWith(`${found}/`)
  return errno === 'ENOENT' && isNamed && word !== undefined
    ? `name a directory that exists, or create it: mkdir -p ${word}`
    : 'name a directory that exists'
}

/** Close the unused root. */
export function closeRoot(root: Root | undefined): void {
  if (root) closeSync(root.descriptor)
}

/** Called once the process is inside. Whatever fails now changes nothing about that. */
export function enteredRoot(root: Root | undefined): void {
  if (!root) return
  try {
    closeRoot(root)
    process.chdir('/') // it is there already; Node remembers what process.cwd() was
  } catch {
    // one that the application has put in its place
  }
}
