/**
 * The new root directory: opened once, when the plan is made, and known by that descriptor from then on. Its path may
 * lead elsewhere a moment later.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { errnoName, HardenError } from './errors'
import { show } from './options'

export interface Root {
  readonly path: string
  readonly descriptor: number
}

/** open(2): a handle on the directory itself, which takes no permission to read it. Node has no name for it. */
const O_PATH = 0o10000000

/** @throws HardenError ERR_HARDEN_NOT_PERMITTED, step 'chroot' */
export function openRoot(path: string): Root {
  try {
    return { path, descriptor: openSync(path, O_PATH | constants.O_DIRECTORY) }
  } catch (error) {
    const { errno = 0 } = error as NodeJS.ErrnoException
    throw new HardenError({
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'chroot',
      step: 'chroot',
      syscall: 'open',
      errno,
      message: `chroot ${show(path)} cannot be opened: ${errnoName(-errno)}`,
      remedy: 'name a directory that exists',
      cause: error,
    })
  }
}

export function closeRoot(root: Root | undefined): void {
  if (root) closeSync(root.descriptor)
}

/**
 * A directory that is open outside the new root leads back out of it (openat(2), fchdir(2)).
 *
 * @throws HardenError ERR_HARDEN_OPEN_DIRECTORY, ERR_HARDEN_PROC
 */
export function refuseOpenDirectories(root: Root | undefined): void {
  if (!root) return
  try {
    const inside = readlinkSync(`/proc/self/fd/${root.descriptor}`)
    for (const descriptor of readdirSync('/proc/self/fd').map(Number)) {
      const path = directoryAt(descriptor)
      if (path !== undefined && !`${path}/`.startsWith(inside === '/' ? '/' : `${inside}/`))
        throw openDirectory(descriptor, path)
    }
  } catch (error) {
    throw error instanceof HardenError ? error : unreadable(error as NodeJS.ErrnoException)
  }
}

/** The path of the directory that is open there; undefined if it is none. */
function directoryAt(descriptor: number): string | undefined {
  try {
    return fstatSync(descriptor).isDirectory() ? readlinkSync(`/proc/self/fd/${descriptor}`) : undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // the descriptor of the listing itself, which is closed by now
    if (code === 'EBADF' || code === 'ENOENT') return undefined
    throw error
  }
}

function openDirectory(descriptor: number, path: string): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_OPEN_DIRECTORY',
    option: 'chroot',
    found: path,
    message: `descriptor ${descriptor} is the open directory ${show(path)}: it would lead out of the chroot`,
    remedy: 'close it before harden(): an fs.Dir, a FileHandle, or an inherited descriptor',
  })
}

function unreadable(error: NodeJS.ErrnoException): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_PROC',
    option: 'chroot',
    step: 'open directories',
    syscall: error.syscall,
    errno: error.errno,
    message: `whether a directory is open cannot be told: ${error.message}`,
    remedy: 'mount procfs on /proc in the pid namespace of the process, or leave out chroot',
    cause: error,
  })
}
