/**
 * A process as root sees it from another one. Written for the tests alone: it shares nothing with lib/, so that no
 * mistake can hide another.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

export interface Task {
  tid: number
  name: string
  uid: string
  gid: string
  groups: string
  inheritable: string
  permitted: string
  effective: string
  bounding: string
  ambient: string
  noNewPrivs: string
}

function line(status: string, name: string): string {
  const found = status.split('\n').find((text) => text.startsWith(`${name}:`))
  if (found === undefined) throw new Error(`no line ${name}`)
  return found
    .slice(name.length + 1)
    .trim()
    .replace(/\s+/g, ' ')
}

export function task(pid: number, tid: number | string): Task {
  const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1')
  return {
    tid: Number(tid),
    name: line(status, 'Name'),
    uid: line(status, 'Uid'),
    gid: line(status, 'Gid'),
    groups: line(status, 'Groups'),
    inheritable: line(status, 'CapInh'),
    permitted: line(status, 'CapPrm'),
    effective: line(status, 'CapEff'),
    bounding: line(status, 'CapBnd'),
    ambient: line(status, 'CapAmb'),
    noNewPrivs: line(status, 'NoNewPrivs'),
  }
}

/** What is found of a process or a thread; nothing, if it ends meanwhile. */
export function ifThere<T>(find: () => T): T[] {
  try {
    return [find()]
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}

const ofEach = <T>(pid: number, find: (tid: string) => T): T[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((tid) => ifThere(() => find(tid)))

export const tasks = (pid: number): Task[] => ofEach(pid, (tid) => task(pid, tid))

/** The child processes of all its threads. */
export function children(pid: number): number[] {
  const lists = ofEach(pid, (tid) => readFileSync(`/proc/${pid}/task/${tid}/children`, 'latin1'))
  return (lists.join(' ').match(/\d+/g) ?? []).map(Number)
}

/** What every thread has in common; an empty list of names where the threads differ would be no answer, so it throws. */
export function common(pid: number): Omit<Task, 'tid' | 'name'> {
  const all = tasks(pid).map(({ tid: _tid, name: _name, ...rest }) => JSON.stringify(rest))
  const kinds = [...new Set(all)]
  if (kinds.length !== 1) throw new Error(`the threads of ${pid} differ: ${kinds.join(' | ')}`)
  return JSON.parse(kinds[0] as string)
}

/** 'root cwd' of the threads, each once. */
export function roots(pid: number): string[] {
  const link = (tid: string, name: string) => readlinkSync(`/proc/${pid}/task/${tid}/${name}`)
  return [...new Set(ofEach(pid, (tid) => `${link(tid, 'root')} ${link(tid, 'cwd')}`))]
}

/** All that shows of a process, each thread and descriptor by its number. */
function snapshot(pid: number) {
  const threads = Object.fromEntries(
    readdirSync(`/proc/${pid}/task`).map((tid) => {
      const path = `/proc/${pid}/task/${tid}`
      const status = readFileSync(`${path}/status`, 'latin1')
      const wanted = /^(?:Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp|Sig(?:Blk|Pnd)):.*$/gm
      const children = readFileSync(`${path}/children`, 'latin1')
      const links = [readlinkSync(`${path}/root`), readlinkSync(`${path}/cwd`)]
      return [tid, [...(status.match(wanted) ?? []), ...links, children]]
    }),
  )
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return {
    threads,
    descriptors: readdirSync(`/proc/${pid}/fd`).map((fd) => `${fd} ${readlinkSync(`/proc/${pid}/fd/${fd}`)}`),
    ignored: line(status, 'SigIgn'),
    caught: line(status, 'SigCgt'),
    pending: line(status, 'ShdPnd'),
    // of /proc/PID/environ: the process's user while it is dumpable, and root otherwise (proc(5))
    owner: statSync(`/proc/${pid}/environ`).uid,
  }
}

export type Snapshot = ReturnType<typeof snapshot>

/** How often each thread has been scheduled; undefined unless all of them sleep. */
export function rest(pid: number): string | undefined {
  const all = readdirSync(`/proc/${pid}/task`).map((tid) => {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1')
    const switches = [line(status, 'voluntary_ctxt_switches'), line(status, 'nonvoluntary_ctxt_switches')]
    return line(status, 'State').startsWith('S') ? `${tid} ${switches}` : undefined
  })
  return all.includes(undefined) ? undefined : all.join()
}

/** A snapshot in which no thread has done anything from its beginning to its end: what differs in two has been changed. */
export async function settled(pid: number): Promise<Snapshot> {
  for (;;) {
    try {
      const before = rest(pid)
      const now = snapshot(pid)
      if (before !== undefined && rest(pid) === before) return now
    } catch (error) {
      // a thread or a descriptor that was there a moment ago, unless the process is gone
      if (!existsSync(`/proc/${pid}/root`)) throw error
    }
    await new Promise(setImmediate)
  }
}

export const mask = (...capabilities: number[]): string =>
  capabilities
    .reduce((set, capability) => set | (1n << BigInt(capability)), 0n)
    .toString(16)
    .padStart(16, '0')

export const CAP_NET_BIND_SERVICE = 10
export const CAP_NET_RAW = 13
export const NONE = mask()

/** Each thread of what was hardened to user nobody with cap_net_bind_service+ep. */
export const hardened = {
  uid: '65534 65534 65534 65534',
  gid: '65534 65534 65534 65534',
  groups: '',
  inheritable: NONE,
  permitted: mask(CAP_NET_BIND_SERVICE),
  effective: mask(CAP_NET_BIND_SERVICE),
  bounding: mask(CAP_NET_BIND_SERVICE),
  ambient: NONE,
  noNewPrivs: '1',
}
