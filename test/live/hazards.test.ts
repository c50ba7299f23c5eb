/** Promise: what would defeat the call is refused or reported, and nothing else is. Each hazard is real, beside its twin. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { actions } from '../children/hazards'
import { live } from './live'
import { common, settled } from './outside'
import { build, folder, loadIds, type Options, type Subject, shown, start, terminal } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
type Run = (subject: Subject<typeof actions>) => Promise<unknown>

interface Twin extends Options {
  title: string
  asked?: object
  first?: Run
}

/** The finding with this code in a process started and prepared like this; undefined if it has none. */
async function finding(t: Test, code: string, { first, asked, ...how }: Partial<Twin>) {
  const subject = await start<typeof actions>(t, { program: 'hazards', ...how })
  await first?.(subject)
  return (await subject.ask('harden', { ...options, ...asked }))[code]
}

/** What only root can open, and inherited. */
const opener = (t: Test, what: string): string[] => [build(t, 'open'), what]

function twins(code: string, level: string, message: RegExp, there: Twin[], none: Twin[]): void {
  for (const twin of there)
    live(`${code}: ${twin.title}`, ['root'], async (t) => {
      const found = await finding(t, code, twin)
      t.match(found, { level, message, remedy: /./ })
    })
  for (const twin of none)
    live(`no ${code}: ${twin.title}`, ['root'], async (t) => {
      t.notOk(await finding(t, code, twin))
    })
}

twins(
  'HARDEN_CAPABILITY_IS_ROOT',
  'danger',
  /cap_sys_ptrace|cap_dac_override|cap_bpf/,
  [
    { title: 'permitted', asked: { capabilities: 'cap_sys_ptrace+p cap_chown+ep' } },
    { title: 'inheritable', asked: { capabilities: 'cap_dac_override+i' } },
    { title: 'two that do so together', asked: { capabilities: 'cap_bpf,cap_perfmon+ep' } },
  ],
  [
    { title: 'what does not', asked: { capabilities: 'cap_net_bind_service,cap_net_raw,cap_net_admin,cap_bpf+ep' } },
    { title: 'none at all', asked: { capabilities: '' } },
    { title: 'user root, who is told already', asked: { user: 'root', capabilities: 'cap_chown+ep' } },
  ],
)

live('HARDEN_CHILDREN_ROOT: the pids of those that are, and of no other', ['root'], async (t) => {
  const subject = await start<typeof actions>(t, { program: 'hazards' })
  const root = await subject.ask('start', 0)
  const other = await subject.ask('start', 65534)
  const found = (await subject.ask('harden', options)).HARDEN_CHILDREN_ROOT
  t.match(found, { level: 'danger', message: new RegExp(`: ${root} \\(cat\\)$`) })
  t.notMatch(found?.message, String(other))
})
live('HARDEN_CHILDREN_ROOT: one whose main thread has ended', ['root', 'cc'], async (t) => {
  const subject = await start<typeof actions>(t, { program: 'hazards' })
  const pid = await subject.ask('start', 0, build(t, 'headless'))
  while (!/\nState:\tZ/.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) await subject.ask('pid')
  const found = (await subject.ask('harden', options)).HARDEN_CHILDREN_ROOT
  t.match(found, { level: 'danger', message: new RegExp(`: ${pid} \\(headless\\)$`) })
})
twins(
  'HARDEN_CHILDREN_ROOT',
  'danger',
  /./,
  [],
  [
    { title: 'no child', first: async () => {} },
    { title: 'of another user', first: (subject) => subject.ask('start', 65534) },
  ],
)

