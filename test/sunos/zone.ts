/**
 * Processes that live on illumos as the model has it (model.c): Node of Linux, the prebuild for sunos, an ordinary user.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

const repository = join(__dirname, '../..')
const nobody = 65534

/** illumos numbers (sys/errno.h), which are not those of the Linux that this runs on. */
export const errno = {
  ...{ EPERM: 1, ENOENT: 2, EIO: 5, ENOMEM: 12, EACCES: 13, ENOTDIR: 20, EINVAL: 22 },
  ...{ EOVERFLOW: 79, ELOOP: 90, ETIMEDOUT: 145 },
}

export interface Conditions {
  /** A zone without, or with an IP stack of its own; default: the global zone. After a comma: what limitpriv= adds. */
  zone?: 'shared' | 'exclusive' | 'shared,net_rawaccess'
  /** Who the process is at first; default: root. */
  uid?: number
  /** `privileges` and, after a blank, `limit_privileges` of the method_credential with which SMF starts it. */
  start?: string
  /** How many groups there may be. */
  groups?: number
  /** Process flags at first: PRIV_XPOLICY 0x80, PRIV_PFEXEC 0x100. */
  flags?: number
  /** The hard limit on open files. */
  files?: number
  /** What some calls are answered; see model.c. */
  fail?: string
}

export interface Outcome {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** What was asked of libc.so.1; see model.c. */
  calls: string[]
}

export class Zone {
  /** Where an ordinary user may read. */
  readonly folder = mkdtempSync(join(tmpdir(), 'privdrop-sunos-'))
  readonly model = join(this.folder, 'libc.so.1')
  readonly addon = join(this.folder, 'privdrop.node')

  constructor(t: Test) {
    t.teardown(() => rmSync(this.folder, { recursive: true }))
    chmodSync(this.folder, 0o755)
    const flags = '-std=gnu11 -O1 -Wall -Wextra -Werror -fno-builtin -shared -fPIC -Wl,-soname,libc.so.1'.split(' ')
    execFileSync('gcc', [...flags, join(__dirname, 'model.c'), '-o', this.model])
    copyFileSync(join(repository, 'prebuilds/sunos-x64/privdrop.node'), this.addon)
  }

  /** Any command, as an ordinary user, with the model before its libc. */
  run(command: string, args: string[], conditions: Conditions = {}, env = {}, preload = this.model): Outcome {
    const { zone, uid, start, groups, flags, files, fail } = conditions
    const log = join(this.folder, 'calls')
    writeFileSync(log, '')
    chmodSync(log, 0o666)
    // tap writes its loaders into every child's NODE_OPTIONS, however it is started; and they write where they may not
    const line = ['-u', 'NODE_OPTIONS', `LD_PRELOAD=${preload}`, command, ...args]
    const { status, signal, stdout, stderr } = spawnSync('env', line, {
      cwd: '/',
      encoding: 'utf8',
      timeout: 60_000,
      ...(process.getuid?.() === 0 && { uid: nobody, gid: nobody }),
      env: {
        ...process.env,
        SUNOS_MODEL_LOG: log,
        ...(zone && { SUNOS_MODEL_ZONE: zone }),
        ...(uid !== undefined && { SUNOS_MODEL_UID: String(uid) }),
        ...(start && { SUNOS_MODEL_START: start }),
        ...(groups !== undefined && { SUNOS_MODEL_NGROUPS: String(groups) }),
        ...(flags && { SUNOS_MODEL_FLAGS: String(flags) }),
        ...(files && { SUNOS_MODEL_FILES: String(files) }),
        ...(fail && { SUNOS_MODEL_FAIL: fail }),
        ...env,
      },
    })
    const [model, ...calls] = readFileSync(log, 'utf8').trim().split('\n')
    if (model !== 'model') throw new Error(`the model is not active: ${stderr}`)
    return { status, signal, stdout, stderr, calls }
  }

  /** Node, for which process.platform is 'sunos', with a program of JavaScript. */
  node(program: string, args: string[], conditions?: Conditions): Outcome {
    const flags = ['--require', join(this.#readable('platform.cjs')), this.#readable(program), ...args]
    return this.run(process.execPath, flags, conditions, { npm_config_platform: 'sunos' })
  }

  /** What each of these functions of the addon answers; see ask.cjs. */
  ask(questions: [name: string, ...unknown[]][], conditions?: Conditions): Outcome & { answers: unknown[] } {
    const outcome = this.node('ask.cjs', [this.addon, JSON.stringify(questions)], conditions)
    const answers = outcome.stdout.split('\n').filter(Boolean)
    return { ...outcome, answers: answers.map((line) => JSON.parse(line).answer) }
  }

  /** The checkout may lie where an ordinary user cannot go. */
  #readable(name: string): string {
    const copy = join(this.folder, name)
    if (!existsSync(copy)) copyFileSync(join(__dirname, name), copy)
    return copy
  }
}

/** The calls that change something, in their order. */
export function changes(calls: string[], child = false): string[] {
  const names = /^(sigaction|setpflags|setgroups|setgid|fchdir|chroot|chdir|setuid|setppriv)\b/
  return calls
    .filter((call) => call.startsWith('child ') === child)
    .map((call) => call.replace(/^child /, ''))
    .filter((call) => names.test(call))
}
