/** Promise: every refusal of the kernel becomes an error with step, call, errno, thread and a remedy. */
import fs from 'node:fs'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import t, { type Test } from 'tap'
import type { Plan, Question } from '../lib/contract'
import * as errors from '../lib/errors'
import type { Failure, Step } from '../lib/native'
import * as addon from '../lib/native'
import {
  allFour,
  plan as anyPlan,
  BIND,
  FULL,
  type Masked,
  mail,
  observed,
  opened,
  RAW,
  root,
  SETGID,
  SETPCAP,
  SETUID,
  SYS_CHROOT,
  stateOf,
  statusOf,
} from './states'

const { EPERM, EACCES, EAGAIN, EMFILE, ENFILE, ENOMEM, EINVAL, ENOENT, ENOSYS, ENOTDIR, EROFS, ESRCH, ETIMEDOUT } =
  constants.errno

/** What /proc says of any thread and of any descriptor; undefined: it has ended, or has been closed. */
interface Texts {
  status?: string
  link?: string
}
let texts: Texts
let paths: string[]

/** user_namespaces(7): whether the namespace denies setgroups(2). */
let setgroups: string | undefined
/** proc_pid_mountinfo(5) */
let mounts = ''

const mocked = t.mockRequire<typeof import('../lib/platform/linux/refusal')>('../lib/platform/linux/refusal', {
  '../lib/errors': errors, // one class for all
  '../lib/native': addon, // for the names of capabilities
  'node:fs': {
    ...fs,
    openSync: (path: string) => path,
    closeSync: () => {},
    readFileSync: (path: string) => {
      if (path === '/proc/self/mountinfo') return mounts
      if (path !== '/proc/self/setgroups') return read('status', path)
      paths.push(path)
      if (setgroups === undefined) throw new Error('ENOENT')
      return setgroups
    },
    readlinkSync: (path: string) => read('link', path),
  },
})
function read(which: keyof Texts, path: string): string {
  paths.push(path)
  const text = texts[which]
  if (text === undefined) throw new Error('ENOENT')
  return text
}

interface Case extends Texts {
  ofPlan?: Plan | undefined
  before?: Masked
  questions?: readonly Question[]
}

function refusalOf(t: Test, failure: Failure, given: Case): errors.HardenError {
  const { ofPlan = anyPlan, before = root, questions = [], ...said } = given
  texts = said
  paths = []
  const plan = 'ofPlan' in given && !given.ofPlan ? undefined : { ...ofPlan, before: observed(before) }
  const error = mocked.explain(failure, plan, questions)
  const { tid, item, step } = failure
  const path = step === 'descriptors' ? `/proc/self/fd/${item}` : `/proc/self/task/${tid}/status`
  t.ok(paths.every((one) => one === path || one === '/proc/self/setgroups'))
  t.ok(error instanceof errors.HardenError)
  return error
}

const syscalls = {
  chroot: 'chroot',
  bounding: 'prctl',
  setgroups: 'setgroups',
  setresgid: 'setresgid',
  keepcaps: 'prctl',
  setresuid: 'setresuid',
  capset: 'capset',
  'keepcaps back': 'prctl',
  ambient: 'prctl',
  no_new_privs: 'prctl',
}
const failure = (step: Step, fields: Partial<Failure>): Failure => ({
  step,
  syscall:
    (syscalls as Partial<Record<string, string>>)[step] ??
    ({ 'rehearsal child': 'clone', memory: 'mmap', proc: 'open' } as Partial<Record<string, string>>)[step] ??
    'other',
  errno: 0,
  signal: 0,
  tid: 0,
  item: 0,
  ...fields,
})

/** What an error says of the place, and nothing that is not known. */
const whereOf = ({ step, syscall, errno, tid }: Failure) => ({
  step,
  syscall,
  ...(errno && { errno: -errno }),
  ...(tid && { tid }),
})