live('HARDEN_PRIMARY_ROOT: a cluster worker whose primary is root, and is so no more', ['root', 'cc'], async (t) => {
  for (const [uid, level] of [
    [0, 'note'],
    [65534, undefined],
  ] as const) {
    const primary = await start<typeof actions>(t, { program: 'hazards' })
    await primary.ask('fork')
    await loadIds(t, primary)
    await primary.ask('native', 'setuid', uid)
    const found = (await primary.ask('askWorker', 'harden', options)) as Awaited<ReturnType<typeof actions.harden>>
    t.equal(found.HARDEN_PRIMARY_ROOT?.level, level)
    if (level) t.match(found.HARDEN_PRIMARY_ROOT?.message, String(primary.pid))
    t.notOk(found.HARDEN_NOT_LISTENING, 'that is the business of its primary')
  }
})
twins('HARDEN_PRIMARY_ROOT', 'note', /./, [], [{ title: 'no cluster' }])

const legacy = '/proc/sys/dev/tty/legacy_tiocsti'
live('HARDEN_TIOCSTI: a terminal, unless the kernel refuses it', ['root'], async (t) => {
  const accepts = (value: string, inner: string[]) => ({
    wrapper: existsSync(legacy) ? shown(t, legacy, value, ...inner) : inner,
  })
  t.match(await finding(t, 'HARDEN_TIOCSTI', accepts('1\n', terminal)), { level: 'danger', remedy: /setsid/ })
  t.notOk(await finding(t, 'HARDEN_TIOCSTI', accepts('1\n', [])), 'no terminal')
  if (existsSync(legacy)) t.notOk(await finding(t, 'HARDEN_TIOCSTI', accepts('0\n', terminal)), 'refused')
})

live('ERR_HARDEN_SUID_DUMPABLE: where fs.suid_dumpable is 1, unless no id changes', ['root', 'setpriv'], async (t) => {
  const at = (value: number, ...then: string[]) => shown(t, '/proc/sys/fs/suid_dumpable', `${value}\n`, ...then)
  const asUser = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--']
  const refused = await start<typeof actions>(t, { program: 'hazards', wrapper: at(1) })
  const before = common(refused.pid)
  t.equal(before.uid, '0 0 0 0')
  t.match(await refused.refusal('harden', options), { code: 'ERR_HARDEN_SUID_DUMPABLE', found: '1' })
  t.same(common(refused.pid), before)
  for (const [wrapper, asked] of [
    [at(0), options],
    [at(2), options],
    [at(1, ...asUser), {}],
  ] as const) {
    const subject = await start<typeof actions>(t, { program: 'hazards', wrapper })
    await subject.ask('harden', asked)
    t.equal(common(subject.pid).uid, '65534 65534 65534 65534')
  }
})

live('HARDEN_NOT_EXAMINED: fs.suid_dumpable, where /proc/sys is hidden (ProcSubset=pid)', ['root'], async (t) => {
  const mount = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
  const hidden = ['unshare', '--mount', 'sh', '-c', mount, 'sh']
  const named = /\/proc\/sys\/fs\/suid_dumpable/
  t.match(await finding(t, 'HARDEN_NOT_EXAMINED', { wrapper: hidden }), { level: 'note', message: named })
  t.notMatch((await finding(t, 'HARDEN_NOT_EXAMINED', {}))?.message ?? '', named)
})

twins(
  'HARDEN_SIGNAL_REPORT',
  'danger',
  /--(report-on|heapsnapshot)-signal/,
  [
    { title: 'a report', execArgv: ['--report-on-signal'] },
    { title: 'a heap snapshot', execArgv: ['--heapsnapshot-signal=SIGUSR2'] },
    { title: 'a heap snapshot, in two words', execArgv: ['--heapsnapshot-signal', 'SIGUSR2'] },
    { title: 'a report, by NODE_OPTIONS', wrapper: ['env', 'NODE_OPTIONS=--report_on_signal'] },
    {
      title: 'a heap snapshot, by NODE_OPTIONS',
      wrapper: ['env', 'NODE_OPTIONS=--no-warnings "--heapsnapshot_signal=SIGUSR2"'],
    },
  ],
  [
    { title: 'neither' },
    { title: 'a report of another cause', execArgv: ['--report-uncaught-exception', '--report-on-fatalerror'] },
  ],
)

