/**
 * The rows of test/evidence/field.test.ts: what has gone wrong where root is given up, in the field and during the
 * making of this package. Each prepares a process in which it would go wrong again, and says how to tell.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import type { AuditReport } from '../../lib/audit'
import type { HardenOptions } from '../../lib/options'
import type { HardenReport } from '../../lib/report'
import type { Need } from '../live/live'
import { CAP_NET_BIND_SERVICE, mask, NONE, roots, type Task, tasks } from '../live/outside'
import { inject, tracer } from '../live/strace'
import {
  compile,
  fill,
  filtered,
  folder,
  inUserNamespace,
  KCMP,
  piped,
  Refusal,
  type Subject,
  shown,
  start,
  terminal,
  threads,
} from '../live/subject'
import type { WayName } from './ways'

/** A process in which root has been given up, or is going to be. */
export interface Scene {
  readonly t: Test
  readonly subject: Subject
  /** Of Node, where that is not what was started. */
  readonly pid: number
  /** What before() has answered. */
  readonly prepared: unknown
  /** Of harden(), or of a copy. */
  readonly report: HardenReport | undefined
  readonly audit: () => Promise<AuditReport>
}

export interface Setting {
  /** Several: each is tried until one is not refused. */
  readonly options?: HardenOptions | HardenOptions[]
  /** What harden() does. */
  readonly wants: 'done' | 'refused' | 'ended'
  /** Of what it refuses. */
  readonly refusal?: Record<string, unknown>
  /** Nobody but harden() and its copies can be asked for this. */
  readonly ours?: boolean
  /** That it is refused is the bug. */
  readonly unjust?: boolean
  /** That the process ends is the bug: it could have been refused. */
  readonly avoidable?: boolean
  readonly begin?: (t: Test) => Promise<Subject>
  readonly pid?: (subject: Subject) => number
  readonly before?: (scene: Scene) => Promise<unknown>
  /** How it shows where root is said to be given up; '': not at all. */
  readonly shows: (scene: Scene) => Promise<string> | string
}

export interface Row {
  /** With the number under which it is known, where it has one. */
  readonly name: string
  /** Of SECURITY.md. */
  readonly promise: string
  readonly needs: Need[]
  /** Who must be caught. */
  readonly caught: WayName[]
  /** Once for all ways. */
  readonly prepare: (t: Test) => Setting
}

const NOBODY = '65534 65534 65534 65534'
const SHADOW = '/etc/shadow'
const user = 'nobody'
const capabilities = 'cap_net_bind_service+ep'
const run = promisify(execFile)

/** How a thread differs from what it should be; '' if it does not. */
function differs(pid: number, wanted: Partial<Task>): string {
  for (const task of tasks(pid))
    for (const [field, value] of Object.entries(wanted)) {
      const found = task[field as keyof Task]
      if (found !== value) return `${task.name}: ${field} ${found || 'none'}`
    }
  return ''
}

const dropped = { uid: NOBODY, gid: NOBODY, groups: '', permitted: NONE, effective: NONE }

/** What an action answers to what must not be possible. */
async function succeeds(attempt: Promise<unknown>): Promise<boolean> {
  return attempt.then(
    () => true,
    (error) => {
      if (error instanceof Refusal) return false
      throw error
    },
  )
}

const startedBy =
  (...wrapper: string[]) =>
  (t: Test) =>
    start(t, { wrapper })

/** Arguments of setpriv(1): an ordinary user. */
const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups']

/** Whether the user that the process has become can do this. */
const canItsUser = (...command: string[]): Promise<boolean> =>
  run('setpriv', [...asNobody, ...command]).then(
    () => true,
    () => false,
  )

const compiled = new Map<string, string>()

/** A native module, compiled once. */
function moduleOf(source: string): string {
  const known = compiled.get(source)
  if (known !== undefined) return known
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  const made = compile(source, folder)
  compiled.set(source, made)
  return made
}

/** test/evidence/field.c */
export const fieldModule = (): string => moduleOf(join(__dirname, 'field.c'))

const odd =
  (kind: string) =>
  async ({ subject }: Scene) => {
    await subject.ask('load', moduleOf(threads))
    return subject.ask('native', kind)
  }

/** A new root directory, with accounts of its own. */
function jail(t: Test): string {
  const root = folder(t)
  mkdirSync(join(root, 'etc'))
  writeFileSync(join(root, 'etc/passwd'), 'nobody:x:0:0::/:/bin/false\n')
  writeFileSync(join(root, 'etc/group'), 'nogroup:x:0:\n')
  return root
}

/** Each such call of any thread takes this much longer: time for an attacker. */
const slow = (call: string, milliseconds: number) => [
  ...['strace', '-D', '-f', '-qq', '-o', '/dev/null'],
  ...inject(call, `delay_exit=${milliseconds}000`),
]
const slowCapset = slow('capset', 1000)

/**
 * By an attacker, a child of that process: the one that rehearses ('=', it has become the new user) or the one that answers ('!=', its
 * effective user stays). The loop starts no process, so it is quick on a busy machine too.
 */
const killChild = (ids: '=' | '!=') =>
  `while [ -e /proc/$1 ]; do for f in /proc/$1/task/*/children; do all=; read -r all < $f; for c in $all; do
  while read -r field real effective rest; do [ "$field" = Uid: ] && break; done < /proc/$c/status
  [ "$real" = 65534 ] && [ "$real" ${ids} "$effective" ] && kill -9 $c && echo killed && exit; done; done; done`

