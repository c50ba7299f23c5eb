/** Promise: whatever the process starts as, it ends exactly as asked; a step whose state already holds is not taken. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { live } from './live'
import { common, mask, NONE } from './outside'
import { inUserNamespace, loadIds, nodeUnderTest, start } from './subject'

const bind = mask(10)
const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
const NOBODY = '65534 65534 65534 65534'
const exact = {
  uid: NOBODY,
  gid: NOBODY,
  groups: '',
  permitted: bind,
  effective: bind,
  inheritable: NONE,
  ambient: NONE,
  noNewPrivs: '1',
}

/** Node as user nobody; the rest of the arguments are setpriv's. */
const nobody = (...args: string[]) => ['setpriv', '--reuid=65534', '--regid=65534', ...args, '--']

live(
  "a plain user with ambient capabilities, as systemd's AmbientCapabilities makes it",
  ['root', 'setpriv'],
  async (t) => {
    const caps = '+net_bind_service,+net_raw,+chown'
    const subject = await start(t, {
      wrapper: nobody('--clear-groups', `--inh-caps=${caps}`, `--ambient-caps=${caps}`),
    })
    t.match(common(subject.pid), { uid: NOBODY, effective: mask(0, 10, 13), ambient: mask(0, 10, 13) }, 'before')
    await subject.ask('harden', options)
    t.match(common(subject.pid), exact)
    await subject.ask('listen', 25, '127.0.0.50')
    t.match((await subject.ask('run', 'cat', ['/proc/self/status'])).stdout, `CapEff:\t${NONE}`)
  },
)

live('the same without naming a user', ['root', 'setpriv'], async (t) => {
  const caps = '+net_bind_service,+net_raw'
  const subject = await start(t, { wrapper: nobody('--clear-groups', `--inh-caps=${caps}`, `--ambient-caps=${caps}`) })
  await subject.ask('harden', { capabilities: 'cap_net_bind_service+ep', ambientCapabilities: 'cap_net_bind_service' })
  t.match(common(subject.pid), { ...exact, inheritable: bind, ambient: bind })
})

live('a plain user with inheritable capabilities alone', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: nobody('--clear-groups', '--inh-caps=+net_bind_service,+net_raw') })
  t.match(common(subject.pid), { inheritable: mask(10, 13), permitted: NONE }, 'before')
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'capset' })
  await subject.ask('harden', {})
  t.match(common(subject.pid), { ...exact, permitted: NONE, effective: NONE })
})

live('a plain user with file capabilities', ['root', 'setpriv', 'setcap'], async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  const node = join(folder, 'node')
  copyFileSync(nodeUnderTest, node)
  execFileSync('setcap', ['cap_net_bind_service,cap_net_raw+ep', node])
  const subject = await start(t, { wrapper: nobody('--clear-groups'), node })
  t.match(common(subject.pid), { uid: NOBODY, effective: mask(10, 13) }, 'before')
  await subject.ask('harden', options)
  t.match(common(subject.pid), exact)
})

live('a plain user keeps the groups that it may not give up, and is told', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: nobody('--groups=4,8') })
  t.match(await subject.refusal('harden', { supplementalGroups: ['mail', 'adm', 'tty'] }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'setgroups',
    errno: -1,
  })
  const { report } = await subject.ask('harden', {})
  t.equal(common(subject.pid).groups, '4 8')
  t.match(report.findings, [{ code: 'HARDEN_GROUPS_KEPT', level: 'note' }, { code: 'HARDEN_BOUNDING_KEPT' }])
})

live('a plain user whose groups are those asked for', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: nobody('--groups=4,8') })
  await subject.ask('harden', { supplementalGroups: ['mail', 4] })
  t.equal(common(subject.pid).groups, '4 8')
})

live('it becomes not dumpable, though no id changes', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: nobody('--clear-groups') })
  t.equal(ownerOf(subject.pid), 65534)
  await subject.ask('harden', {})
  t.equal(ownerOf(subject.pid), 0)
})

live('another real user than the rest', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: nobody('--clear-groups').with(1, '--ruid=65534') })
  t.equal(common(subject.pid).uid, '65534 0 0 0')
  t.match(await subject.refusal('harden', {}), { code: 'ERR_HARDEN_USER_REQUIRED' })
  await subject.ask('harden', options)
  t.match(common(subject.pid), exact)
})

live("root set aside, with root's groups still there", ['root', 'setpriv', 'cc'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--groups=0,42', '--'] })
  await loadIds(t, subject)
  await subject.ask('native', 'setegid', 65534)
  await subject.ask('native', 'seteuid', 65534)
  t.match(common(subject.pid), { uid: '0 65534 0 65534', effective: NONE }, 'no capability is effective')
  t.match(await subject.refusal('harden', {}), { code: 'ERR_HARDEN_USER_REQUIRED' })
  t.match(await subject.refusal('harden', options), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    remedy: /before the process changes its effective user/,
  })
  await subject.ask('native', 'seteuid', 0)
  await subject.ask('harden', options)
  t.match(common(subject.pid), exact)
})