twins(
  'HARDEN_NOT_LISTENING',
  'note',
  /listening/,
  [
    { title: 'no server' },
    { title: 'a server that is closed', first: async (subject) => subject.ask('listenAndClose', 0) },
  ],
  [
    { title: 'TCP', first: (subject) => subject.ask('listen', 0) },
    { title: 'a UNIX socket', first: (subject) => subject.ask('listen', `\0privdrop-${process.pid}`) },
    { title: 'TCP of which Node does not tell', first: (subject) => subject.ask('listenUnknownToNode', '127.0.0.1') },
    { title: 'TCP over IPv6', first: (subject) => subject.ask('listenUnknownToNode', '::1') },
  ],
)

for (const [what, found] of [
  ['raw', /descriptor \d+ \(raw\)/],
  ['packet', /descriptor \d+ \(packet\)/],
  ['uevent', /descriptor \d+ \(netlink\)/],
  ['route', undefined],
] as const)
  live(`HARDEN_SOCKETS: ${what}`, ['root', 'cc'], async (t) => {
    const note = await finding(t, 'HARDEN_SOCKETS', { wrapper: opener(t, what) })
    if (found) t.match(note, { level: 'note', message: found })
    else t.notOk(note)
  })
twins('HARDEN_SOCKETS', 'note', /./, [], [{ title: 'TCP', first: (subject) => subject.ask('listen', 0) }])