/** The same attacker reads the memory of one of its children, before no_new_privs says that root has been given up. */
const readChild = `while :; do for f in /proc/$1/task/*/children; do all=; read -r all < $f; for c in $all; do
  read -r -d '' first < /proc/$c/environ && echo reached && exit; done; done
  while read -r field value; do [ "$field $value" = 'NoNewPrivs: 1' ] && echo missed && exit; done < /proc/$1/status; done`

const byNumber = { user: 65534, group: 65534 }

/** A folder in a folder of that user's. */
function exchangeable(t: Test): string {
  const parent = folder(t)
  const root = join(parent, 'jail')
  mkdirSync(root)
  chownSync(parent, 65534, 65534)
  return root
}

/** Another folder of root's beside it is moved away: other processes use this one at the same time. */
async function exchanges(path: string): Promise<string> {
  const beside = mkdtempSync(join(dirname(path), 'beside-'))
  return (await canItsUser('mv', '-T', beside, `${beside}.old`)) ? 'its user decides where the path leads' : ''
}

/** A shell script in the hands of that user, with the number of the process; it has begun, and says something later. */
async function attacker({ t, pid }: Scene, script: string): Promise<{ said: Promise<string> }> {
  const shell = spawn('setpriv', [...asNobody, 'bash', '-c', `echo begun; ${script}`, 'bash', String(pid)], {
    stdio: ['ignore', 'pipe', 'ignore'],
    cwd: '/',
  })
  t.teardown(() => shell.kill('SIGKILL'))
  let text = ''
  shell.stdout.setEncoding('latin1').on('data', (more) => {
    text += more
  })
  const line = async (count: number): Promise<string> => {
    while (text.split('\n').length <= count) await once(shell.stdout, 'data')
    return text.split('\n')[count - 1] as string
  }
  await line(1)
  return { said: line(2) }
}

