/** Promise: either it throws, and nothing at all has changed, or it is done. After each refusal the same process hardens. */
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { live } from './live'
import { common, settled, tasks } from './outside'
import { inject, tracer } from './strace'
import { copy, filtered, folder, KCMP, loadIds, loadThreads, type Options, type Subject, start } from './subject'

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }

/** What harden() throws there, having made sure that it has left no trace. */
async function refused(t: Test, subject: Subject, asked: unknown): Promise<Record<string, unknown>> {
  const before = await settled(subject.pid)
  const fields = await subject.refusal('harden', asked)
  // Only a thread that blocks signal 33 can take what has been sent to it; glibc's handler would disregard it.
  if (fields.step === 'park')
    for (const lines of Object.values(before.threads))
      if (lines.some((line) => /^SigBlk:\t[\da-f]{7}[13579bdf]/.test(line)))
        lines.splice(lines.indexOf('SigPnd:\t0000000000000000'), 1, 'SigPnd:\t0000000100000000')
  t.same(await settled(subject.pid), before, 'nothing has changed')
  t.equal(fields.name, 'HardenError')
  t.match(fields.remedy, /./)
  t.match(fields.message, /Remedy: /)
  return fields
}

async function hardens(t: Test, subject: Subject): Promise<void> {
  await subject.ask('harden', options)
  t.match(common(subject.pid), { uid: '65534 65534 65534 65534' }, 'and then it hardens')
}

live('arguments, names and capability text', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  for (const [asked, wanted] of [
    [undefined, { code: 'ERR_INVALID_ARG_TYPE', option: 'options' }],
    [
      { user: 'nobody', chroots: '/' },
      { code: 'ERR_INVALID_ARG_VALUE', option: 'chroots' },
    ],
    [
      { user: 'nobody', noNewPrivileges: 1 },
      { code: 'ERR_INVALID_ARG_TYPE', option: 'noNewPrivileges' },
    ],
    [{}, { code: 'ERR_HARDEN_USER_REQUIRED', option: 'user' }],
    [{ user: 'no-such-user' }, { code: 'ERR_UNKNOWN_CREDENTIAL', option: 'user' }],
    [
      { user: 'nobody', group: 'no-such-group' },
      { code: 'ERR_UNKNOWN_CREDENTIAL', option: 'group' },
    ],
    [{ user: 'nobody', supplementalGroups: ['mail', 'no'] }, { option: 'supplementalGroups[1]' }],
    [{ user: 4242424 }, { code: 'ERR_INVALID_ARG_VALUE', option: 'group' }],
    [
      { user: 'nobody', capabilities: 'cap_chown+ep cap_no+ep' },
      { code: 'ERR_HARDEN_CAPABILITIES', found: 'cap_no+ep' },
    ],
    [{ user: 'nobody', capabilities: 'cap_chown+e' }, { code: 'ERR_HARDEN_CAPABILITIES' }],
  ] as const)
    t.match(await refused(t, subject, asked), wanted)
  await hardens(t, subject)
})

live('a second time', ['root'], async (t) => {
  const subject = await start(t)
  await hardens(t, subject)
  t.match(await refused(t, subject, options), { code: 'ERR_HARDEN_ALREADY_APPLIED' })
})

live('a second time, by another copy of the package', ['root'], async (t) => {
  const subject = await start(t)
  await hardens(t, subject)
  const fields = await subject.refusal('hardenByCopy', join(copy(), 'dist/index.js'), { user: 'mail' })
  t.equal(fields.code, 'ERR_HARDEN_ALREADY_APPLIED')
})

live('in a Worker', ['root'], async (t) => {
  const subject = await start(t)
  await subject.ask('startWorkers', 1)
  const before = common(subject.pid)
  const fields = await subject.refusal('askWorker', 0, 'harden', options)
  t.equal(fields.code, 'ERR_HARDEN_NOT_MAIN_THREAD')
  t.same(common(subject.pid), before)
  await hardens(t, subject)
})

/** A root process without these capabilities, as a container might start it. */
const without = (...names: string[]): Options => ({
  wrapper: ['setpriv', '--bounding-set', names.map((name) => `-${name}`).join(), '--'],
})

for (const [name, step, syscall] of [
  ['setgid', 'setgroups', 'setgroups'],
  ['setuid', 'setresuid', 'setresuid'],
] as const)
  live(`the kernel refuses, for want of CAP_${name.toUpperCase()}`, ['root', 'setpriv'], async (t) => {
    const subject = await start(t, without(name))
    await subject.ask('warmPool', 4)
    t.match(await refused(t, subject, { ...options, supplementalGroups: ['mail'] }), {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step,
      syscall,
      errno: -1,
      remedy: new RegExp(`cap_${name}`),
    })
  })

