/**
 * Promise: unchanged or done, exactly as asked, in whatever surroundings the process starts. Namespaces, the bounding
 * sets of the usual containers, odd /proc file systems, limits. The expected outcome of each is written by hand: done,
 * and what an outsider then reads of every thread; or refused, with nothing changed, and where the cause can be
 * removed, done after that in the same process. (test/evidence/filters.test.ts: system call filters.)
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import type { Test } from 'tap'
import { live } from '../live/live'
import { common, hardened, mask, NONE, roots, settled, type Task } from '../live/outside'
import { inUserNamespace, type Options, start } from '../live/subject'

type State = Omit<Task, 'tid' | 'name'>

interface Refused {
  code: string
  step: string
  syscall?: string
  errno?: string
  option?: string
  remedy: RegExp
}

interface Surroundings {
  name: string
  start?: Options
  /** What is done to the process when it runs. */
  first?: (pid: number) => void
  asked?: object
  /** What is refused, at first. */
  refused?: Refused
  /** Takes the cause away: then it is done. Without it the refusal is the end of it. */
  mend?: (pid: number) => void
  /** How it then differs from `hardened`. */
  done?: Partial<State> | ((before: State) => Partial<State>)
  /** The codes of the report's findings. */
  findings?: string[]
}

const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
chmodSync(folder, 0o777)
process.on('exit', () => rmSync(folder, { recursive: true }))

const jail = mkdtempSync(join(tmpdir(), 'privdrop-'))
chmodSync(jail, 0o755)
process.on('exit', () => rmSync(jail, { recursive: true }))
const [SETGID, SETUID, BIND] = [6, 7, 10]
const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const nothing = { permitted: NONE, effective: NONE, bounding: NONE }
const fourTimes = (id: number): string => `${id} ${id} ${id} ${id}`
const staysRoot = { uid: fourTimes(0), gid: fourTimes(0) }

const noGroups = ['setpriv', '--clear-groups', '--']
const groups = (...ids: number[]): string[] => ['setpriv', `--groups=${ids.join()}`, '--']
const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']

const inNamespace = (...kinds: string[]): Options => ({ wrapper: ['unshare', ...kinds, '--'] })
/** A mount namespace in which this has been run. */
const mounted = (script: string): Options => ({
  wrapper: ['unshare', '--mount', '--', 'sh', '-c', `${script} && exec "$@"`, 'sh'],
})
const after = (before: string[], { wrapper = [], ...more }: Options): Options => ({
  ...more,
  wrapper: [...before, ...wrapper],
})

/** A namespace that keeps its capabilities although its user is unmapped; else the first execve(2) takes them. */
const withCapabilities = ({ wrapper = [], ...more }: Options): Options => ({
  ...more,
  wrapper: ['unshare', '--keep-caps', ...wrapper.slice(1)],
})

const enter = (pid: number, kinds: string[], ...command: string[]) =>
  execFileSync('nsenter', ['--target', String(pid), ...kinds, '--', ...command])
const limit = (pid: number, resource: string) => execFileSync('prlimit', ['--pid', String(pid), resource])
/** By itself: for that of another user one needs CAP_SYS_RESOURCE. */
const limitNobody = (pid: number, resource: string) =>
  execFileSync(nobody[0] as string, [...nobody.slice(1), '--', 'prlimit', '--pid', String(pid), resource])

const refusedCall = (step: string, errno: string, remedy: RegExp, syscall = step): Refused => ({
  code: 'ERR_HARDEN_NOT_PERMITTED',
  step,
  syscall,
  errno,
  remedy,
})

