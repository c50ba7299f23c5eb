/**
 * The new root directory: opened once, when the plan is made, and known by that descriptor from then on. Its path may
 * lead elsewhere a moment later.
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync } from 'node:fs'
import { errnoName, HardenError } from './errors'
import { show } from './options'

export interface Root {
  readonly path: string
  readonly descriptor: number
  /** placeOf() it */
  readonly place: string
  /**
   * Linux: /proc/self/stat. It stays open: in the chroot there may be no /proc, and audit() has to know how many threads
   * there are.
   */
  readonly stat?: number
}

/** Which directory it is, whatever its path is. */
export const placeOf = ({ dev, ino }: Pick<BigIntStats, 'dev' | 'ino'>): string => `${dev}:${ino}`

/** open(2): a handle on the directory itself, which takes no permission to read it. Node has no name for it. */
const O_PATH = 0o10000000

/**
 * On Linux.
 *
 * @throws HardenError ERR_HARDEN_NOT_PERMITTED, step 'chroot'
 */
export function openRoot(path: string): Required<Root> {
  const directory = O_PATH | constants.O_DIRECTORY
  const descriptor = ask(path, 'name a directory that exists', () => openSync(path, directory))
  try {
    return ask(path, 'mount /proc, and raise the limit on open files (RLIMIT_NOFILE, ulimit -n)', () => {
      const place = placeOf(fstatSync(descriptor, { bigint: true }))
      return { path, descriptor, place, stat: openSync('/proc/self/stat', 'r') }
    })
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
}

/** What opens the new root directory, and what to do if it cannot be opened. */
export function ask<T>(path: string, remedy: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    const { errno = 0, syscall = 'open' } = error as NodeJS.ErrnoException
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'chroot',
      step: 'chroot',
      syscall,
      errno,
      message: `chroot ${show(path)} cannot be opened: ${errnoName(-errno)}`,
      remedy,
      cause: error,
    })
  }
}

/** Nothing has come of it. */
export function closeRoot(root: Root | undefined): void {
  if (!root) return
  closeSync(root.descriptor)
  if (root.stat !== undefined) closeSync(root.stat)
}

/** The process is in it. */
export function enteredRoot(root: Root | undefined): void {
  if (!root) return
  process.chdir('/') // it is there already; Node remembers what process.cwd() was
  closeSync(root.descriptor)
}
