/**
 * Promise: rehearsed, and unchanged or done. Whatever a seccomp filter forbids is found before anything changes, even
 * if the filter is on one thread alone: a thread's status tells how many filters it has (Seccomp_filters, since Linux
 * 5.9). A filter that kills for a call of the commit alone kills the rehearsing child first; kcmp(2) is then left out.
 * Each system call that harden() makes is refused in turn, with one errno and another, or ends the thread or the
 * process that makes it (seccomp(2)).
 *
 * strace(1) records which calls these are. Each has a row below, written by hand, and no other call has one: who makes
 * it first, in which step, and why harden() may continue if it fails.
 *
 * The filter is installed late, when everything is loaded: under most of these Node could not start.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { getSystemErrorName, isDeepStrictEqual } from 'node:util'
import type { Test } from 'tap'
import type { HardenReport } from '../../lib/report'
import { live, nodeHeaders } from '../live/live'
import {
  CAP_NET_BIND_SERVICE,
  common,
  hardened,
  mask,
  NONE,
  roots,
  type Snapshot,
  settled,
  tasks,
} from '../live/outside'
import { Refusal, type Subject, start } from '../live/subject'

const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
chmodSync(folder, 0o755)
process.on('exit', () => rmSync(folder, { recursive: true }))
/** Nothing that root loads lies in it: that would be a danger, and the warning makes calls of its own. */
const jail = join(folder, 'jail')
mkdirSync(jail)
chmodSync(jail, 0o777)
const library = join(folder, 'filters.node')

/** Of the name services the one that every machine has: others make calls of their own. */
const services = join(folder, 'nsswitch.conf')
writeFileSync(services, 'passwd: files\ngroup: files\n')
const mount = `mount --bind ${services} /etc/nsswitch.conf && exec "$@"`
const wrapper = ['unshare', '--mount', '--', 'sh', '-c', mount, 'sh']

/** Every step of the list is due. */
const options = {
  user: 65534,
  group: 65534,
  supplementalGroups: [8],
  capabilities: 'cap_net_bind_service+ep',
  ambientCapabilities: 'cap_net_bind_service',
  chroot: jail,
  rehearse: { read: ['/'], write: ['/'], bind: [25] },
}

const kept = mask(CAP_NET_BIND_SERVICE)
const asAsked = { ...hardened, groups: '8', inheritable: kept, ambient: kept }

/** Without these there is no Node, or no answer from it; and the last is repeated by the child until it is killed. */
const leftOut = [
  ...['futex', 'epoll_pwait', 'epoll_ctl', 'recvmsg', 'sendmsg', 'write', 'restart_syscall', 'rt_sigreturn'],
  ...['mmap', 'munmap', 'mprotect', 'madvise', 'brk'],
  'exit_group',
]

interface Row {
  /** Who makes this call first. */
  by: 'main' | 'child'
  step: string
  syscall: string
  /** Why it does no harm that it is refused. */
  harmless?: string
  /** The errno with which it does harm nevertheless. */
  unless?: string
  /** Of the refusal, where it is not the filter's. */
  errno?: string
  /** The child that is killed for it is made again, and does without. */
  survived?: true
}

const rows: Record<string, Row> = {}
const main = (step: string, syscall: string, calls: string, more: Partial<Row> = {}): void => {
  for (const call of calls.split(' ')) rows[call] = { by: 'main', step, syscall, ...more }
}
const child = (step: string, syscall: string, calls: string, more: Partial<Row> = {}): void => {
  for (const call of calls.split(' ')) rows[call] = { by: 'child', step, syscall, ...more }
}