const userNamespaces: Surroundings[] = [
  {
    name: 'a user namespace with one id',
    start: { wrapper: [...noGroups, 'unshare', '--user', '--map-root-user'] },
    refused: refusedCall('setresgid', 'EINVAL', /map group 65534 .*gid_map/),
  },
  {
    name: 'the same, and its root stays',
    start: { wrapper: [...noGroups, 'unshare', '--user', '--map-root-user'] },
    asked: { user: 0, capabilities: 'cap_net_bind_service+ep' },
    done: staysRoot,
    findings: ['HARDEN_USER_ROOT'],
  },
  {
    name: 'the same, and it has groups',
    start: { wrapper: [...groups(0, 4), 'unshare', '--user', '--map-root-user'] },
    refused: refusedCall('setgroups', 'EPERM', /\/proc\/self\/setgroups/),
  },
  {
    name: 'a user namespace that denies setgroups, and it has no groups',
    start: after(
      noGroups,
      inUserNamespace({ setgroups: 'deny', uid_map: '0 0 1\n65534 65534 1\n', gid_map: '0 0 1\n65534 65534 1\n' }),
    ),
  },
  {
    name: 'a user namespace that denies setgroups, and groups are asked for',
    start: after(
      noGroups,
      inUserNamespace({ setgroups: 'deny', uid_map: '0 0 1\n65534 65534 1\n', gid_map: '0 0 9\n65534 65534 1\n' }),
    ),
    asked: { ...options, supplementalGroups: [8] },
    refused: refusedCall('setgroups', 'EPERM', /\/proc\/self\/setgroups/),
  },
  {
    name: 'a user namespace with all ids',
    start: inUserNamespace({ uid_map: '0 0 4294967295\n', gid_map: '0 0 4294967295\n' }),
    asked: { ...options, supplementalGroups: [8] },
    done: { groups: '8' },
  },
  {
    name: 'a user namespace with ids of its own, as of a rootless container',
    start: withCapabilities(
      inUserNamespace(
        { uid_map: '0 100000 65536\n', gid_map: '0 100000 65536\n' },
        ...['setpriv', '--reuid=0', '--regid=0', '--clear-groups', '--'],
      ),
    ),
    asked: { ...options, supplementalGroups: [8] },
    done: { uid: fourTimes(165534), gid: fourTimes(165534), groups: '100008' },
  },
  {
    name: 'a user namespace in which root looks like nobody, who is there too',
    start: after(
      noGroups,
      withCapabilities(inUserNamespace({ uid_map: '65534 65534 1\n', gid_map: '65534 65534 1\n' })),
    ),
  },
]

const docker =
  'chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap'
const podman = 'chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot setfcap'

/** A container's root with these capabilities. */
const container = (names: string, ...more: string[]): Options => ({
  wrapper: [
    'setpriv',
    '--clear-groups',
    '--bounding-set',
    ['-all', ...names.split(' ').map((name) => `+${name}`)].join(),
    ...more,
    '--',
  ],
})