live('a user namespace without any id: all look like nobody, and are root', ['root'], async (t) => {
  const subject = await start(t, { wrapper: ['unshare', '--user'] })
  await subject.ask('readSync', '/etc/shadow')
  t.match(await subject.refusal('harden', { user: 'nobody' }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    syscall: 'setresgid',
    errno: -22,
    remedy: /map group 65534 .*gid_map/,
  })
})

live('a user namespace that maps groups in another order', ['root'], async (t) => {
  const maps = { uid_map: '0 0 1\n65534 65534 1\n', gid_map: '0 0 1\n10 2000 1\n20 1000 1\n65534 65534 1\n' }
  const subject = await start(t, inUserNamespace(maps))
  const { report } = await subject.ask('harden', { user: 'nobody', supplementalGroups: [10, 20] })
  t.same(report.groups, [10, 20])
  t.equal(common(subject.pid).groups, '1000 2000', 'as the first namespace sees them')
})

live('no_new_privs set already', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--no-new-privs', '--'] })
  await subject.ask('harden', { ...options, noNewPrivileges: false })
  t.match(common(subject.pid), exact, 'it cannot be unset')
})

live('securebits: noroot and no_setuid_fixup, locked', ['root', 'setpriv'], async (t) => {
  const bits = '+noroot,+noroot_locked,+no_setuid_fixup,+no_setuid_fixup_locked'
  const caps = '+setuid,+setgid,+setpcap,+net_bind_service,+net_raw'
  const subject = await start(t, {
    wrapper: ['setpriv', `--inh-caps=${caps}`, `--ambient-caps=${caps}`, `--securebits=${bits}`, '--'],
  })
  const { report } = await subject.ask('harden', options)
  t.match(common(subject.pid), exact)
  t.equal(report.securebits, 0b1111, 'they stay as they are')
})

live('securebits: no_setuid_fixup, and nothing to retain', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--securebits=+no_setuid_fixup', '--'] })
  await subject.ask('harden', { user: 'nobody' })
  t.match(common(subject.pid), { ...exact, permitted: NONE, effective: NONE })
})

live('securebits: keep_caps locked away', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--securebits=+keep_caps_locked', '--'] })
  const before = common(subject.pid)
  t.match(await subject.refusal('harden', options), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'keepcaps',
    syscall: 'prctl',
    errno: -1,
    remedy: /securebits/,
  })
  t.same(common(subject.pid), before)
  await subject.ask('harden', { user: 'nobody' })
  t.match(
    common(subject.pid),
    { ...exact, permitted: NONE, effective: NONE },
    'without anything retained it is not needed',
  )
})

live('what already holds is not asked for again', ['root', 'setpriv', 'strace'], async (t) => {
  const trace = join(mkdtempSync(join(tmpdir(), 'privdrop-')), 'trace')
  t.teardown(() => rmSync(join(trace, '..'), { recursive: true }))
  const caps = '+net_bind_service'
  const subject = await start(t, {
    wrapper: [
      ...['strace', '-D', '-f', '-qq', '-o', trace, '-e', 'trace=setgroups,setresuid,setresgid,capset'],
      ...nobody('--clear-groups', `--inh-caps=${caps}`, `--ambient-caps=${caps}`),
    ],
  })
  const calls = () => readFileSync(trace, 'latin1').split('\n').length
  const before = calls()
  await subject.ask('harden', options)
  subject.kill()
  await subject.ended
  const made = readFileSync(trace, 'latin1')
    .split('\n')
    .slice(before - 1)
    .join('\n')
  t.match(made, /capset\(/, 'always')
  // but for the children: one tries to get root's group back, and one to have the groups of the account
  t.notMatch(made, /setgroups\((?!1, \[(?:0|65534)\]\) += -1 EPERM)/)
})

const ownerOf = (pid: number): number => statSync(`/proc/${pid}/environ`).uid

live(
  'nobody of the same user comes in between the last capability and the end',
  ['root', 'setpriv', 'strace'],
  async (t) => {
    // each thread is held where its capabilities are gone: until then they alone have kept others out
    const slow = [
      'strace',
      '-D',
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      'trace=capset',
      '-e',
      'inject=capset:delay_exit=200000',
    ]
    const bare = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const subject = await start(t, {
      wrapper: [...slow, ...bare, '--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service', '--'],
    })
    const knock = `echo knocking; for (( ; ; )); do (: </proc/${subject.pid}/mem) 2>/dev/null && echo in; done`
    const attacker = spawn(
      'setpriv',
      [...bare.slice(1), '--inh-caps=-all', '--bounding-set=-all', 'bash', '-c', knock],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    t.teardown(() => attacker.kill('SIGKILL'))
    let said = ''
    attacker.stdout.setEncoding('latin1').on('data', (text) => {
      said += text
    })
    while (!said) await once(attacker.stdout, 'data')
    await subject.ask('harden', {})
    t.match(common(subject.pid), { uid: NOBODY, permitted: NONE })
    attacker.kill('SIGKILL')
    await once(attacker, 'close')
    t.equal(said, 'knocking\n')
  },
)