/** Its inspector, which is opened by a thread of its own in its own time. */
async function opensInspector(subject: Subject): Promise<string> {
  for (let turn = 0; turn < 1500; turn++) {
    const url = await subject.ask('inspectorUrl')
    if (url) return 'the inspector is open'
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return ''
}

type Setter = 'setgroups' | 'setgid' | 'setuid' | 'capset'

/** Numbers of system calls; more than one where the C library and this package call others. */
const numbers: Partial<Record<string, Record<Setter, number[]>>> = {
  x64: { setgroups: [116], setgid: [106, 119], setuid: [105, 117], capset: [126] },
  arm64: { setgroups: [159], setgid: [144, 149], setuid: [146, 147], capset: [91] },
}

/** seccomp(2) */
const SECCOMP_RET_ERRNO_EPERM = 0x00050001

/** Each of these calls is refused with EAGAIN: test/children/filter.c. */
async function refusing(t: Test, filter: string, call: Setter): Promise<Subject> {
  const all = numbers[process.arch]?.[call] ?? []
  return start(t, {
    wrapper: ['setpriv', '--groups=4,42', '--', ...all.flatMap((number) => [filter, String(number), '11'])],
  })
}

const setters = (['setgroups', 'setgid', 'setuid', 'capset'] as const).map(
  (call): Row => ({
    name: `CVE-2013-4559, CVE-2006-3083: EAGAIN from ${call}`,
    promise: 'Unchanged or done',
    needs: ['root', 'cc', 'setpriv'],
    caught: call === 'capset' ? ['ignored'] : ['logged', 'ignored'],
    prepare: (t) => {
      const filter = join(folder(t), 'filter')
      const filterMade = run('cc', ['-o', filter, join(__dirname, '../children/filter.c')])
      return {
        options: call === 'capset' ? { user, capabilities } : { user },
        ours: call === 'capset',
        wants: 'refused',
        refusal: { code: 'ERR_HARDEN_NOT_PERMITTED', errno: -11 },
        begin: async (t) => {
          await filterMade
          return refusing(t, filter, call)
        },
        shows: ({ pid }) => {
          const kept = call === 'capset' ? mask(CAP_NET_BIND_SERVICE) : NONE
          return differs(pid, { ...dropped, permitted: kept, effective: kept })
        },
      }
    },
  }),
)

const field: Row[] = [
  {
    name: 'CVE-2000-0506 (sendmail): root without CAP_SETUID',
    promise: 'Unchanged or done',
    needs: ['root', 'setpriv'],
    caught: ['logged', 'ignored'],
    prepare: () => ({
      options: { user },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_NOT_PERMITTED', errno: -1 },
      begin: startedBy('setpriv', '--bounding-set', '-setuid,-setgid', '--'),
      shows: ({ pid }) => differs(pid, { uid: NOBODY }),
    }),
  },
  ...setters,
  {
    name: 'CVE-2013-4559 (lighttpd): setresuid is refused in one thread',
    promise: 'Unchanged or done',
    needs: ['root', 'strace'],
    caught: ['ignored', 'raw'],
    prepare: () => ({
      options: { user },
      wants: 'ended',
      before: ({ t, pid }) => tracer(t, pid, 'setresuid,setuid', 'error=EAGAIN'),
      shows: ({ pid }) => differs(pid, { uid: NOBODY }),
    }),
  },
  {
    name: 'CVE-2019-18276 (bash): the saved user id is still root',
    promise: 'Exact',
    needs: ['root'],
    caught: ['effective', 'saved'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      shows: async ({ pid, subject }) => {
        for (const call of ['setuid', 'seteuid', 'setgid', 'setegid'] as const)
          if (await succeeds(subject.ask(call, 0))) return `${call}(0) succeeds`
        return differs(pid, { uid: NOBODY, gid: NOBODY })
      },
    }),
  },
  {
    name: 'Setuid Demystified (docslib 11631598): the user before the group',
    promise: 'Exact',
    needs: ['root'],
    caught: ['reversed', 'order'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      shows: ({ pid }) => differs(pid, { uid: NOBODY, gid: NOBODY }),
    }),
  },
  ...[
    [8, 0, 8],
    [8, 0, 0],
    [0, 0, 8],
  ].map(
    (ids): Row => ({
      name: `Setuid Demystified (docslib 11631598): begun as user ${ids.join(' ')}`,
      promise: 'Exact',
      needs: ['root', 'cc'],
      caught: ['effective'],
      prepare: () => ({
        options: { user },
        wants: 'done',
        before: ({ subject }) => subject.ask('native', 'setUsers', ...ids),
        shows: ({ pid }) => differs(pid, { uid: NOBODY }),
      }),
    }),
  ),
  {
    name: 'CVE-2019-14287 (sudo -u#-1): what is no id',
    promise: 'Exact',
    needs: ['root'],
    caught: ['raw', 'atoi'],
    prepare: () => ({
      options: [-1, 4294967295, '4294967295', '-1', 2 ** 32, 1.5, Number.NaN, ''].map((id) => ({
        user: id,
        group: 65534,
      })),
      wants: 'refused',
      refusal: { option: 'user' },
      shows: ({ pid }) => `accepted: ${differs(pid, { uid: '' })}`,
    }),
  },
  {
    name: 'systemd#6237, #15985: User=0day, 0x10',
    promise: 'Exact',
    needs: ['root'],
    caught: ['raw', 'atoi'],
    prepare: () => ({
      options: ['0day', '0x10', ' 0', '0 '].map((name) => ({ user: name, group: 65534 })),
      wants: 'refused',
      refusal: { code: 'ERR_UNKNOWN_CREDENTIAL' },
      shows: ({ pid }) => `accepted: ${differs(pid, { uid: '' })}`,
    }),
  },
  {
    name: 'systemd#6237: an account whose name is 4242',
    promise: 'Exact',
    needs: ['root'],
    caught: ['raw', 'atoi'],
    prepare: (t) => {
      const accounts = shown(t, '/etc/passwd', 'root:x:0:0::/:/bin/sh\n4242:x:65533:65534::/:/bin/false\n')
      return {
        options: { user: '4242', group: 65534 },
        wants: 'done',
        begin: startedBy(...accounts),
        shows: ({ pid }) => differs(pid, { uid: '65533 65533 65533 65533' }),
      }
    },
  },
  {
    // GLSA 201611-10
    name: 'CVE-2015-0278 (libuv), CVE-2023-25173 (containerd): groups stay',
    promise: 'Exact',
    needs: ['root'],
    caught: ['haraka', 'groups'],
    prepare: () => {
      const many = Array.from({ length: 70 }, (_, index) => 1000 + index)
      return {
        options: { user, group: 'mail', supplementalGroups: many },
        wants: 'done',
        before: ({ subject }) => subject.ask('setgroups', [0, 1, 4, 27, 42]),
        shows: async ({ pid, subject }) => {
          if (await succeeds(subject.ask('readSync', SHADOW))) return `reads ${SHADOW}`
          return differs(pid, { gid: '8 8 8 8', groups: many.join(' ') })
        },
      }
    },
  },
  {
    name: 'CVE-2022-24769, -27649, -27651 (Moby, podman, buildah): CapInh',
    promise: 'Exact',
    needs: ['root', 'setpriv', 'setcap'],
    caught: ['three', 'inheritable'],
    prepare: (t) => {
      const cat = join(folder(t), 'cat')
      copyFileSync('/bin/cat', cat)
      const set = run('setcap', ['cap_dac_override+ei', cat])
      return {
        options: { user, noNewPrivileges: false },
        wants: 'done',
        begin: async (t) => {
          await set
          return start(t, { wrapper: ['setpriv', '--inh-caps=+dac_override,+net_raw', '--'] })
        },
        shows: async ({ pid, subject }) => {
          const { status } = await subject.ask('run', cat, [SHADOW])
          return status === 0 ? `a program with +i reads ${SHADOW}` : differs(pid, { inheritable: NONE })
        },
      }
    },
  },
  {
    name: 'Linux before 3.16 (Eric Paris, 2014): beyond CAP_LAST_CAP',
    promise: 'Exact',
    needs: ['root'],
    caught: ['three', 'table'],
    prepare: () => ({
      options: { user, capabilities },
      wants: 'done',
      shows: ({ pid }) => {
        const kept = mask(CAP_NET_BIND_SERVICE)
        return differs(pid, { bounding: kept, inheritable: NONE, ambient: NONE, permitted: kept, effective: kept })
      },
    }),
  },
  {
    name: 'CVE-2024-22017 (Node): an io_uring thread of the kernel is root',
    promise: 'For good',
    needs: ['root', 'cc'],
    caught: ['raw', 'ring'],
    prepare: () => ({
      options: { user },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_IO_URING' },
      // whether this Node heeds it or not, there is such a thread
      begin: (t) => start(t, { env: { UV_USE_IO_URING: '1' } }),
      before: odd('openPoller'),
      shows: async ({ pid, subject }) => {
        if (await succeeds(subject.ask('readCallback', SHADOW))) return `fs.readFile reads ${SHADOW}`
        return differs(pid, { uid: NOBODY })
      },
    }),
  },
  {
    name: 'CVE-2024-21892 (Node): a child with capabilities of its own',
    promise: 'For good',
    needs: ['root'],
    caught: ['limited', 'ambient'],
    prepare: () => ({
      options: { user, capabilities: 'cap_net_bind_service,cap_net_raw+ep' },
      wants: 'done',
      shows: async ({ subject }) => {
        const { stdout } = await subject.ask('run', 'cat', ['/proc/self/status'])
        const [, found] = /^CapEff:\t(\w+)$/m.exec(stdout) ?? []
        return found === NONE ? '' : `a child has ${found}`
      },
    }),
  },
  {
    name: 'golang/go#1435, twisted#10851, zig#1337: threads stay root',
    promise: 'Exact',
    needs: ['root'],
    caught: ['raw', 'limited', 'main'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      before: async ({ subject }) => {
        await subject.ask('warmPool', 4)
        await subject.ask('startWorkers', 2)
      },
      shows: ({ pid }) => differs(pid, dropped),
    }),
  },
  {
    name: 'golang/go#42494: threads are born and die meanwhile',
    promise: 'Exact',
    needs: ['root', 'cc'],
    caught: ['raw'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      before: odd('startChurn'),
      shows: ({ pid }) => differs(pid, dropped),
    }),
  },
  {
    name: 'golang/go#42494: a thread that blocks every signal',
    promise: 'Unchanged or done',
    needs: ['root', 'cc'],
    caught: ['haraka', 'absent'],
    prepare: () => ({
      options: { user },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_THREAD_UNREACHABLE', step: 'park' },
      before: odd('startBlocked'),
      shows: ({ pid }) => differs(pid, { uid: NOBODY }),
    }),
  },
  {
    name: 'falcosecurity/libs#165: a raw system call is for one thread',
    promise: 'Exact',
    needs: ['root'],
    caught: ['raw', 'limited', 'main'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      before: ({ subject }) => subject.ask('warmPool', 4),
      shows: async ({ subject }) => {
        for (let round = 0; round < 8; round++)
          if (await succeeds(subject.ask('readCallback', SHADOW))) return `fs.readFile reads ${SHADOW}`
        return ''
      },
    }),
  },
  {
    // the race itself is in musl's posix_spawn(3), which Node does not call: what can go wrong here is the child's identity
    name: 'musl d5304147 (nearest): a child is being made meanwhile',
    promise: 'Exact',
    needs: ['root'],
    caught: ['raw', 'main'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      before: async ({ subject }) => {
        await subject.ask('startWorkers', 1)
        await subject.ask('askWorker', 0, 'startSpawning')
        const root = await subject.ask('askWorker', 0, 'spawned')
        await subject.ask('askWorker', 0, 'startSpawning')
        return root
      },
      shows: async ({ subject, prepared }) => {
        const meanwhile = (await subject.ask('askWorker', 0, 'spawned')) as string[]
        await subject.ask('askWorker', 0, 'startSpawning')
        const afterwards = (await subject.ask('askWorker', 0, 'spawned')) as string[]
        const ids = '\t65534'.repeat(4)
        const child = `Uid:${ids} Gid:${ids} Groups:\t  CapPrm:\t${NONE}`
        const plain = (text: string) => text.replace(/\s+/g, ' ')
        const wrong = [
          ...afterwards.filter((found) => plain(found) !== plain(child)),
          ...meanwhile.filter((found) => plain(found) !== plain(child) && !(prepared as string[]).includes(found)),
        ]
        return wrong[0] === undefined ? '' : `a child is ${plain(wrong[0])}`
      },
    }),
  },
  {
    name: 'CVE-2008-5110 (syslog-ng), CWE-243: chroot without chdir',
    promise: 'Exact',
    needs: ['root'],
    caught: ['outside', 'chdir'],
    prepare: (t) => {
      const root = jail(t)
      return {
        options: { user, chroot: root },
        wants: 'done',
        before: ({ subject }) => subject.ask('chdir', '/etc'),
        shows: async ({ pid, subject }) => {
          const up = (await subject.ask('readdir', '..')) as string[]
          if (up.includes('usr')) return "'..' is the real root"
          return roots(pid).join() === `${root} ${root}` ? '' : roots(pid).join()
        },
      }
    },
  },
  ...(['opendir', 'openHandle'] as const).map(
    (how): Row => ({
      name: `CVE-2024-21626 (runc): an open directory${how === 'opendir' ? '' : ', by O_PATH'}`,
      promise: 'For good',
      needs: ['root', 'cc'],
      caught: ['outside', 'directory'],
      prepare: (t) => ({
        options: { user, chroot: jail(t) },
        wants: 'refused',
        refusal: { code: 'ERR_HARDEN_OPEN_DIRECTORY' },
        before: ({ subject }) =>
          how === 'opendir' ? subject.ask('opendir', '/usr') : subject.ask('native', 'openHandle', '/usr'),
        shows: leadsOut,
      }),
    }),
  ),
  {
    name: 'CVE-2023-2603 (libcap): a capability text of 1 MB',
    promise: 'Exact',
    needs: ['root'],
    caught: ['cut'],
    prepare: () => ({
      options: { user, capabilities: `${'cap_sys_admin+ep '.repeat(61_681)}= ${capabilities}` },
      ours: true,
      wants: 'done',
      shows: ({ pid }) =>
        differs(pid, { permitted: mask(CAP_NET_BIND_SERVICE), effective: mask(CAP_NET_BIND_SERVICE) }),
    }),
  },
  {
    // that memory runs out: test/live/faults.test.ts
    name: 'CVE-2023-2602 (libcap): a capability text with a NUL byte',
    promise: 'Exact',
    needs: ['root'],
    caught: ['nul'],
    prepare: () => ({
      options: { user, capabilities: 'cap_sys_admin+ep\0 cap_sys_admin-ep' },
      ours: true,
      wants: 'refused',
      refusal: { code: 'ERR_INVALID_ARG_VALUE', option: 'capabilities' },
      shows: ({ pid }) => differs(pid, { permitted: NONE }),
    }),
  },
  {
    name: 'CVE-2014-8989 (youki#243): setgroups denied in a user namespace',
    promise: 'Unchanged or done',
    needs: ['root', 'setpriv'],
    caught: ['haraka', 'logged', 'groups'],
    prepare: () => {
      const map = '0 0 1\n65534 65534 1\n'
      return {
        options: { user },
        wants: 'refused',
        refusal: { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'setgroups', errno: -1 },
        begin: (t) => {
          const namespace = inUserNamespace({ uid_map: map, gid_map: map, setgroups: 'deny' })
          return start(t, {
            ...namespace,
            wrapper: ['setpriv', '--groups=42', '--', ...(namespace.wrapper as string[])],
          })
        },
        shows: ({ pid }) => differs(pid, { uid: NOBODY, groups: '' }),
      }
    },
  },
  {
    name: 'nginx, CVE-2016-9962 (runc): its user may trace it',
    promise: 'For good',
    needs: ['root', 'setpriv'],
    caught: ['traceable'],
    prepare: () => ({ options: { user }, wants: 'done', shows: isTraceable }),
  },
  {
    name: 'CVE-2016-9962 (runc): the same, and no id changes',
    promise: 'For good',
    needs: ['root', 'setpriv'],
    caught: ['traceable', 'dumpable'],
    prepare: () => ({
      options: {},
      ours: true,
      wants: 'done',
      begin: startedBy('setpriv', ...asNobody, '--inh-caps=+net_raw', '--ambient-caps=+net_raw', '--'),
      shows: isTraceable,
    }),
  },
  {
    name: 'NixOS/nix#2224, npm chroot 1.0.11: names looked up in the chroot',
    promise: 'Exact',
    needs: ['root'],
    caught: ['outside'],
    prepare: (t) => ({
      options: { user, chroot: jail(t) },
      wants: 'done',
      shows: ({ pid }) => differs(pid, { uid: NOBODY, gid: NOBODY }),
    }),
  },
  {
    name: 'CVE-2018-7160 (Node): the inspector is open',
    promise: 'For good',
    needs: ['root'],
    caught: ['haraka', 'three', 'inspector'],
    prepare: () => ({
      options: { user },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_INSPECTOR' },
      before: ({ subject }) => subject.ask('openInspector'),
      shows: ({ subject }) => opensInspector(subject),
    }),
  },
  {
    name: 'CVE-2018-7160 (Node): SIGUSR1 opens the inspector',
    promise: 'For good',
    needs: ['root'],
    caught: ['haraka', 'three'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      shows: ({ pid, subject }) => {
        process.kill(pid, 'SIGUSR1')
        return opensInspector(subject)
      },
    }),
  },
]