main('SIGUSR1', 'rt_sigaction', 'rt_sigaction')
main('proc', 'open', 'openat read close')
for (const call of ['fstatfs', 'faccessat', 'getgroups']) main('proc', call, call)
main('proc', 'prctl', 'PR_GET_SECUREBITS')
main('proc', 'open', 'gettid', { errno: 'ENOENT' }) // there is no task of the number that it did not get
main('', '', 'capget', { harmless: 'libcap asks for the version' })
main('', '', 'newfstatat', { harmless: "the name service: the account's groups are left out" })
main('descriptors', 'readlink', 'lseek getdents64 readlinkat')
main('', '', 'fcntl', { harmless: 'how a file is open that may be worth a finding' })
main('proc', 'statx', 'statx')
main('', '', 'getsockopt', { harmless: 'a socket that is none of those that are worth knowing of' })
main('', '', 'getpeername getsid getpgid getpgrp getxattr access readlink', {
  harmless: 'a finding is left out',
})
main('signal mask', 'rt_sigprocmask', 'rt_sigprocmask')
for (const call of ['pipe2', 'clone', 'wait4']) main('rehearsal child', call, call)
main('', '', 'poll', { harmless: 'the wait is made without it' })
child('compare', 'kcmp', 'kcmp', {
  harmless: 'it is not to be had everywhere; the threads are compared without',
  survived: true,
})
main('park', 'rt_tgsigqueueinfo', 'getpid', { errno: 'EINVAL' }) // the signal is for a process that does not exist
child('park', 'rt_tgsigqueueinfo', 'rt_tgsigqueueinfo')
child('compare', 'umask', 'umask', { harmless: 'it is needed where kcmp(2) is refused' })
child('chroot', 'fchdir', 'fchdir')
child('chroot', 'chroot', 'chroot')
child('chroot', 'chdir', 'chdir')
child('dumpable', 'prctl', 'PR_SET_DUMPABLE')
child('bounding', 'prctl', 'PR_CAPBSET_DROP')
child('setgroups', 'setgroups', 'setgroups')
child('setresgid', 'setresgid', 'setresgid')
child('keepcaps', 'prctl', 'PR_SET_KEEPCAPS')
child('setresuid', 'setresuid', 'setresuid')
child('capset', 'capset', 'capset')
child('ambient', 'prctl', 'PR_CAP_AMBIENT')
child('no_new_privs', 'prctl', 'PR_SET_NO_NEW_PRIVS')
child('descriptors', 'getcwd', 'getcwd')
child('write', 'faccessat2', 'faccessat2', { harmless: 'it is asked in the older way', unless: 'EACCES' })
child('bind', 'bind', 'socket setsockopt bind')
child('read back', 'read', 'PR_GET_DUMPABLE')

/** By the step. */
const codes: Record<string, string> = {
  proc: 'PROC',
  descriptors: 'PROC',
  write: 'ACCESS',
  bind: 'ACCESS',
  park: 'THREAD_UNREACHABLE',
}

const errnos = ['EPERM', 'ENOSYS', 'EACCES'] as const
type Fault = (typeof errnos)[number] | 'kills the thread' | 'kills the process'

/** seccomp(2), SECCOMP_RET_... */
const actionOf = (fault: Fault): number =>
  fault === 'kills the process' ? 0x80000000 : fault === 'kills the thread' ? 0 : 0x00050000 | constants.errno[fault]

type Outcome = string
const SIGSYS = 'signal 31'
const differs = (whose: string): Outcome => `refused: THREAD_DIFFERS compare read ${whose}`

/** A filter that main is under, and so the child. */
function ofMain(call: string, fault: Fault): Outcome[] {
  const { by, step, syscall, harmless, unless, errno = fault, survived } = rows[call] as Row
  if (fault === 'kills the thread' || fault === 'kills the process') {
    if (survived) return ['done']
    if (by === 'child') return [`refused: NOT_PERMITTED ${step} ${syscall} ${SIGSYS}`]
    const ended = fault === 'kills the thread' ? 'main ended, nothing changed' : 'gone: SIGSYS'
    // poll is not called where the child has ended already
    return call === 'poll' ? ['done', ended] : [ended]
  }
  // Node's own, for which libuv knows no other way after this one
  if (call === 'statx' && fault === 'EACCES') return ['refused: NOT_PERMITTED chroot fstat EACCES']
  const refused = `refused: ${codes[step] ?? 'NOT_PERMITTED'} ${step} ${syscall} ${errno}`
  return harmless && fault !== unless ? ['done'] : [refused]
}