/** One pattern for one text. */
const exactly = (text: string) => new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`)

t.test('which step is refused, and what to do about it', async (t) => {
  const without = (...capabilities: bigint[]): Partial<Masked> => {
    const rest = capabilities.reduce((set, capability) => set & ~capability, FULL)
    return { permitted: rest, effective: rest }
  }
  /** After process.seteuid(): permitted, but not effective. */
  const aside: Partial<Masked> = { effective: 0n, user: { real: 0, effective: 990, saved: 0, fs: 990 } }
  const wants = (sets: Partial<Masked>): Plan => ({ ...anyPlan, wanted: stateOf({ ...mail, ...sets }) })

  const none = { permitted: 0n, effective: 0n }
  /** Where the three usual managers grant a capability: its name, and theirs. */
  const grant = (...names: string[]) => {
    const short = names.map((name) => name.slice('cap_'.length).toUpperCase())
    return `start the process with ${names.join(', ')} (Docker: --cap-add ${short.join(' --cap-add ')}; Kubernetes: securityContext.capabilities.add: [${short.join(', ')}]; systemd: CapabilityBoundingSet= must have it)`
  }
  const asRoot = (...names: string[]) => exactly(grant(...names))
  /** What is set up for another user than root: the capabilities come as ambient ones. */
  const ambient = (names: string[]) =>
    `start the process as root, or with ${names.join(', ')} ambient (systemd: AmbientCapabilities=${names.join(' ').toUpperCase()}; setpriv --ambient-caps +${names.map((name) => name.slice('cap_'.length)).join(',+')}); for development, call harden() only if process.getuid() is 0`
  const asUser = (...names: string[]) => exactly(ambient(names))
  const lacks = (...names: string[]) =>
    exactly(`${grant(...names)}, or leave ${names.join(', ')} out of 'capabilities'`)
  const filtered = (syscall: string) =>
    exactly(
      `find what refuses ${syscall}: a seccomp filter (Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter=${syscall} as the last of these lines), or a security module`,
    )
  const needs: Partial<Record<Step, string>> = {
    chroot: 'cap_sys_chroot',
    bounding: 'cap_setpcap',
    setgroups: 'cap_setgid',
    setresgid: 'cap_setgid',
    setresuid: 'cap_setuid',
  }

  const processes = exactly(
    'raise the limit on processes or memory (pids.max; RLIMIT_NPROC; memory.max), and call harden() again',
  )
  const files = exactly('raise the limit on open files (RLIMIT_NOFILE, ulimit -n)')
  const memory = exactly('raise the limit on memory (RLIMIT_AS, memory.max)')
  const killer = exactly(
    'find out what killed the rehearsing child (out of memory? a watchdog?), and call harden() again',
  )
  const allow = (syscall: string) =>
    exactly(
      `allow ${syscall} in the seccomp filter of the process (Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter=${syscall} as the last of these lines)`,
    )

  const jail: Plan = { ...anyPlan, steps: ['chroot', ...anyPlan.steps] }
  /** What the plan takes and a process without anything lacks. */
  const everything = ['cap_setpcap', 'cap_setgid', 'cap_setuid', 'cap_net_bind_service']

  type Row = [string, Failure, Partial<Masked>, RegExp, Plan?]
  const table: Row[] = [
    // a capability is lacking
    ['no CAP_SETPCAP', failure('bounding', { errno: EPERM }), without(SETPCAP), asRoot('cap_setpcap')],
    ['no CAP_SETGID', failure('setgroups', { errno: EPERM }), without(SETGID), asRoot('cap_setgid')],
    ['no CAP_SETGID', failure('setresgid', { errno: EPERM }), without(SETGID), asRoot('cap_setgid')],
    ['no CAP_SETUID', failure('setresuid', { errno: EPERM }), without(SETUID), asRoot('cap_setuid')],
    ['no CAP_SYS_CHROOT', failure('chroot', { errno: EPERM }), without(SYS_CHROOT), asRoot('cap_sys_chroot'), jail],
    [
      'nothing but others',
      failure('setgroups', { errno: EPERM }),
      { permitted: SETUID, effective: SETUID },
      asRoot('cap_setpcap', 'cap_setgid', 'cap_net_bind_service'),
    ],
    [
      'it lacks, and securebits are set',
      failure('setgroups', { errno: EPERM }),
      { ...none, securebits: 1 },
      asRoot(...everything),
    ],

    // nor is it lacking because the process is no root
    ...([1000, 1001] as const).flatMap((id): Row[] => [
      ['a plain user', failure('setresuid', { errno: EPERM }), { ...none, user: allFour(id) }, asUser(...everything)],
      ['a plain user', failure('bounding', { errno: EPERM }), { ...none, user: allFour(id) }, asUser(...everything)],
    ]),
    [
      'another effective user, and nothing permitted',
      failure('setgroups', { errno: EPERM }),
      { ...none, user: aside.user },
      asUser(...everything),
    ],

    // it is only set aside
    ...(Object.entries(needs) as [Step, string][]).flatMap(([step, name]): Row[] => {
      const refused = failure(step, { errno: EPERM })
      const back = exactly(
        `call harden() before the process changes its effective user (now 990), with which ${name} has gone from the effective set`,
      )
      const raise = new RegExp(`^raise ${name} into the effective set of the process, or start it without$`)
      const user = { real: 990, effective: 990, saved: 990, fs: 990 }
      const rows: [string, Failure, Partial<Masked>, RegExp][] = [
        ["seteuid'd", refused, aside, back],
        ["seteuid'd, securebits set", refused, { ...aside, securebits: 1 }, back],
        ["seteuid'd, the real user is root", refused, { ...aside, user: { ...user, real: 0 } }, back],
        ["seteuid'd, the saved user is root", refused, { ...aside, user: { ...user, saved: 0 } }, back],
        ['no root at all', refused, { ...aside, user }, raise],
        ['the effective user is root', refused, { ...aside, user: { ...user, effective: 0, fs: 0 } }, raise],
      ]
      return rows.map((row): Row => [...row, jail])
    }),
    [
      'another one is permitted, and not effective',
      failure('setresuid', { errno: EPERM }),
      { ...aside, permitted: FULL & ~SETUID },
      asUser('cap_setpcap', 'cap_setgid', 'cap_setuid'),
    ],

    // it is there, and yet
    ['with CAP_SETGID', failure('setgroups', { errno: EPERM }), {}, filtered(syscalls.setgroups)],
    ['with CAP_SETPCAP', failure('bounding', { errno: EPERM }), {}, filtered(syscalls.bounding)],
    ['with CAP_SETGID', failure('setresgid', { errno: EPERM }), {}, filtered(syscalls.setresgid)],
    ['with CAP_SETUID', failure('setresuid', { errno: EPERM }), {}, filtered(syscalls.setresuid)],
    ['with CAP_SYS_CHROOT', failure('chroot', { errno: EPERM }), {}, filtered(syscalls.chroot)],
    ...(['keepcaps', 'keepcaps back', 'ambient', 'no_new_privs', 'chroot', 'setresuid'] as const).flatMap(
      (step): Row[] => [
        [
          'securebits locked',
          failure(step, { errno: EPERM }),
          { securebits: 47 },
          /^start .*without securebits \(now 0x2f;/,
        ],
        ['for whatever reason', failure(step, { errno: EPERM }), {}, filtered(syscalls[step])],
      ],
    ),
    ['for whatever reason', failure('no_new_privs', { errno: EINVAL }), {}, /^run it on a Linux kernel/],
    [
      'nor does a step of no capability need one',
      failure('ambient', { errno: EPERM }),
      none,
      filtered(syscalls.ambient),
    ],

    // the directory of a chroot
    [
      'not to be entered',
      failure('chroot', { syscall: 'chdir', errno: EACCES }),
      {},
      /^let the new user enter .*chmod o\+x/,
    ],
    ['not to be entered, nor allowed', failure('chroot', { syscall: 'chdir', errno: EACCES }), none, /chmod o\+x/],
    ['not to be entered, why ever', failure('chroot', { syscall: 'chdir', errno: EPERM }), {}, filtered('chdir')],
    [
      'not to be entered by this process',
      failure('chroot', { syscall: 'fchdir', errno: EACCES }),
      { effective: 1n },
      /^let this process enter .*chmod o\+x.*cap_dac_read_search$/,
    ],
    ...[1n << 1n, 1n << 2n].map(
      (effective): Row => [
        'it could enter any',
        failure('chroot', { syscall: 'fchdir', errno: EACCES }),
        { effective },
        filtered('fchdir'),
      ],
    ),
    ['not by fchdir, why ever', failure('chroot', { syscall: 'fchdir', errno: EPERM }), none, filtered('fchdir')],
    ['chroot, not chdir', failure('chroot', { errno: EACCES }), {}, filtered(syscalls.chroot)],
    ['EINVAL of a step that sets no id', failure('chroot', { errno: EINVAL }), {}, filtered(syscalls.chroot)],

    // capset
    ['nothing lacks', failure('capset', { errno: EPERM }), {}, filtered(syscalls.capset)],
    ['nothing lacks, securebits set', failure('capset', { errno: EPERM }), { securebits: 1 }, /securebits \(now 0x1;/],
    ['set aside', failure('capset', { errno: EPERM }), aside, filtered(syscalls.capset)],
    [
      'only capset is about what is retained',
      failure('ambient', { errno: EPERM }),
      without(BIND),
      filtered(syscalls.ambient),
    ],
    ['one lacks', failure('capset', { errno: EPERM }), without(BIND), lacks('cap_net_bind_service')],
    [
      'everything lacks: all at once, not one a restart',
      failure('capset', { errno: EPERM }),
      none,
      exactly(`${grant(...everything)}, or leave cap_net_bind_service out of 'capabilities'`),
    ],
    [
      'one lacks that is not even to be effective',
      failure('capset', { errno: EPERM }),
      without(RAW),
      lacks('cap_net_raw'),
      wants({ permitted: RAW, effective: 0n }),
    ],
    [
      'several lack',
      failure('capset', { errno: EPERM }),
      without(BIND, RAW),
      lacks('cap_net_bind_service', 'cap_net_raw'),
      wants({ inheritable: RAW }),
    ],
    [
      'an inheritable one lacks',
      failure('capset', { errno: EPERM }),
      without(RAW),
      lacks('cap_net_raw'),
      wants({ inheritable: RAW }),
    ],

    // ids without a mapping
    ['an unmapped uid', failure('setresuid', { errno: EINVAL }), {}, /^map user 990 in .*uid_map/],
    ['an unmapped gid', failure('setresgid', { errno: EINVAL }), {}, /^map group 991 in .*gid_map/],
    ['an unmapped group', failure('setgroups', { errno: EINVAL }), {}, /^map the groups 8, 12 in .*gid_map/],
    ['EPERM is not about a map', failure('setresgid', { errno: EPERM }), {}, /^(?!.*\bmap\b)/],
    ['an unmapped uid, and no right', failure('setresuid', { errno: EINVAL }), without(SETUID), /uid_map/],

    // limits
    ['RLIMIT_NPROC', failure('rehearsal child', { errno: EAGAIN }), {}, processes],
    ['memory', failure('rehearsal child', { errno: ENOMEM }), {}, /^give the machine more memory or swap/],
    ['RLIMIT_NPROC of the user', failure('setresuid', { errno: EAGAIN }), {}, processes],
    ['memory for groups', failure('setgroups', { errno: ENOMEM }), {}, processes],
    ['open files of the process', failure('read back', { syscall: 'open', errno: EMFILE }), {}, files],
    ['open files of the system', failure('rehearsal child', { syscall: 'pipe2', errno: ENFILE }), none, files],
    ['no memory for the plan', failure('memory', { errno: ENOMEM }), {}, memory],
    ['no memory for the plan, why ever', failure('memory', { errno: EPERM }), { securebits: 1 }, memory],

    // the child was ended
    ['SIGSYS', failure('setresuid', { signal: 31 }), {}, allow('setresuid')],
    ['SIGSYS, and no right', failure('capset', { signal: 31 }), without(BIND), allow('capset')],
    ['SIGSYS in an attempt', failure('bind', { syscall: 'socket', signal: 31 }), {}, allow('socket')],
    ['SIGSYS, where it looks at descriptors', failure('descriptors', { signal: 31 }), {}, allow('other')],
    ['SIGKILL, where it tries to get root back', failure('regain', { signal: 9 }), {}, killer],
    ['SIGKILL, where it opens /proc', failure('proc', { signal: 9 }), {}, killer],
    ['SIGKILL', failure('rehearsal child', { signal: 9 }), {}, killer],
    ['SIGKILL', failure('setgroups', { signal: 9 }), without(SETGID), killer],

    // neither a call that failed nor a signal
    ['no answer', failure('read back', {}), {}, filtered('other')],
    [
      'a security module that refuses signals',
      failure('signal 33', { syscall: 'rt_tgsigqueueinfo', errno: EACCES }),
      {},
      /AppArmor: signal peer/,
    ],
    ['refused for another reason than a limit', failure('signal 33', { errno: EPERM }), {}, filtered('other')],
  ]
  for (const [title, answer, before, remedy, ofPlan] of table) {
    const error = refusalOf(t, answer, { ...(ofPlan && { ofPlan }), before: { ...root, ...before } })
    t.equal(error.code, 'ERR_HARDEN_NOT_PERMITTED', `${answer.step}: ${title}`)
    t.match(error.remedy, remedy)
    const reason = answer.signal
      ? `the child was ended by signal ${answer.signal}`
      : answer.errno
        ? getSystemErrorName(-answer.errno)
        : 'no answer'
    t.equal(
      error.message,
      `the kernel refuses step '${answer.step}': ${answer.syscall}: ${reason}. Remedy: ${error.remedy}.`,
    )
    t.strictSame({ ...error }, { ...whereOf(answer), code: error.code, remedy: error.remedy })
  }
})

t.test('a user namespace that denies setgroups', async (t) => {
  t.teardown(() => {
    setgroups = undefined
  })
  const answer = failure('setgroups', { errno: EPERM })
  for (const [text, securebits, remedy] of [
    ['deny\n', 0, /^the user namespace of the process denies setgroups \(\/proc\/self\/setgroups\)/],
    ['deny\n', 47, /^the user namespace of the process denies setgroups/],
    ['allow\n', 0, /^find what refuses setgroups/],
    ['allow\n', 47, /^start the process without securebits \(now 0x2f;/],
    [undefined, 0, /^find what refuses setgroups/],
  ] as const) {
    setgroups = text
    t.match(
      refusalOf(t, answer, { before: { ...root, securebits } }).remedy,
      remedy,
      `${text} 0x${securebits.toString(16)}`,
    )
  }
})

t.test('a thread that could not be stopped, or is another', async (t) => {
  const named = (name: string): string => statusOf(root, name)
  const differing = statusOf({ ...root, user: { ...allFour(0), effective: 65534 } }, 'odd one')

  interface Row {
    title: string
    answer: Failure
    /** Of the thread; undefined: it has ended. */
    status?: string
    code: string
    message?: RegExp
    remedy: RegExp
    wanted?: string
    found?: string
  }
  const park = { syscall: 'rt_tgsigqueueinfo', tid: 4719 }
  const differs = { code: 'ERR_HARDEN_THREAD_DIFFERS', remedy: /native module.*unshare/ }
  const noMemory = { code: 'ERR_HARDEN_NOT_PERMITTED', remedy: /^raise the limit on memory/ }
  const unreachable = {
    code: 'ERR_HARDEN_THREAD_UNREACHABLE',
    remedy: /^call harden\(\) again; if that does not help, a debugger or a seccomp filter/,
  }
  const lines = (state: string, blocked: string) => `${named('odd one')}State:\t${state}\nSigBlk:\t${blocked}\n`
  const table: Row[] = [
    {
      title: 'not stopped in time',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: named('blocker'),
      ...unreachable,
      message: /4719.*blocker.*ETIMEDOUT/,
    },
    {
      title: 'not stopped in time, and ended meanwhile',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      ...unreachable,
      message: /^a thread that has ended since could not be stopped: rt_tgsigqueueinfo: ETIMEDOUT/,
    },
    {
      title: 'not to be signalled',
      answer: failure('park', { ...park, errno: ESRCH }),
      status: named('node'),
      ...unreachable,
    },
    {
      title: 'it blocks the signal',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: lines('S (sleeping)', '0000000100000000'),
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      remedy: /^find the native module whose thread blocks signal 33, and load it after harden/,
      found: 'S (sleeping)',
    },
    {
      title: 'it blocks others',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: lines('t (tracing stop)', 'fffffffeffffffff'),
      ...unreachable,
      found: 't (tracing stop)',
    },
    {
      title: 'it waits for a disk',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: lines('D (disk sleep)', '0000000100000000'),
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      remedy: /^it waits for a disk or a file system \(D \(disk sleep\)\)/,
      found: 'D (disk sleep)',
    },
    ...[EPERM, EACCES].map((errno) => ({
      title: 'a security module that refuses signals',
      answer: failure('park', { ...park, errno }),
      status: named('node'),
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      remedy: /AppArmor: signal peer=.*seccomp filter/,
    })),
    {
      title: 'too many signals pending',
      answer: failure('park', { ...park, errno: EAGAIN }),
      status: named('node'),
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      remedy: /RLIMIT_SIGPENDING/,
    },
    {
      title: 'a poller of io_uring',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: named('iou-sqp-4711'),
      code: 'ERR_HARDEN_IO_URING',
      message: /4719.*iou-sqp-4711/,
      remedy: /UV_USE_IO_URING/,
    },
    {
      title: 'a worker of io_uring',
      answer: failure('park', { ...park, errno: EPERM }),
      status: named('iou-wrk-4711'),
      code: 'ERR_HARDEN_IO_URING',
      remedy: /UV_USE_IO_URING/,
    },
    {
      title: 'an io_uring that nothing is known of but the name, and no call failed',
      answer: failure('park', park),
      status: named('iou-wrk-1'),
      code: 'ERR_HARDEN_IO_URING',
      remedy: /UV_USE_IO_URING/,
    },
    {
      title: 'a name that only contains iou-',
      answer: failure('park', { ...park, errno: ETIMEDOUT }),
      status: named('my-iou-thread'),
      ...unreachable,
    },
    {
      title: 'the child is not what the plan was made for',
      answer: failure('compare', { syscall: 'read' }),
      code: 'ERR_HARDEN_THREAD_DIFFERS',
      message: /^the credentials of the calling thread have changed since the plan was made\./,
      remedy: /^find what changes credentials meanwhile .* and call again when it is done$/,
    },
    {
      title: 'another effective user',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      status: differing,
      ...differs,
      message: /4719.*odd one/,
      wanted: '0 0 0 0',
      found: '0 65534 0 0',
    },
    {
      title: 'more capabilities',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      status: statusOf({ ...root, inheritable: RAW }),
      ...differs,
      wanted: '',
      found: 'cap_net_raw',
      message: /inheritable: wanted none, found cap_net_raw/,
    },
    {
      title: 'what the text does not have: securebits, seccomp mode',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      status: statusOf(root),
      ...differs,
      message: /thread 4719 \(node\) has .*securebits.*seccomp/,
    },
    {
      title: 'nor this: a root directory, a file table',
      answer: failure('compare', { syscall: 'kcmp', tid: 4719 }),
      status: statusOf(root),
      ...differs,
      message: /thread 4719 \(node\) has a root directory or a file table of its own/,
    },
    {
      title: 'a root directory of its own, and ended meanwhile',
      answer: failure('compare', { syscall: 'kcmp', tid: 4719 }),
      ...differs,
      message: /^a thread that has ended since has a root directory/,
    },
    {
      title: 'a root directory of its own, and another user',
      answer: failure('compare', { syscall: 'kcmp', tid: 4719 }),
      status: differing,
      ...differs,
      message: /odd one.*user/,
      wanted: '0 0 0 0',
      found: '0 65534 0 0',
    },
    {
      title: 'different, and ended meanwhile',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      ...differs,
      message: /^a thread that has ended since has securebits/,
    },
    {
      title: 'it cannot be read',
      answer: failure('compare', { syscall: 'read', errno: EPERM, tid: 4719 }),
      status: statusOf(root),
      ...differs,
      message: /^thread 4719 \(node\) could not be read: read: EPERM/,
    },
    {
      title: 'a seccomp mode',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      status: statusOf(root).replace('Seccomp:\t0', 'Seccomp:\t2'),
      ...differs,
      message: /Seccomp: wanted 0, found 2/,
      wanted: '0',
      found: '2',
    },
    {
      title: 'a seccomp filter',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      status: `${statusOf(root)}Seccomp_filters:\t1\n`,
      ...differs,
      message: /Seccomp_filters: wanted none, found 1/,
      wanted: 'none',
      found: '1',
    },
    {
      title: 'a text that is cut off: it has ended since',
      answer: failure('compare', { syscall: 'read', tid: 4719 }),
      status: 'Name:\todd one\n',
      ...differs,
      message: /thread 4719 \(odd one\) has securebits/,
    },
    {
      title: 'no memory',
      answer: failure('memory', { errno: ENOMEM }),
      ...noMemory,
      message: /'memory': mmap: ENOMEM/,
    },
    {
      title: 'no memory, and it was about one thread',
      answer: failure('memory', { errno: ENOMEM, tid: 4719 }),
      ...noMemory,
    },
    {
      title: 'a name of io_uring, but it was stopped',
      answer: failure('memory', { errno: ENOMEM, tid: 4719 }),
      status: named('iou-sqp-4711'),
      ...noMemory,
    },
  ]
  for (const { title, answer, status, code, message, remedy, wanted, found } of table) {
    const error = refusalOf(t, answer, { status })
    t.equal(error.code, code, `${answer.step}: ${title}`)
    t.match(error.remedy, remedy)
    if (message) t.match(error.message, message)
    const { code: _code, remedy: _remedy, wanted: inPlan, found: inKernel, ...where } = error
    t.strictSame(where, whereOf(answer))
    t.strictSame([inPlan, inKernel], [wanted, found])
  }
})

t.test('no thread in particular could not be stopped', async (t) => {
  const answer = failure('park', { syscall: 'rt_tgsigqueueinfo', errno: ETIMEDOUT })
  const error = refusalOf(t, answer, {})
  t.match(error, { code: 'ERR_HARDEN_THREAD_UNREACHABLE', errno: -ETIMEDOUT, message: /^one of the threads could not/ })
  t.notOk('tid' in error)
  const differing = refusalOf(t, failure('compare', { syscall: 'kcmp' }), {})
  t.match(differing, { code: 'ERR_HARDEN_THREAD_DIFFERS', message: /^one of the threads has a root directory/ })
})

t.test('what a thread differs in is what it is compared with: the securebits are not in its text', async (t) => {
  const before = { ...root, securebits: 5 }
  const answer = failure('compare', { syscall: 'read', tid: 4719 })
  const error = refusalOf(t, answer, { before, status: statusOf({ ...root, groups: [4] }) })
  t.match(error, { wanted: '0 4', found: '4', message: /^thread 4719 \(node\): groups: wanted 0 4, found 4\./ })
  const alike = refusalOf(t, answer, { before, status: statusOf(root) })
  t.match(alike, { message: /has securebits, a seccomp mode or a seccomp filter of its own/ })
})

t.test('no /proc', async (t) => {
  const reason = 'the threads of this process cannot be read from /proc'
  const mount = `mount procfs on /proc in the pid namespace of the process (mount -t proc proc /proc); for audit() in a chroot, run npx privdrop audit ${process.pid} outside, in the application's folder`
  const files = 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  const find =
    'find what refuses open: a seccomp filter (Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter=openat as the last of these lines), or a security module'
  for (const [errno, remedy] of [
    [ENOENT, mount],
    [EMFILE, files],
    [ENFILE, files],
    [EPERM, find],
    [EACCES, find],
    [ENOSYS, find],
  ] as const) {
    const error = refusalOf(t, failure('proc', { errno }), {})
    t.strictSame({ ...error }, { code: 'ERR_HARDEN_PROC', step: 'proc', syscall: 'open', errno: -errno, remedy })
    t.equal(error.message, `${reason}: open: ${getSystemErrorName(-errno)}. Remedy: ${remedy}.`)
  }
  const error = mocked.noProc('it is odd')
  t.strictSame({ ...error }, { code: 'ERR_HARDEN_PROC', step: 'proc', remedy: mount })
  t.equal(error.message, `${reason}: it is odd. Remedy: ${mount}.`)
})