live('a capability is asked for that the process does not have', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, without('net_raw'))
  t.match(await refused(t, subject, { user: 'nobody', capabilities: 'cap_net_raw,cap_net_bind_service+ep' }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'capset',
    syscall: 'capset',
    errno: -1,
    remedy: /cap_net_raw/,
  })
  await hardens(t, subject)
})

live('without CAP_SETPCAP the bounding set stays, and that is said', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, without('setpcap'))
  const { bounding } = common(subject.pid)
  const { report } = await subject.ask('harden', options)
  t.equal(common(subject.pid).bounding, bounding)
  t.match(report.findings, [{ code: 'HARDEN_BOUNDING_KEPT', level: 'note' }])
})

live('a user that is somebody else, and no root', ['root', 'setpriv'], async (t) => {
  const subject = await start(t, { wrapper: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'] })
  t.match(await refused(t, subject, { user: 'mail' }), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'setresgid',
    remedy: /getuid/,
  })
  await subject.ask('harden', { user: 'nobody' })
  t.match(common(subject.pid), { noNewPrivs: '1', uid: '65534 65534 65534 65534' }, 'but to itself it can')
})

live('root set aside with seteuid', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadIds(t, subject)
  await subject.ask('native', 'seteuid', 65534)
  t.match(await refused(t, subject, options), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    remedy: /before the process changes its effective user/,
  })
  await subject.ask('native', 'seteuid', 0)
  await hardens(t, subject)
})

for (const call of ['setresuid', 'setresgid', 'capset'])
  live(`the rehearsing child could take back what ${call} gave up`, ['root', 'strace'], async (t) => {
    // the second such call of the child claims success: the first is the step, the next the attempt to undo it
    const fault = ['-e', `trace=${call}`, '-e', `inject=${call}:retval=0:when=2`]
    const subject = await start(t, { wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...fault] })
    t.match(await refused(t, subject, options), { code: 'ERR_HARDEN_NOT_PERMITTED', step: 'regain' })
  })

live('what a container lacks, and how it is granted', ['root', 'setpriv'], async (t) => {
  for (const [name, step] of [
    ['setuid', 'setresuid'],
    ['net_raw', 'capset'],
  ] as const) {
    const subject = await start(t, { wrapper: ['setpriv', '--bounding-set', `-${name}`, '--'] })
    const capabilities = 'cap_net_bind_service,cap_net_raw+ep'
    const { remedy } = await refused(t, subject, { ...options, capabilities, ...(name === 'setuid' && options) })
    for (const wording of [
      `cap_${name}`,
      `Docker: --cap-add ${name.toUpperCase()};`,
      `Kubernetes: securityContext.capabilities.add: [${name.toUpperCase()}];`,
      'systemd: CapabilityBoundingSet=',
    ])
      t.match(remedy, wording, `${step}: ${wording}`)
  }
})

/** Of x86-64: call, number, step, and the errno of a refusal where the filter's own is not the last word. */
const calls = [
  ['chroot', 161, 'chroot', -1],
  ['setgroups', 116, 'setgroups', -1],
  ['setresgid', 119, 'setresgid', -1],
  ['setresuid', 117, 'setresuid', -1],
  ['capset', 126, 'capset', -1],
  ['faccessat2', 439, 'write', -13], // older filters refuse it, so it is asked in the older way
] as const

live('kcmp(2) is refused, and a thread has a file table of its own', ['root', 'cc'], async (t) => {
  const subject = await start(t, { wrapper: filtered(t, KCMP, constants.errno.EPERM) })
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startFiles')
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_THREAD_DIFFERS', tid })
  await subject.ask('native', 'stop')
  await hardens(t, subject)
})

live('a seccomp filter that refuses, or kills', ['root', 'cc'], async (t) => {
  const asked = { ...options, supplementalGroups: ['mail'], chroot: folder(t), rehearse: { write: ['/'] } }
  for (const [syscall, number, step, errno] of calls) {
    const refuses = await start(t, { wrapper: filtered(t, number, constants.errno.EPERM) })
    t.match(await refused(t, refuses, asked), { step, syscall, errno }, `${syscall}: EPERM`)
    const kills = await start(t, { wrapper: filtered(t, number, 0) })
    t.match(await refused(t, kills, asked), {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step,
      syscall,
      message: /signal 31/,
      remedy: new RegExp(`allow ${syscall} in the seccomp filter .*Docker.*Kubernetes.*systemd`),
    })
  }
})