/** A descriptor by which files outside of the chroot can be opened. */
async function leadsOut({ pid, subject }: Scene): Promise<string> {
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    const link = `/proc/${pid}/fd/${descriptor}`
    if (!statSync(link).isDirectory()) continue
    // up from wherever it is
    if ((await subject.ask('native', 'openFrom', Number(descriptor), `${'../'.repeat(16)}etc/login.defs`)) === 0)
      return `${readlinkSync(link)} leads out`
  }
  return ''
}

async function isTraceable({ pid }: Scene): Promise<string> {
  return (await canItsUser('cat', `/proc/${pid}/environ`)) ? 'its user reads its memory' : ''
}

/** Of what was started, where that goes on as its parent. */
const onlyChild = ({ pid }: Subject): number => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'))

/** A process that shares the memory, made by that function of test/evidence/field.c. */
const sharing = (name: string, how: string, caught: WayName[], begin?: Setting['begin']): Row => ({
  name,
  promise: 'For good',
  needs: ['root', 'cc'],
  caught,
  prepare: (t) => ({
    options: { user },
    wants: 'refused',
    refusal: { code: 'ERR_HARDEN_SHARED_MEMORY', step: 'shared memory' },
    ...(begin && { begin }),
    before: async ({ subject }) => {
      const other = (await subject.ask('native', how)) as number
      t.teardown(() => process.kill(other, 'SIGKILL'))
      return other
    },
    shows: ({ prepared }) =>
      differs(prepared as number, { uid: NOBODY }) ? 'it is root, and runs what the server is made to write' : '',
  }),
})