t.test('the child could take root back', async (t) => {
  const error = refusalOf(t, failure('regain', { syscall: 'setresuid' }), {})
  t.match(error, {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'regain',
    syscall: 'setresuid',
    message: /could take root back, or its groups or capabilities/,
    remedy: /^find what grants it: a security module, or a system call filter/,
  })
})

t.test('the process that answers for the new user was ended', async (t) => {
  const error = refusalOf(t, failure('exchange', { syscall: 'wait4', errno: constants.errno.ECHILD }), {})
  t.match(error, {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'exchange',
    syscall: 'wait4',
    message: /was ended before it had answered$|was ended before it had answered\./,
    remedy: /^give the server an account of its own/,
  })
})

t.test('a descriptor by which the plan would be undone', async (t) => {
  const directory = failure('descriptors', { syscall: 'open', item: 21 })
  const ring = failure('descriptors', { syscall: 'io_uring_setup', item: 22 })
  const jail = { ofPlan: { ...anyPlan, root: opened } }
  const remedy = 'close it before harden(): an fs.Dir, a FileHandle, or an inherited descriptor'
  const where = { step: 'descriptors', code: 'ERR_HARDEN_OPEN_DIRECTORY', option: 'chroot', syscall: 'open', remedy }
  for (const [link, shown] of [
    ['/etc', `'/etc'`],
    ['/srv/a b (deleted)', `'/srv/a b (deleted)'`],
    ['(unreachable)/srv', `'(unreachable)/srv'`],
    [undefined, 'closed by now'],
  ] as const) {
    const error = refusalOf(t, directory, { ...jail, link })
    t.strictSame({ ...error }, { ...where, ...(link !== undefined && { found: link }) })
    t.match(
      error.message,
      exactly(`descriptor 21 is an open directory (${shown}): it leads out of the chroot. Remedy: ${remedy}.`),
    )
  }
  t.ok(refusalOf(t, directory, { ...jail, link: `/${'x'.repeat(5000)}` }).message.length < 500, 'a path of any length')

  const error = refusalOf(t, ring, { link: 'anon_inode:[io_uring]' })
  t.strictSame(
    { ...error },
    {
      step: 'descriptors',
      syscall: 'io_uring_setup',
      code: 'ERR_HARDEN_IO_URING',
      remedy:
        'start Node without UV_USE_IO_URING, or with UV_USE_IO_URING=0, and without native modules that use io_uring',
    },
  )
  t.match(error.message, /^descriptor 22 is an io_uring that keeps root's credentials/)
})

t.test('descriptors that could not be looked at', async (t) => {
  const mount = 'mount procfs on /proc, and raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'
  const find = (syscall: string) =>
    `find what refuses ${syscall}: a seccomp filter (Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter=${syscall} as the last of these lines), or a security module`
  for (const [syscall, errno, remedy] of [
    ['open', ENOENT, mount],
    ['open', EMFILE, mount],
    ['io_uring_setup', EPERM, find('io_uring_setup')],
    ['getcwd', ENOSYS, find('getcwd')],
    ['fstat', ENOMEM, mount],
  ] as const) {
    const error = refusalOf(t, failure('descriptors', { syscall, errno, item: 21 }), { link: '/etc' })
    t.strictSame({ ...error }, { step: 'descriptors', syscall, errno: -errno, code: 'ERR_HARDEN_PROC', remedy })
    t.match(error.message, `cannot be examined: ${syscall}: ${getSystemErrorName(-errno)}.`)
  }
})

t.test('another process that shares the memory', async (t) => {
  const error = refusalOf(t, failure('shared memory', { syscall: 'read', tid: 4711 }), {})
  const remedy = 'end it before harden(): a native module has made it with clone(CLONE_VM) or vfork()'
  t.strictSame(
    { ...error },
    {
      code: 'ERR_HARDEN_SHARED_MEMORY',
      step: 'shared memory',
      syscall: 'read',
      tid: 4711,
      found: '4711',
      remedy,
    },
  )
  t.match(error.message, /^process 4711 shares the memory of this one/)
})

t.test('more threads and groups than are compared in a second', async (t) => {
  const error = refusalOf(t, failure('compare', { syscall: 'getgroups' }), {})
  t.strictSame(
    { ...error },
    {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      option: 'supplementalGroups',
      step: 'compare',
      syscall: 'getgroups',
      remedy: 'have fewer groups, now and afterwards, or call harden() before the threads are started',
    },
  )
})

t.test('a file system that does not answer', async (t) => {
  const read: Question = { kind: 'read', path: '/mnt/key.pem', number: 0, option: 'rehearse.read[0]', role: '' }
  const exchange: Question = { kind: 'exchange', path: '/mnt/jail', number: 0, option: 'chroot', role: '' }
  const questions = [exchange, read]
  const waited = (step: Step, item: number, fields: Partial<Failure> = {}) =>
    refusalOf(t, failure(step, { syscall: 'open', errno: ETIMEDOUT, item, ...fields }), { questions })
  t.match(waited('read', 1), { code: 'ERR_HARDEN_ACCESS', found: '/mnt/key.pem', option: 'rehearse.read[0]' })
  t.match(refusalOf(t, failure('descriptors', { syscall: 'open', errno: ETIMEDOUT, item: 9 }), { link: '/mnt/dir' }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'descriptors',
    found: '/mnt/dir',
    message: /waited in vain for descriptor 9 \('\/mnt\/dir'\)/,
  })
  t.match(waited('exchange', 0), { code: 'ERR_HARDEN_NOT_PERMITTED', found: '/mnt/jail', option: 'chroot' })
  for (const [title, error] of [
    ['no question', waited('read', 7)],
    ['another kind of question', waited('write', 1)],
    ['a step', waited('setgroups', 0)],
    ['killed meanwhile', waited('read', 1, { signal: 9 })],
    ['another errno', waited('read', 1, { errno: EACCES })],
  ] as const) {
    t.match(error, { code: 'ERR_HARDEN_NOT_PERMITTED', message: /^the kernel refuses step/ }, title)
    t.notOk('found' in error)
  }
})

t.test('nothing is known of a plan yet', async (t) => {
  const answer = failure('SIGUSR1', { syscall: 'rt_sigaction', errno: EPERM })
  t.match(refusalOf(t, answer, { ofPlan: undefined }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'SIGUSR1',
    remedy: /^find what refuses rt_sigaction: a seccomp filter/,
  })
})

t.test('a descriptor that a dead file system holds, when it is opened again', async (t) => {
  const reopen: Question = { kind: 'reopen', path: '', number: 21, option: undefined, role: '' }
  const answer = failure('reopen', { syscall: 'faccessat2', errno: ETIMEDOUT, item: 0 })
  texts = { link: '/mnt/log' }
  paths = []
  t.match(mocked.explain(answer, undefined, [reopen]), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'reopen',
    found: '/mnt/log',
    message: /waited in vain for descriptor 21 \('\/mnt\/log'\)/,
  })
  t.strictSame(paths, ['/proc/self/fd/21'])
  texts = {}
  t.match(mocked.explain(answer, undefined, [reopen]), { found: '21', message: /descriptor 21 \(closed by now\)/ })
})