live('the child is killed from outside, or cannot be made', ['root', 'strace'], async (t) => {
  const killed = await start(t, {
    wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...inject('setresgid', 'signal=SIGKILL')],
  })
  t.match(await refused(t, killed, options), {
    code: 'ERR_HARDEN_NOT_PERMITTED',
    step: 'setresgid',
    message: /signal 9/,
    remedy: /what killed/,
  })
  for (const [error, errno, remedy] of [
    ['EAGAIN', -11, /pids\.max.*RLIMIT_NPROC/],
    ['ENOMEM', -12, /vm\.overcommit_memory/],
  ] as const) {
    const subject = await start(t)
    // of the main thread alone, once Node has its threads: not every C library makes them by clone3(2)
    await tracer(t, subject.pid, 'clone', `error=${error}`)
    t.match(await refused(t, subject, options), {
      code: 'ERR_HARDEN_NOT_PERMITTED',
      step: 'rehearsal child',
      syscall: 'clone',
      errno,
      remedy,
    })
  }
})

live('a thread that blocks signal 33 cannot be stopped', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startBlocked')
  t.match(await refused(t, subject, options), {
    code: 'ERR_HARDEN_THREAD_UNREACHABLE',
    step: 'park',
    syscall: 'rt_tgsigqueueinfo',
    errno: -110,
    tid,
  })
  await subject.ask('native', 'stop')
  await loadIds(t, subject)
  await subject.ask('native', 'setegid', 8) // glibc's own broadcast, which is by the same signal, works as before
  t.equal(common(subject.pid).gid, '0 8 0 8')
  await hardens(t, subject)
})

live('a thread with credentials of its own', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await subject.ask('warmPool', 4)
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startOther')
  t.match(await subject.refusal('harden', options), {
    code: 'ERR_HARDEN_THREAD_DIFFERS',
    step: 'compare',
    tid,
    wanted: '0 0 0 0',
    found: '0 8 0 8',
  })
  await subject.ask('native', 'stop')
  await hardens(t, subject)
})

live('a thread with securebits of its own', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  const tid = await subject.ask('native', 'startSecurebits')
  t.match(await refused(t, subject, options), { code: 'ERR_HARDEN_THREAD_DIFFERS', step: 'compare', tid })
  await subject.ask('native', 'stop')
  await hardens(t, subject)
})

live('a thread with less in its bounding set than main, and one with more', ['root', 'cc'], async (t) => {
  const has = (set: unknown) => String(set).split(' ').includes('cap_net_raw')
  const differs = { code: 'ERR_HARDEN_THREAD_DIFFERS', step: 'compare', message: /: bounding: wanted / }
  const less = await start(t)
  await loadThreads(t, less)
  const tid = await less.ask('native', 'startLess')
  const lacks = await refused(t, less, options)
  t.match(lacks, { ...differs, tid })
  t.same([lacks.wanted, lacks.found].map(has), [true, false])
  await less.ask('native', 'stop')
  await hardens(t, less)

  const more = await start(t)
  await loadThreads(t, more)
  await more.ask('native', 'loseRawHere')
  const keeps = await refused(t, more, options)
  t.match(keeps, differs)
  t.ok(keeps.tid !== more.pid, 'that would keep it')
  t.same([keeps.wanted, keeps.found].map(has), [false, true])
})

live('a thread that a filter of its own ends when it is stopped', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  await subject.ask('native', 'startKilled')
  const before = common(subject.pid)
  t.match(await subject.refusal('harden', options), { code: 'ERR_HARDEN_THREAD_UNREACHABLE', step: 'park' })
  t.same(common(subject.pid), before)
  t.equal(tasks(subject.pid).length, 7, 'the thread is gone, the rest goes on')
})

live('no pending signals allowed', ['root'], async (t) => {
  const subject = await start(t, { wrapper: ['prlimit', '--sigpending=0'] })
  t.match(await refused(t, subject, options), {
    code: 'ERR_HARDEN_THREAD_UNREACHABLE',
    errno: -11,
    remedy: /RLIMIT_SIGPENDING/,
  })
})

live('io_uring with a kernel thread of its own', ['root', 'cc'], async (t) => {
  const subject = await start(t)
  await loadThreads(t, subject)
  const ring = await subject.ask('native', 'openPoller')
  t.match(await refused(t, subject, options), {
    code: 'ERR_HARDEN_IO_URING',
    step: 'descriptors',
    message: new RegExp(`^descriptor ${ring} `),
    remedy: /UV_USE_IO_URING=0/,
  })
})

live('/proc of another pid namespace, and none at all', ['root'], async (t) => {
  const elsewhere = await start(t, { wrapper: ['unshare', '--pid', '--fork', '--kill-child', '--'] })
  t.equal((await elsewhere.refusal('harden', options)).code, 'ERR_HARDEN_PROC')
  const none = await start(t, {
    wrapper: ['unshare', '--mount', '--', 'sh', '-c', 'umount -l /proc && exec "$@"', 'sh'],
  })
  t.match(await none.refusal('harden', options), { code: 'ERR_HARDEN_PROC', step: 'proc' })
})