const found: Row[] = [
  {
    name: 'SIGUSR1 in a loop from the new user',
    promise: 'For good',
    needs: ['root', 'setpriv', 'strace'],
    caught: ['haraka', 'deaf'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      begin: startedBy(...slowCapset),
      before: (scene) =>
        attacker(
          scene,
          'until kill -USR1 $1 || ! [ -e /proc/$1 ]; do :; done; for i in {1..100}; do kill -USR1 $1; done; echo reached',
        ),
      shows: async ({ prepared, subject }) => {
        await (prepared as { said: Promise<void> }).said
        return opensInspector(subject)
      },
    }),
  },
  {
    name: 'a thread that has done unshare(CLONE_FS) keeps the real root',
    promise: 'Exact',
    needs: ['root', 'cc'],
    caught: ['outside', 'root'],
    prepare: (t) => {
      const root = jail(t)
      return {
        options: { user, chroot: root },
        wants: 'refused',
        refusal: { code: 'ERR_HARDEN_THREAD_DIFFERS', syscall: 'kcmp' },
        before: odd('startFs'),
        shows: ({ pid }) => (roots(pid).join() === `${root} ${root}` ? '' : roots(pid).join()),
      }
    },
  },
  {
    name: "the task directory's descriptor leads out of the chroot",
    promise: 'For good',
    needs: ['root', 'cc'],
    caught: ['tasks'],
    prepare: (t) => ({
      options: { user, chroot: jail(t) },
      wants: 'done',
      shows: leadsOut,
    }),
  },
  {
    name: 'SECBIT_NO_SETUID_FIXUP: setresuid leaves the capabilities',
    promise: 'Exact',
    needs: ['root', 'setpriv'],
    caught: ['haraka', 'three', 'capset'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      begin: startedBy('setpriv', '--securebits=+no_setuid_fixup', '--'),
      shows: ({ pid }) => differs(pid, dropped),
    }),
  },
  {
    name: 'SECBIT_KEEP_CAPS_LOCKED: PR_SET_KEEPCAPS is refused',
    promise: 'Unchanged or done',
    needs: ['root', 'setpriv'],
    caught: ['ignored'],
    prepare: () => ({
      options: { user, capabilities },
      ours: true,
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'keepcaps', errno: -1 },
      begin: startedBy('setpriv', '--securebits=+keep_caps_locked', '--'),
      shows: ({ pid }) => differs(pid, { permitted: mask(CAP_NET_BIND_SERVICE) }),
    }),
  },
  {
    name: 'process 1 of a pid namespace survives its own signals',
    promise: 'Unchanged or done',
    needs: ['root', 'strace'],
    caught: ['signal'],
    prepare: () => ({
      options: { user, supplementalGroups: ['mail'] },
      ours: true,
      wants: 'ended',
      begin: startedBy('unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--'),
      pid: onlyChild,
      before: ({ t, pid }) => tracer(t, pid, 'setgroups', 'retval=0'),
      shows: ({ pid }) => differs(pid, { groups: '8' }),
    }),
  },
  {
    name: 'process.abort(): the last line waits for a full pipe',
    promise: 'Bounded',
    needs: ['root', 'strace'],
    caught: ['abort'],
    prepare: () => ({
      options: { user, supplementalGroups: ['mail'] },
      ours: true,
      wants: 'ended',
      begin: async (t) => {
        const [subject, end] = await piped(t)
        fill(end)
        return subject
      },
      before: ({ t, pid }) => tracer(t, pid, 'setgroups', 'retval=0'),
      shows: ({ pid }) => differs(pid, { groups: '8' }),
    }),
  },
  {
    name: 'RLIMIT_SIGPENDING 0: process.setuid leaves threads root',
    promise: 'Unchanged or done',
    needs: ['root'],
    caught: ['three', 'absent'],
    prepare: () => ({
      options: { user },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_THREAD_UNREACHABLE', errno: -11 },
      begin: startedBy('prlimit', '--sigpending=0'),
      shows: ({ pid }) => differs(pid, { uid: NOBODY }),
    }),
  },
  {
    name: 'what the kernel tells of an io_uring has no line SqThread',
    promise: 'For good',
    needs: ['root', 'cc', 'strace'],
    caught: ['raw', 'silence'],
    prepare: () => ({
      options: { user },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_IO_URING', step: 'descriptors' },
      before: async (scene) => {
        const ring = await odd('openPoller')(scene)
        await tracer(scene.t, scene.pid, 'read', 'retval=0', '-P', `/proc/${scene.pid}/fdinfo/${ring}`)
      },
      shows: ({ pid }) => differs(pid, { uid: NOBODY }),
    }),
  },
  {
    // it is told, not prevented: no identity is asked for it
    name: "TIOCSTI types into root's terminal, and nobody says so",
    promise: 'Foreseen',
    needs: ['root', 'cc'],
    caught: ['haraka', 'terminal'],
    prepare: (t) => {
      const legacy = '/proc/sys/dev/tty/legacy_tiocsti'
      const wrapper = existsSync(legacy) ? shown(t, legacy, '1\n', ...terminal) : terminal
      return {
        options: { user },
        wants: 'done',
        begin: startedBy(...wrapper),
        pid: onlyChild,
        shows: async ({ report, subject }) => {
          if (report?.findings.some(({ code }) => code === 'HARDEN_TIOCSTI')) return ''
          const errno = await subject.ask('native', 'typeLetter')
          return errno === 0 ? 'it types' : `this kernel refuses it, errno ${errno}, and would not be asked`
        },
      }
    },
  },
  {
    name: 'access() does not count what is retained',
    promise: 'Plain',
    needs: ['root'],
    caught: ['access'],
    prepare: (t) => {
      const file = join(folder(t), 'queue')
      writeFileSync(file, '')
      chmodSync(file, 0o600)
      return {
        options: { user, capabilities: 'cap_dac_override+ep', rehearse: { write: [file] } },
        ours: true,
        unjust: true,
        wants: 'done',
        shows: () => '',
      }
    },
  },
  {
    name: 'faccessat2() of a pipe is refused falsely',
    promise: 'Plain',
    needs: ['root'],
    caught: ['pipes'],
    prepare: () => ({
      options: { user },
      ours: true,
      wants: 'done',
      begin: startedBy('bash', '-c', 'exec "$@" 7< <(:)', 'bash'),
      shows: ({ report }) => {
        const said = report?.findings.find(({ code }) => code === 'HARDEN_DESCRIPTORS')?.message ?? ''
        return said.includes('pipe:') ? said : ''
      },
    }),
  },
  {
    name: 'hidepid=2: it may read of itself, and not of its parent',
    promise: 'Proved',
    needs: ['root'],
    caught: ['parent'],
    prepare: () => ({
      options: { user },
      ours: true,
      unjust: true,
      wants: 'done',
      // of this mount alone, since Linux 5.8
      begin: startedBy('unshare', '--mount', 'sh', '-c', 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', 'sh'),
      shows: async ({ pid, audit }) => {
        const { threads, discrepancies } = await audit()
        return threads.length > 0 && discrepancies?.length === 0 ? differs(pid, dropped) : 'audit() finds something'
      },
    }),
  },
  {
    name: 'a process of the new user kills the rehearsing child',
    promise: 'Rehearsed',
    needs: ['root', 'setpriv', 'strace'],
    caught: ['killed'],
    prepare: () => ({
      options: { user, capabilities },
      ours: true,
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'capset', message: /signal 9/ },
      begin: startedBy(...slowCapset),
      before: (scene) => attacker(scene, killChild('=')),
      shows: () => 'it goes on unrehearsed',
    }),
  },
  {
    name: 'the new user traces the process that says what it could exchange: no_setuid_fixup',
    promise: 'Rehearsed',
    needs: ['root', 'setpriv', 'strace'],
    caught: ['traced'],
    prepare: () => ({
      options: { ...byNumber, capabilities },
      ours: true,
      wants: 'done',
      begin: startedBy(
        ...slowCapset,
        'setpriv',
        ...asNobody,
        ...['--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service', '--securebits=+no_setuid_fixup'],
      ),
      before: (scene) => attacker(scene, readChild),
      shows: async ({ prepared }) =>
        (await (prepared as { said: Promise<string> }).said) === 'reached' ? 'the memory of the rehearsal is open' : '',
    }),
  },
  {
    name: 'a process of the new user takes its descriptors away: prlimit',
    promise: 'Proved',
    needs: ['root', 'setpriv'],
    caught: ['blind'],
    prepare: () => ({
      options: { user },
      ours: true,
      wants: 'done',
      shows: async ({ pid, audit }) => {
        if (!(await canItsUser('prlimit', '--pid', String(pid), '--nofile=3'))) return ''
        const said = await audit().catch((error) => {
          if (error instanceof Refusal) return undefined
          throw error
        })
        return said?.threads.length === 0 ? 'audit() has seen no thread, and finds nothing' : ''
      },
    }),
  },
  {
    name: 'the new user puts another directory in the place of the chroot',
    promise: 'For good',
    needs: ['root', 'setpriv'],
    caught: ['outside', 'exchange'],
    prepare: (t) => {
      const root = exchangeable(t)
      return {
        options: { ...byNumber, chroot: root },
        wants: 'refused',
        // its parent, for it owns that one in /tmp, which is sticky
        refusal: { code: 'ERR_HARDEN_CHROOT_PATH', option: 'chroot', found: dirname(root) },
        shows: () => exchanges(root),
      }
    },
  },
  {
    name: 'the new user kills the process that would say so',
    promise: 'Rehearsed',
    needs: ['root', 'setpriv', 'strace'],
    caught: ['unanswered'],
    prepare: () => ({
      options: byNumber,
      ours: true,
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'exchange', errno: -10 }, // ECHILD
      begin: startedBy(...slow('faccessat', 500)),
      before: (scene) => attacker(scene, killChild('!=')),
      shows: () => 'nothing is known of what it could exchange',
    }),
  },
  {
    name: 'a directory is opened between the rehearsal and the commit',
    promise: 'For good',
    needs: ['root', 'cc', 'strace'],
    caught: ['inside'],
    prepare: (t) => ({
      options: { user, chroot: jail(t) },
      ours: true,
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_OPEN_DIRECTORY' },
      // while the child is in there
      begin: startedBy(...slowCapset),
      before: async ({ pid, subject }) => {
        await subject.ask('startWorkers', 1)
        return subject.ask('askWorker', 0, 'openInRehearsal', '/usr', pid)
      },
      shows: leadsOut,
    }),
  },
  sharing('another process runs on the same memory, as root (clone(2), CLONE_VM)', 'shareMemory', ['three', 'sharing']),
  sharing('the same, not a child, and it maps and unmaps (CLONE_PARENT)', 'shareMemoryAside', [
    'three',
    'sharing',
    'children',
  ]),
  sharing(
    'the same, where kcmp(2) is refused',
    'shareMemoryAside',
    ['three', 'sharing', 'children'],
    (t) => start(t, { wrapper: filtered(t, KCMP, 1) }), // EPERM
  ),
  sharing('the same, and its main thread has ended', 'shareMemoryHeadless', [
    'three',
    'sharing',
    'headless',
    'counted',
  ]),
  {
    name: 'one thread has a seccomp filter more, which refuses capset',
    promise: 'Unchanged or done',
    needs: ['root', 'cc'],
    caught: ['filters'],
    prepare: () => ({
      options: { user },
      ours: true,
      avoidable: true,
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_THREAD_DIFFERS', step: 'compare' },
      before: async ({ subject }) => {
        await subject.ask('load', moduleOf(join(__dirname, 'filters.c')))
        await subject.ask('native', 'everyThread', 0xffff, -1, SECCOMP_RET_ERRNO_EPERM)
        return subject.ask('native', 'newThread', numbers[process.arch]?.capset[0], -1, SECCOMP_RET_ERRNO_EPERM)
      },
      shows: ({ pid }) => differs(pid, dropped),
    }),
  },
  {
    name: 'a child has all capabilities in a user namespace of its own',
    promise: 'For good',
    needs: ['root'],
    caught: ['haraka', 'groups'],
    prepare: () => ({
      options: { user },
      wants: 'done',
      before: ({ subject }) => subject.ask('setgroups', [0, 42]),
      shows: async ({ subject }) => {
        const { status } = await subject.ask('run', 'unshare', ['--user', '--map-root-user', 'cat', SHADOW])
        return status === 0 ? `and reads ${SHADOW}` : ''
      },
    }),
  },
]