t.test('why a question was answered so', async (t) => {
  const create = anyPlan.root ? 'create it inside the chroot' : 'create it'
  const mount = 'mount the file system writable'
  const make =
    'make it, and every directory above it, accessible to the new user (chown, chmod, setfacl, or a supplementary group), or use it before harden()'
  const retain = `retain cap_net_bind_service ('cap_net_bind_service+ep' in 'capabilities')`
  const find = (syscall: string) =>
    `find what stands in the way: a seccomp filter (Docker: --security-opt seccomp=; Kubernetes: seccompProfile; systemd: SystemCallFilter=${syscall} as the last of these lines), a security module, a limit`
  const without = { ...anyPlan, wanted: stateOf({ ...mail, permitted: 0n, effective: 0n }) }
  mounts = '26 1 8:1 / / rw - ext4 /dev/sda1 rw\n27 26 0:30 / /mnt/a rw - fuse.sshfs host rw\n'
  t.teardown(() => {
    mounts = ''
  })
  const fuse = 'mount that FUSE file system with allow_other, or use it before harden()'
  const table: [Question['kind'], number, string, path?: string][] = [
    ['read', EACCES, make],
    ['read', EPERM, find('openat')],
    ['read', EINVAL, find('openat')],
    ['read', ENOENT, create],
    ['read', ENOTDIR, create],
    ['write', EACCES, make],
    ['write', ENOENT, `${create}; a folder: install -d -o 990 /srv/a/new`, '/srv/a/new'],
    ['write', EROFS, mount],
    ['read', EMFILE, 'raise the limit on open files (RLIMIT_NOFILE, ulimit -n)'],
    ['bind', EACCES, retain],
    ['bind', EPERM, find('bind')],
    ['read', EACCES, fuse, '/mnt/a/key.pem'],
    ['write', EACCES, fuse, '/mnt/a'],
    ['read', ENOENT, create, '/mnt/a/key.pem'],
    ['read', EACCES, make, '/mnt/ab'],
  ]
  for (const [kind, errno, remedy, path = '/etc/key.pem'] of table)
    t.equal(
      mocked.remedyForAnswer({ kind, path, number: 0, option: undefined, role: '' }, errno, without),
      remedy,
      `${kind} ${path}: ${getSystemErrorName(-errno)}`,
    )
  const bind: Question = { kind: 'bind', path: '', number: 25, option: 'rehearse.bind[0]', role: '' }
  const read = { kind: 'read', path: '/srv', number: 0, option: undefined, role: '' } as const
  for (const errno of [constants.errno.EIO, constants.errno.ESTALE, constants.errno.ENOTCONN])
    t.match(mocked.remedyForAnswer(read, errno, anyPlan), /^see that its file system answers/)
  t.match(mocked.remedyForAnswer(bind, EACCES, anyPlan), /^find what refuses the port: the capability is retained/)
})
