/**
 * The threads of a process as /proc shows them. No thread is stopped; one that exits meanwhile is skipped.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import type { Kind } from '../../contract'
import { placeOf } from '../../root'
import type { Ids, State } from '../../state'
import { capabilityNames } from './capabilities'

/**
 * Paths and names of threads are bytes, mostly UTF-8. The file is opened and closed here: given a path, readFileSync()
 * leaves it open if fstat(2) fails, and with this encoding ends the process if close(2) fails.
 */
export function readText(path: string): string {
  const descriptor = openSync(path, 'r')
  try {
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}

/**
 * What proc_pid_status(5) says of a thread's credentials.
 *
 * @throws Error if a field is missing or malformed: nothing is assumed
 */
export function parseStatus(status: string): Omit<State, 'securebits' | 'jailed'> {
  const field = (name: string): string => {
    const start = status.indexOf(`\n${name}:\t`)
    const end = status.indexOf('\n', start + 1)
    if (start < 0 || end < 0) throw new Error(`the status of the thread has no line ${name}`)
    return status.slice(start + name.length + 3, end)
  }
  const numbers = (name: string): number[] => {
    const words = field(name).match(/\S+/g) ?? []
    if (!words.every((word) => /^\d+$/.test(word))) throw new Error(`the status of the thread has an odd line ${name}`)
    return words.map(Number)
  }
  const ids = (name: string): Ids => {
    const [real, effective, saved, fs, ...more] = numbers(name)
    if (real === undefined || effective === undefined || saved === undefined || fs === undefined || more.length)
      throw new Error(`the status of the thread has an odd line ${name}`)
    return { real, effective, saved, fs }
  }
  const set = (name: string): string[] => {
    const hex = field(name)
    if (!/^[0-9a-f]{1,16}$/.test(hex)) throw new Error(`the status of the thread has an odd line ${name}`)
    return capabilityNames(BigInt(`0x${hex}`))
  }
  const noNewPrivileges = numbers('NoNewPrivs').join()
  if (!/^[01]$/.test(noNewPrivileges)) throw new Error('the status of the thread has an odd line NoNewPrivs')

  return {
    user: ids('Uid'),
    group: ids('Gid'),
    // the kernel sorts by its own ids, which a user namespace may map to another order
    groups: numbers('Groups').sort((a, b) => a - b),
    sets: {
      permitted: set('CapPrm'),
      effective: set('CapEff'),
      inheritable: set('CapInh'),
      bounding: set('CapBnd'),
      ambient: set('CapAmb'),
      limit: undefined,
    },
    noNewPrivileges: noNewPrivileges === '1',
    flags: undefined,
  }
}

/** "Name:\tnode" */
export function nameIn(status: string): string {
  return status.slice('Name:\t'.length, status.indexOf('\n'))
}

/** The rest of the line with this label; undefined: there is no such line. */
export function lineOf(status: string, label: string): string | undefined {
  const start = status.indexOf(`\n${label}:\t`)
  return start < 0 ? undefined : status.slice(start + label.length + 3, status.indexOf('\n', start + 1))
}

interface Mount {
  readonly path: string
  readonly type: string
}

/** proc_pid_mountinfo(5): field 5, and the type after a hyphen. Octal escapes stand for white space. No file system is
 * asked. */
export function listMounts(): Mount[] {
  return readText('/proc/self/mountinfo')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [, , , , path = ''] = line.split(' ')
      const [type = ''] = line.slice(line.indexOf(' - ') + 3).split(' ', 1)
      return {
        path: path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))),
        type,
      }
    })
}

/** The type of the file system that holds this path, if it has no links; '': unknown. */
export function typeOfMount(path: string): string {
  try {
    const isAbove = (mount: Mount) =>
      path === mount.path || path.startsWith(mount.path === '/' ? '/' : `${mount.path}/`)
    const above = listMounts().filter(isAbove)
    return above.sort((a, b) => b.path.length - a.path.length).at(0)?.type ?? ''
  } catch {
    return ''
  }
}

/**
 * Threads grouped by their texts, the main thread's group first.
 *
 * @param root placeOf() the root directory that they should have
 * @param extraOf another part of a status that tells threads apart
 * @throws Error if a thread cannot be read or parsed; ENOENT if there is no such process, or it is hidden
 */
export function readKinds(
  pid: number | 'self',
  root: string | undefined,
  extraOf: (status: string) => string = () => '',
): (Kind & { readonly extra: string })[] {
  const kinds = new Map<string, { state: State; threads: { tid: number; name: string }[]; extra: string }>()
  for (const tid of listThreads(pid)) {
    const folder = `/proc/${pid}/task/${tid}`
    try {
      const status = readText(`${folder}/status`)
      const jailed = root !== undefined && isInside(folder, root)
      const extra = extraOf(status)
      const key = `${partOf(status, 'Uid', 'Gid')}${partOf(status, 'Groups', 'Groups')}${partOf(status, 'CapInh', 'NoNewPrivs')}${jailed}${extra}`
      const kind = kinds.get(key) ?? {
        state: { ...parseStatus(status), securebits: undefined, jailed },
        threads: [],
        extra,
      }
      kind.threads.push({ tid, name: nameIn(status) })
      kinds.set(key, kind)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ESRCH') throw error
    }
  }
  return [...kinds.values()]
}

/** From one line to another: the lines in between belong to credentials too, or do not differ between threads. */
function partOf(status: string, first: string, last: string): string {
  const start = status.indexOf(`\n${first}:`)
  return status.slice(start, status.indexOf('\n', status.indexOf(`\n${last}:`, start) + 1))
}

/** The main thread, whose number is the process's, comes first. */
function listThreads(pid: number | 'self'): number[] {
  const main = pid === 'self' ? process.pid : pid
  // readdirSync() sorts by letters, and numbers begin anew after the highest (pid_max)
  const tids = readdirSync(`/proc/${pid}/task`).map(Number)
  return tids.sort((a, b) => Number(b === main) - Number(a === main) || a - b)
}

/** The kernel begins the path of what is outside with '(unreachable)'. */
function isInside(folder: string, root: string): boolean {
  return placeOf(statSync(`${folder}/root`, { bigint: true })) === root && readlinkSync(`${folder}/cwd`).startsWith('/')
}