/** The line of a report that tells what is not prevented; '' where it is told. */
function untold({ report }: Scene, code: string, place: string): string {
  const told = report?.findings.some((finding) => finding.code === code && finding.message.includes(place))
  return told ? '' : `${code} is not reported`
}

/** A folder in which its user can put a link in the place of what root has opened. */
async function unlessTold(scene: Scene, code: string, place: string): Promise<string> {
  return (await canItsUser('test', '-w', place)) ? untold(scene, code, place) : `its user cannot write to ${place}`
}

/** @param begin with something of root's in this folder of the user's */
const atNextStart = (name: string, begin: (home: string) => NonNullable<Setting['begin']>): Row => ({
  name,
  promise: 'Foreseen',
  needs: ['root', 'setpriv'],
  caught: ['haraka', 'three', 'unforeseen'],
  prepare: (t) => {
    const home = folder(t)
    chownSync(home, 65534, 65534)
    return {
      options: { user },
      wants: 'done',
      begin: begin(home),
      shows: (scene) => unlessTold(scene, 'HARDEN_NEXT_START', home),
    }
  },
})

/** What fails hours later, or at root's next start. None of it is prevented: it is refused where `rehearse` asks, else reported. */
const later: Row[] = [
  atNextStart('CVE-2020-28007 (exim), CVE-2024-20506 (ClamAV): a log in its folder', (home) =>
    startedBy('sh', '-c', `exec "$@" 7>>${join(home, 'log')}`, 'sh'),
  ),
  atNextStart('CVE-2016-9566 (Nagios): what root reads next is in its folder', (home) => {
    const module = join(home, 'plugin.js')
    writeFileSync(module, '')
    return (t) => start(t, { execArgv: ['--require', module] })
  }),
  {
    name: 'Haraka#3488: the listener cannot be opened again',
    promise: 'Foreseen',
    needs: ['root'],
    caught: ['haraka', 'three', 'unasked'],
    prepare: () => ({
      options: { user, rehearse: { bind: [25] } },
      wants: 'refused',
      refusal: { code: 'ERR_HARDEN_ACCESS', option: 'rehearse.bind[0]', step: 'bind', errno: -13, found: '25' },
      shows: async ({ subject }) =>
        (await succeeds(subject.ask('listen', 25, '127.0.0.1'))) ? '' : 'and EACCES later',
    }),
  },
  {
    name: "rsyslog#1352, Haraka#3511: the queue is root's",
    promise: 'Foreseen',
    needs: ['root', 'setpriv'],
    caught: ['haraka', 'three', 'unasked'],
    prepare: (t) => {
      const queue = folder(t)
      return {
        options: { user, rehearse: { write: [queue] } },
        wants: 'refused',
        refusal: { code: 'ERR_HARDEN_ACCESS', option: 'rehearse.write[0]', step: 'write', errno: -13, found: queue },
        shows: async () => ((await canItsUser('test', '-w', queue)) ? '' : 'and EACCES later'),
      }
    },
  },
  {
    name: 'a group by which its members become root',
    promise: 'Foreseen',
    needs: ['root'],
    caught: ['three', 'grouped'],
    prepare: () => ({
      options: { user, supplementalGroups: ['disk'] },
      wants: 'done',
      shows: (scene) => untold(scene, 'HARDEN_GROUP_IS_ROOT', 'disk'),
    }),
  },
]

/** What has happened to others; what this package's own design met when it was attacked. */
export const rows: readonly Row[] = [...field, ...later, ...found]