/** That main alone is under: its status tells how many filters it has. */
const ofMainAlone = (call: string, fault: Fault): Outcome[] =>
  ofMain(call, fault).map((outcome) => (outcome === 'done' ? differs('another') : outcome))

/** That one other thread is under: when it says who it is; else it is told by its status. */
function ofOther(call: string, fault: Fault): Outcome[] {
  const { by } = rows[call] as Row
  if (by === 'child') return [differs('its own')]
  if (fault === 'kills the process') return ['gone: SIGSYS']
  if (fault === 'kills the thread') return ['refused: THREAD_UNREACHABLE park rt_tgsigqueueinfo ETIMEDOUT']
  // it does not know that it is meant
  if (call === 'gettid') return ['refused: THREAD_UNREACHABLE park rt_tgsigqueueinfo ETIMEDOUT its own']
  return [differs('its own')]
}

type Rule = readonly [call: number, argument: number, action: number]

/** Puts a filter on; the thread that it is on. */
type Place = (subject: Subject, rule: Rule) => Promise<unknown>

const everyThread: Place = (subject, rule) => subject.ask('native', 'everyThread', ...rule)
const thisThread: Place = (subject, rule) => subject.ask('native', 'thisThread', ...rule)
const newThread: Place = (subject, rule) => subject.ask('native', 'newThread', ...rule)
const worker: Place = async (subject, rule) => {
  await subject.ask('startWorkers', 1)
  return subject.ask('askWorker', 0, 'native', library, 'thisThread', ...rule)
}

/** As in a container: every thread is under some filter, so that of one alone does not show in the seccomp mode. */
const among =
  (place: Place): Place =>
  async (subject, rule) => {
    await everyThread(subject, [numbers.reboot as number, -1, actionOf('EPERM')])
    return place(subject, rule)
  }

interface Column {
  name: string
  place: Place
  expected: (call: string, fault: Fault) => Outcome[]
  faults: readonly Fault[]
  /** Of the calls that the other threads make. */
  ofOthers?: true
}

const kills = ['kills the thread', 'kills the process'] as const
const columns: Column[] = [
  { name: 'every thread', place: everyThread, expected: ofMain, faults: [...errnos, ...kills] },
  { name: 'main alone', place: among(thisThread), expected: ofMainAlone, faults: ['EPERM', 'kills the thread'] },
  {
    name: 'main alone, and the others have none',
    place: thisThread,
    expected: ofMainAlone,
    faults: ['EPERM'],
    ofOthers: true,
  },
  {
    name: 'a native thread alone',
    place: among(newThread),
    expected: ofOther,
    faults: ['EPERM', ...kills],
    ofOthers: true,
  },
  {
    name: 'a native thread alone, and the others have none',
    place: newThread,
    expected: ofOther,
    faults: ['EPERM', ...kills],
    ofOthers: true,
  },
  { name: 'a Worker alone', place: among(worker), expected: ofOther, faults: ['EPERM'], ofOthers: true },
]

/** By name: of system calls, and of what prctl(2) is asked for. */
let numbers: Record<string, number> = {}