twins(
  'HARDEN_NPROC',
  'note',
  /user 65534 together may have 1000 /,
  [{ title: 'a limit, and another user', wrapper: ['prlimit', '--nproc=1000'] }],
  [
    { title: 'a limit that libuv cannot reach', wrapper: ['prlimit', '--nproc=1025'] },
    { title: 'user root as before', wrapper: ['prlimit', '--nproc=1000'], asked: { user: 'root' } },
    {
      title: 'another user before',
      wrapper: ['prlimit', '--nproc=1000', 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'],
      asked: { user: 'nobody', capabilities: '' },
    },
  ],
)

/** An empty root directory, and the one above it. */
function jail(t: Test): { outer: string; inner: string } {
  const outer = join(folder(t), 'outer')
  const inner = join(outer, 'root')
  mkdirSync(join(inner, 'proc'), { recursive: true })
  return { outer, inner }
}

live('HARDEN_PROC_IN_CHROOT: mounted there, or an empty directory', ['root'], async (t) => {
  const { inner } = jail(t)
  const mount = ['unshare', '--mount', 'sh', '-c', `mount -t proc proc ${inner}/proc && exec "$@"`, 'sh']
  t.match(await finding(t, 'HARDEN_PROC_IN_CHROOT', { wrapper: mount, asked: { chroot: inner } }), {
    level: 'note',
    message: inner,
  })
  t.notOk(await finding(t, 'HARDEN_PROC_IN_CHROOT', { asked: { chroot: inner } }))
  t.notOk(await finding(t, 'HARDEN_PROC_IN_CHROOT', {}), 'no chroot')
})

live('HARDEN_WRITABLE_ANCESTOR: others than root and the new user may exchange what is there', ['root'], async (t) => {
  const { outer, inner } = jail(t)
  const chroot = join(inner, 'proc')
  const found = () => finding(t, 'HARDEN_WRITABLE_ANCESTOR', { asked: { chroot } })
  t.notOk(await found(), 'the sticky /tmp does no harm')
  for (const [folder, component] of [
    [outer, inner],
    [inner, chroot],
  ] as const) {
    const mended = (place: string) => ({
      level: 'note',
      message: new RegExp(`: '${component}'$`),
      remedy: new RegExp(`^give '${place}' to root`),
    })
    chmodSync(folder, 0o775)
    t.match(await found(), mended(folder), `root's group: ${folder}`)
    chmodSync(folder, 0o1775)
    t.notOk(await found(), 'sticky')
    chownSync(component, 8, 8)
    t.match(await found(), mended(component), `sticky, and not root's: ${component}`)
    chownSync(component, 0, 0)
    chmodSync(folder, 0o755)
    chownSync(folder, 8, 8)
    t.match(await found(), mended(folder), `not root's: ${folder}`)
    chownSync(folder, 0, 0)
  }
  for (const [mode, owner] of [
    [0o775, 8],
    [0o777, 65534],
  ] as const) {
    chmodSync(chroot, mode)
    chownSync(chroot, owner, owner)
    t.notOk(await found(), 'what lies in the new root is no matter of its name')
  }
  t.notOk(await finding(t, 'HARDEN_WRITABLE_ANCESTOR', {}), 'no chroot')
})

twins(
  'HARDEN_ENVIRONMENT',
  'note',
  /HOME|USER|LOGNAME/,
  [
    { title: 'HOME', env: { HOME: '/root' } },
    { title: 'USER', env: { USER: 'root' } },
    { title: 'LOGNAME', env: { LOGNAME: 'root' } },
  ],
  [
    { title: 'another', env: { HOME: '/var/empty', USER: 'nobody', LOGNAME: 'nobody' } },
    { title: 'none' },
    { title: 'user root', env: { HOME: '/root' }, asked: { user: 'root' } },
  ],
)

twins(
  'HARDEN_GROUP_ZERO',
  'danger',
  /group 0/,
  [
    { title: 'the group', asked: { group: 0 } },
    { title: 'among others', asked: { supplementalGroups: ['mail', 'root'] } },
  ],
  [
    { title: 'other groups', asked: { supplementalGroups: ['mail', 'adm'] } },
    { title: 'user root', asked: { user: 'root' } },
  ],
)

live('io_uring: a ring without a thread of the kernel is accepted', ['root', 'cc'], async (t) => {
  const subject = await start<typeof actions>(t, { program: 'hazards', wrapper: opener(t, 'ring') })
  t.match(infos(subject.pid), /^SqThread:\t-1$/m, 'it is there')
  await subject.ask('harden', options)
})

live('io_uring: credentials of root in a ring, where the kernel tells', ['root', 'cc'], async (t) => {
  const subject = await start<typeof actions>(t, { program: 'hazards', wrapper: opener(t, 'personality') })
  if (!/^Personalities:$/m.test(infos(subject.pid))) {
    t.comment('this kernel, 6.16 or later, does not')
    await subject.ask('harden', options)
    return
  }
  const before = await settled(subject.pid)
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_IO_URING', step: 'descriptors' })
  t.same(await settled(subject.pid), before)
})

live('HARDEN_DESCRIPTORS: files and devices that the new user could not open, and no others', ['root'], async (t) => {
  const path = folder(t)
  const [secret, log, open] = ['secret', 'log', 'open'].map((name) => join(path, name)) as [string, string, string]
  for (const file of [secret, log, open]) writeFileSync(file, '')
  chmodSync(secret, 0o600)
  chmodSync(log, 0o644)
  chmodSync(open, 0o666)
  const code = 'HARDEN_DESCRIPTORS'
  const inherit = (...redirections: string[]) => ({
    wrapper: ['sh', '-c', `exec "$@" ${redirections.join(' ')}`, 'sh'],
  })
  t.match(await finding(t, code, inherit(`7<${secret}`, `8>>${log}`, `9<${log}`, `10<>${open}`, '11</dev/null')), {
    level: 'note',
    message: new RegExp(`: descriptor 7 \\('${secret}'\\), descriptor 8 \\('${log}'\\)$`),
  })
  const quiet = inherit(`9<${log}`, `10<>${open}`, '11</dev/null')
  t.notOk(await finding(t, code, quiet))
  t.notOk(await finding(t, code, { ...inherit(`7<${secret}`), asked: { user: 'root' } }))
})

/** The fdinfo of all descriptors. */
function infos(pid: number): string {
  const numbers = execFileSync('ls', [`/proc/${pid}/fdinfo`], { encoding: 'latin1' }).match(/\d+/g) ?? []
  return numbers.map((number) => readFileSync(`/proc/${pid}/fdinfo/${number}`, 'latin1')).join('')
}