const boundingSets: Surroundings[] = [
  { name: "Docker's 14 capabilities", start: container(docker) },
  {
    name: "Docker's 14 capabilities, and a chroot",
    start: container(docker),
    asked: { ...options, chroot: jail },
  },
  { name: "Docker's, with no-new-privileges", start: container(docker, '--no-new-privs') },
  { name: "Podman's 11 capabilities, and a chroot", start: container(podman), asked: { ...options, chroot: jail } },
  {
    name: "Podman's 11 capabilities, and cap_net_raw is asked for",
    start: container(podman),
    asked: { user: 'nobody', capabilities: 'cap_net_raw+ep' },
    refused: refusedCall('capset', 'EPERM', /cap_net_raw .*--cap-add NET_RAW;/),
  },
  {
    name: 'Kubernetes: drop ALL, add NET_BIND_SERVICE',
    start: container('net_bind_service'),
    refused: refusedCall('setresgid', 'EPERM', /cap_setgid, cap_setuid .*capabilities\.add: \[SETGID, SETUID\];/),
  },
  {
    name: 'the same, and root stays',
    start: container('net_bind_service'),
    asked: { user: 'root', capabilities: 'cap_net_bind_service+ep' },
    done: staysRoot,
    findings: ['HARDEN_USER_ROOT'],
  },
  {
    name: 'the same, with runAsUser',
    start: container('net_bind_service', '--reuid=65534', '--regid=65534'),
    asked: { user: 'nobody' },
    done: { ...nothing, bounding: mask(BIND) },
    findings: ['HARDEN_BOUNDING_KEPT'],
  },
  {
    name: 'the same, with runAsUser, and the capability is asked for',
    start: container('net_bind_service', '--reuid=65534', '--regid=65534'),
    refused: refusedCall('capset', 'EPERM', /cap_net_bind_service ambient .*AmbientCapabilities=CAP_NET_BIND_SERVICE;/),
  },
  {
    name: 'Kubernetes: drop ALL, add NET_BIND_SERVICE, SETUID, SETGID',
    start: container('net_bind_service setuid setgid'),
    done: { bounding: mask(BIND, SETUID, SETGID) },
    findings: ['HARDEN_BOUNDING_KEPT'],
  },
  {
    name: 'the same, and SETPCAP',
    start: container('net_bind_service setuid setgid setpcap'),
    done: { bounding: mask(BIND) },
  },
  {
    name: 'the same, and a chroot',
    start: container('net_bind_service setuid setgid setpcap'),
    asked: { ...options, chroot: jail },
    refused: refusedCall('chroot', 'EPERM', /cap_sys_chroot .*--cap-add SYS_CHROOT;/),
  },
  {
    name: 'SETPCAP and SETUID alone',
    start: container('setuid setpcap'),
    asked: { user: 'nobody' },
    refused: refusedCall('setresgid', 'EPERM', /cap_setgid/),
  },
  {
    name: 'SETPCAP, and nobody already',
    start: container('setpcap', '--reuid=65534', '--regid=65534', '--inh-caps=+setpcap', '--ambient-caps=+setpcap'),
    asked: {},
    done: nothing,
  },
  {
    name: 'no capability at all',
    start: { wrapper: ['setpriv', '--clear-groups', '--bounding-set=-all', '--'] },
    refused: refusedCall('setresgid', 'EPERM', /cap_setgid/),
  },
]

const noProc = (syscall: string, errno: string): Refused => ({
  code: 'ERR_HARDEN_PROC',
  step: 'proc',
  syscall,
  errno,
  remedy: /mount -t proc proc \/proc/,
})

const procs: Surroundings[] = [
  ...['hidepid=2', 'hidepid=ptraceable', 'subset=pid', 'ro'].map((option) => ({
    name: `/proc with ${option}`,
    start: mounted(`umount -l /proc && mount -t proc -o ${option} proc /proc`),
    // fs.suid_dumpable is hidden
    findings: option === 'subset=pid' ? ['HARDEN_NOT_EXAMINED'] : [],
  })),
  {
    name: 'no /proc at all',
    start: mounted('umount -l /proc'),
    refused: noProc('open', 'ENOENT'),
    mend: (pid) => enter(pid, ['--mount'], 'mount', '-t', 'proc', 'proc', '/proc'),
  },
  {
    name: "another pid namespace's /proc",
    start: inNamespace('--pid', '--mount', '--fork', '--kill-child'),
    refused: noProc('faccessat', 'ENOENT'),
    mend: (pid) => enter(pid, ['--mount', '--pid'], 'mount', '-t', 'proc', 'proc', '/proc'),
  },
  {
    name: 'another file system in the place of /proc',
    start: mounted('mount -t tmpfs tmpfs /proc && mkdir -p /proc/self/task'),
    refused: noProc('fstatfs', 'ENODEV'),
    mend: (pid) => enter(pid, ['--mount'], 'umount', '/proc'),
  },
  {
    name: 'process 1, with a /proc of its own',
    start: inNamespace('--pid', '--fork', '--kill-child', '--mount-proc'),
  },
  {
    name: 'process 1, a read-only root, no-new-privileges and hidepid=2, all at once',
    start: after(
      inNamespace('--pid', '--fork', '--kill-child').wrapper as string[],
      after(
        mounted('umount -l /proc && mount -t proc -o hidepid=2 proc /proc && mount -o remount,bind,ro /')
          .wrapper as string[],
        container(docker, '--no-new-privs'),
      ),
    ),
  },
]

const readOnly = `mount --bind ${folder} ${folder} && mount -o remount,bind,ro ${folder} && mount -o remount,bind,ro /`
const portsOpen = 'echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start'