function readNumbers(): Record<string, number> {
  const headers = ['-include', 'sys/syscall.h', '-include', 'sys/prctl.h']
  const text = execFileSync('cc', ['-E', '-dM', ...headers, '-x', 'c', '/dev/null'], { encoding: 'latin1' })
  const defined = text.matchAll(/^#define (?:__NR_(\w+)|(PR_\w+)) (\d+)$/gm)
  return Object.fromEntries([...defined].map(([, call, operation, number]) => [call ?? operation, Number(number)]))
}

function ruleOf(call: string, fault: Fault): Rule {
  const [number, argument] = call.startsWith('PR_') ? [numbers.prctl, numbers[call]] : [numbers[call], -1]
  if (number === undefined || argument === undefined) throw new Error(`nobody knows the number of ${call}`)
  return [number, argument, actionOf(fault)]
}

/** Without the report's table, which asks what standard output is. */
const harden = (subject: Subject): Promise<HardenReport> => subject.ask('hardenByCopy', 'privdrop', options)

/** A process in which whatever is loaded or started once has been. */
async function ready(t: Test): Promise<Subject> {
  const subject = await start(t, { wrapper })
  await subject.ask('warmPool', 4)
  await subject.ask('listen', 0, '127.0.0.1') // else that is a danger, and the warning makes calls of its own
  await subject.ask('plan', options)
  await subject.ask('load', library)
  return subject
}

/** The calls that harden() makes: main and the child, and the other threads. */
async function census(t: Test): Promise<{ all: Set<string>; others: Set<string> }> {
  const subject = await ready(t)
  const known = tasks(subject.pid).map(({ tid }) => tid)
  const log = join(folder, 'log')
  const strace = spawn('strace', ['-f', '-p', String(subject.pid), '-o', log], { stdio: ['ignore', 'ignore', 'pipe'] })
  t.teardown(() => strace.kill('SIGKILL'))
  await once(strace.stderr, 'data') // 'strace: Process 4711 attached with 11 threads'
  const report = await harden(subject)
  const dangers = report.findings.filter(({ level }) => level === 'danger')
  t.strictSame(dangers, [], 'no warning, which would make calls of its own')
  strace.kill('SIGTERM')
  await once(strace, 'close')
  subject.kill()
  const [all, others] = [new Set<string>(), new Set<string>()]
  for (const line of readFileSync(log, 'latin1').split('\n')) {
    const [, tid, call, operation] = /^(\d+) +(\w+)\((PR_\w+)?/.exec(line) ?? []
    if (!call || leftOut.includes(call)) continue
    all.add(operation ?? call)
    if (Number(tid) !== subject.pid && known.includes(Number(tid))) others.add(operation ?? call)
  }
  return { all, others }
}

/** What the refused call itself leaves over: what it would have closed or reaped; and the thread that the filter has ended. */
function withoutLeftovers(state: Snapshot, call: string, tid: unknown): object {
  const threads = Object.entries(state.threads)
    .filter(([number]) => Number(number) !== tid)
    .map(([number, lines]) => [number, call === 'wait4' ? lines.slice(0, -1) : lines])
  return { ...state, threads, descriptors: call === 'close' ? undefined : state.descriptors }
}

/** Resolves when main has been ended and all other threads rest: none is left to answer. */
async function mainEnded({ pid }: Subject, over: () => boolean): Promise<void> {
  while (!over() && !hasNoMain(pid)) await new Promise((resolve) => setTimeout(resolve, 20))
}

function hasNoMain(pid: number): boolean {
  try {
    const threads = tasks(pid)
    const state = (tid: number) => /^State:\t(.)/m.exec(readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1'))?.[1]
    return threads.length > 1 && threads.every(({ tid }) => state(tid) === (tid === pid ? 'Z' : 'S'))
  } catch {
    return false // it is gone as a whole, or on its way
  }
}

async function run(t: Test, { place, name }: Column, call: string, fault: Fault): Promise<Outcome> {
  const subject = await ready(t)
  const tid = await place(subject, ruleOf(call, fault))
  if (typeof tid !== 'number' || tid < 0) return 'no filter'
  const before = await settled(subject.pid)
  const threads = common(subject.pid)
  let over = false
  const watchdog = setTimeout(() => subject.kill(), 60_000)
  const answer = await Promise.race([harden(subject).catch((error: unknown) => error), mainEnded(subject, () => over)])
  over = true
  clearTimeout(watchdog)
  try {
    if (answer === undefined)
      return isDeepStrictEqual(common(subject.pid), threads) ? 'main ended, nothing changed' : 'main ended'
    if (answer instanceof Refusal) {
      const { code, step, syscall, errno, message, remedy, tid: about } = answer.fields
      const its = fault === 'kills the thread' && name.includes('native') ? tid : undefined
      const [was, is] = [before, await settled(subject.pid)].map((state) => withoutLeftovers(state, call, its))
      return [
        `refused: ${String(code).replace('ERR_HARDEN_', '')} ${step} ${syscall}`,
        errno && ` ${getSystemErrorName(Number(errno))}`,
        String(message).includes(`ended by ${SIGSYS}`) && ` ${SIGSYS}`,
        about && (about === tid ? ' its own' : ' another'),
        !remedy && ', no remedy',
        !isDeepStrictEqual(is, was) && `, but ${JSON.stringify(was)} became ${JSON.stringify(is)}`,
      ]
        .filter(Boolean)
        .join('')
    }
    if (answer instanceof Error) {
      const { signal, stderr } = await subject.ended
      const [, step, syscall, about, found] =
        /^privdrop: fatal: step '(.+)' \((\w+)\) in thread (\d+): wanted success, found (.+); the process ends because it would be half privileged\n$/.exec(
          stderr,
        ) ?? []
      const right = signal === 'SIGABRT' && Number(about) === tid
      return right ? `aborted: ${step} ${syscall} ${found}` : `gone: ${signal}${stderr && ` ${stderr}`}`
    }
    const right = isDeepStrictEqual(common(subject.pid), asAsked) && roots(subject.pid).join() === `${jail} ${jail}`
    return right ? 'done' : `done, but ${JSON.stringify(tasks(subject.pid))}`
  } finally {
    subject.kill()
  }
}

live('a service whose filter kills for what it does not need', ['root', 'setpriv', 'cc'], async (t) => {
  const filter = join(folder, 'filter')
  execFileSync('cc', ['-o', filter, join(__dirname, '../children/filter.c')])
  const numbers = readNumbers()
  // all that a hardened process does not need: systemd.exec(5), SystemCallFilter=~@privileged, and capset allowed
  const killed = ['setresuid', 'setresgid', 'setgroups', 'setuid', 'setgid', 'chroot', 'kcmp']
  const filters = killed.flatMap((call) => [filter, String(numbers[call]), '0'])
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups']
  const capability = ['--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service']
  const subject = await start(t, { wrapper: ['setpriv', ...user, ...capability, '--no-new-privs', '--', ...filters] })
  await subject.ask('warmPool', 4)
  const { report } = await subject.ask('harden', { capabilities: 'cap_net_bind_service+ep' })
  t.ok(report.threads.length > 4)
  t.match(common(subject.pid), {
    uid: hardened.uid,
    gid: hardened.gid,
    groups: '',
    permitted: kept,
    effective: kept,
    ambient: NONE,
  })
})

live('each system call is refused, or kills', ['root', 'strace', 'cc'], async (t) => {
  const flags = ['-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-pthread', '-I', nodeHeaders]
  execFileSync('cc', [...flags, '-o', library, join(__dirname, 'filters.c')])
  numbers = readNumbers()
  const { all, others } = await census(t)
  for (const call of all) if (!rows[call]) t.fail(`harden() makes the call ${call}: what is to become of it?`)
  for (const call of Object.keys(rows))
    if (!all.has(call)) t.fail(`there is a row for ${call}, a call that harden() does not make`)

  const queue = columns.flatMap((column) =>
    [...(column.ofOthers ? others : all)]
      .filter((call) => rows[call])
      .flatMap((call) => column.faults.map((fault) => ({ column, call, fault }))),
  )
  const seen = new Map<string, number>()
  const judge = async ({ column, call, fault }: (typeof queue)[number]) => {
    const outcome = await run(t, column, call, fault)
    const wanted = column.expected(call, fault)
    if (!wanted.includes(outcome)) t.fail(`${call} ${fault}: ${column.name}`, { wanted, outcome })
    t.comment(`${call.padEnd(20)} ${fault.padEnd(17)} ${column.name.padEnd(47)} ${outcome}`)
    const kind = /^\w+/.exec(outcome)?.[0] ?? ''
    seen.set(kind, (seen.get(kind) ?? 0) + 1)
  }
  const lane = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await judge(next)
  }
  await Promise.all([lane(), lane(), lane()])
  t.comment([...seen].map(([kind, times]) => `${kind}: ${times}`).join(', '))
  for (const kind of ['refused', 'done', 'gone', 'main']) t.ok(seen.get(kind), `some are ${kind}`)
})