const places: Surroundings[] = [
  { name: 'a read-only root', start: mounted(readOnly) },
  { name: 'a read-only root, and a chroot in it', start: mounted(readOnly), asked: { ...options, chroot: jail } },
  {
    name: 'a read-only root that has to be written to',
    start: mounted(readOnly),
    asked: { ...options, rehearse: { write: [folder] } },
    refused: {
      code: 'ERR_HARDEN_ACCESS',
      step: 'write',
      syscall: 'faccessat2',
      errno: 'EROFS',
      option: 'rehearse.write[0]',
      remedy: /mount the file system writable/,
    },
    mend: (pid) => enter(pid, ['--mount'], 'mount', '-o', 'remount,bind,rw', folder),
  },
  {
    name: 'a network namespace in which ports are free to anybody, as in Docker',
    start: after(inNamespace('--net').wrapper as string[], {
      wrapper: ['sh', '-c', `${portsOpen} && exec "$@"`, 'sh'],
    }),
    asked: { user: 'nobody', rehearse: { bind: [25] } },
    done: nothing,
  },
  {
    name: 'a network namespace in which they are not',
    start: inNamespace('--net'),
    asked: { user: 'nobody', rehearse: { bind: [25] } },
    refused: {
      code: 'ERR_HARDEN_ACCESS',
      step: 'bind',
      syscall: 'bind',
      errno: 'EACCES',
      option: 'rehearse.bind[0]',
      remedy: /cap_net_bind_service/,
    },
    mend: (pid) => enter(pid, ['--net'], 'sh', '-c', portsOpen),
    done: nothing,
  },
]

/** That many descriptors are left to the process. */
function leave(pid: number, free: number): void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number))
  let most = 0
  for (let left = free; left > 0 || open.has(most); most++) if (!open.has(most)) left--
  limit(pid, `--nofile=${most}:`)
}

const unlimited = (pid: number) => limit(pid, '--nofile=1024:')
const noDescriptor: Refused = { ...noProc('open', 'EMFILE'), remedy: /RLIMIT_NOFILE/ }
/** For RLIMIT_SIGPENDING: a real user that no other process has. */
const realUser = ['setpriv', '--ruid=54321', '--']

const limits: Surroundings[] = [
  {
    name: 'RLIMIT_NPROC is 1',
    start: { wrapper: ['prlimit', '--nproc=1'] },
    findings: ['HARDEN_NPROC'],
  },
  {
    name: 'RLIMIT_NPROC is reached, by a plain user',
    start: { wrapper: [...nobody, '--'] },
    first: (pid) => limitNobody(pid, '--nproc=1:'),
    asked: {},
    refused: refusedCall('rehearsal child', 'EAGAIN', /RLIMIT_NPROC/, 'clone'),
    mend: (pid) => limitNobody(pid, '--nproc=1000:'),
    done: ({ bounding }) => ({ ...nothing, bounding }),
    findings: ['HARDEN_BOUNDING_KEPT'],
  },
  {
    name: 'RLIMIT_SIGPENDING is 0',
    start: { wrapper: ['prlimit', '--sigpending=0:1000', '--'] },
    refused: {
      code: 'ERR_HARDEN_THREAD_UNREACHABLE',
      step: 'park',
      syscall: 'rt_tgsigqueueinfo',
      errno: 'EAGAIN',
      remedy: /RLIMIT_SIGPENDING/,
    },
    mend: (pid) => limit(pid, '--sigpending=1000:'),
  },
  ...[1, 2].map((signals) => ({
    name: `RLIMIT_SIGPENDING is ${signals}: one thread waits for the other`,
    start: { wrapper: ['prlimit', `--sigpending=${signals}`, '--', ...realUser] },
  })),
  ...[0, 1, 2].map((free) => ({
    name: `RLIMIT_NOFILE: ${free} are free`,
    first: (pid: number) => leave(pid, free),
    refused: noDescriptor,
    mend: unlimited,
  })),
  { name: 'RLIMIT_NOFILE: 3 are free', first: (pid) => leave(pid, 3) },
  {
    name: 'no files, no locked memory, no core, no message queues, no priority',
    start: {
      wrapper: ['prlimit', '--fsize=0', '--memlock=0', '--core=0', '--msgqueue=0', '--nice=0', '--rtprio=0', '--'],
    },
  },
]

/** The folder of the pids controller, of either version (cgroups(7)); mounted if it is not yet. */
function pidsController(t: Test): string {
  const hasPids = (root: string) => readFileSync(join(root, 'cgroup.controllers'), 'latin1').includes('pids')
  for (const line of readFileSync('/proc/self/mounts', 'latin1').split('\n')) {
    const [, root = '', kind, more = ''] = line.split(' ')
    if (kind === 'cgroup' && more.split(',').includes('pids')) return root
    if (kind !== 'cgroup2' || !hasPids(root)) continue
    writeFileSync(join(root, 'cgroup.subtree_control'), '+pids')
    return root
  }
  const root = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmdirSync(root))
  execFileSync('mount', ['-t', 'cgroup2', 'cgroup2', root])
  t.teardown(() => execFileSync('umount', [root]))
  writeFileSync(join(root, 'cgroup.subtree_control'), '+pids')
  return root
}

live('pids.max is reached', ['root'], async (t) => {
  const group = mkdtempSync(join(pidsController(t), 'privdrop-'))
  t.teardown(() => rmdirSync(group))
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  writeFileSync(join(group, 'cgroup.procs'), String(subject.pid))
  writeFileSync(join(group, 'pids.max'), readFileSync(join(group, 'pids.current')))
  const before = await settled(subject.pid)
  const fields = await subject.refusal('harden', options)
  t.match(fields, {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'rehearsal child',
    syscall: 'clone',
    errno: -11,
    remedy: /pids\.max/,
  })
  t.same(await settled(subject.pid), before, 'nothing has changed')
  writeFileSync(join(group, 'pids.max'), 'max')
  await subject.ask('harden', options)
  t.same(common(subject.pid), hardened)
  t.comment(`pids.max is reached: ${fields.message}; and then done`)
})

/** Follows the wrappers that fork. */
function nodeOf(pid: number): number {
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'))
  return child ? nodeOf(child) : pid
}

for (const surroundings of [...userNamespaces, ...boundingSets, ...procs, ...places, ...limits]) {
  const { name, asked = options, refused, mend, done = {}, findings = [] } = surroundings
  live(name, ['root', 'setpriv', 'prlimit', 'nsenter'], async (t) => {
    const subject = await start(t, surroundings.start)
    await subject.ask('warmPool', 4)
    await subject.ask('listen', 0, '127.0.0.1')
    const pid = nodeOf(subject.pid)
    // a change of ids takes from it the signal at its parent's end (prctl(2), PR_SET_PDEATHSIG)
    t.teardown(() => process.kill(pid, 'SIGKILL'))
    surroundings.first?.(pid)
    const before = common(pid)
    if (refused) {
      const { errno, ...wanted } = refused
      const snapshot = await settled(pid)
      const fields = await subject.refusal('harden', asked)
      t.match(fields, wanted)
      t.equal(fields.errno && getSystemErrorName(Number(fields.errno)), errno)
      t.same(await settled(pid), snapshot, 'nothing has changed')
      t.comment(`${name}: ${fields.message}`)
      if (!mend) return
      mend(pid)
    }
    const { report } = await subject.ask('harden', asked)
    t.same(common(pid), { ...hardened, ...(typeof done === 'function' ? done(before) : done) })
    t.same(
      report.findings.map(({ code }: { code: string }) => code),
      findings,
    )
    if ('chroot' in asked) {
      t.same(roots(pid), [`${asked.chroot} ${asked.chroot}`])
      t.match(await subject.refusal('audit'), {
        code: 'ERR_HARDEN_PROC',
        remedy: `npx privdrop audit ${pid} outside, in the application's folder`,
      })
    } else t.same((await subject.ask('audit')).report.discrepancies, [])
    t.comment(`${name}: ${mend ? 'and then ' : ''}done`)
  })
}
