/**
 * A case for the real kernel. If the machine lacks what it needs, it is skipped, visibly; with CI=true that is a
 * failure.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'

type Program =
  | 'swaks'
  | 'openssl'
  | 'strace'
  | 'setpriv'
  | 'setcap'
  | 'setfacl'
  | 'prlimit'
  | 'nsenter'
  | 'capsh'
  | 'getpcaps'
  | 'ps'
  | 'patchelf'
  | 'clang-16'
  | 'ld.lld-16'
  | 'llvm-cov-16'
  | 'clang-tidy-16'
  | 'cppcheck'
  | 'ip'
  | 'cc'
  | 'gcc'
  | 'spin'
  | 'c++'
  | 'make'
  | 'python3'
  | 'script'
  | 'logrotate'
export type Need = Program | 'root' | 'fuse' | 'libcap' | 'musl' | 'HARAKA_MODULES' | 'MANAGERS_MODULES'

/** Where node_api.h lies beside this Node. */
export const nodeHeaders = join(process.execPath, '../../include/node')

function met(need: Need): boolean {
  if (need === 'root') return process.platform === 'linux' && process.getuid?.() === 0
  // the folder node_modules that test/haraka/package.json asks for
  if (need === 'HARAKA_MODULES') return existsSync(join(process.env.HARAKA_MODULES ?? '', 'Haraka'))
  // the folder node_modules that test/managers/package.json asks for, and in it npm@VERSION
  if (need === 'MANAGERS_MODULES') return existsSync(join(process.env.MANAGERS_MODULES ?? '', 'verdaccio'))
  if (need === 'fuse') return existsSync('/dev/fuse')
  if (need === 'libcap') return existsSync('/usr/include/sys/capability.h')
  if (need === 'musl') return existsSync('/usr/include/x86_64-linux-musl')
  const installed = (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, need)))
  return installed && (need !== 'cc' || existsSync(join(nodeHeaders, 'node_api.h')))
}

export function live(name: string, needs: Need[], run: (t: Test) => Promise<void>): void {
  const lacking = needs.filter((need) => !met(need)).join(', ')
  if (!lacking) void t.test(name, run)
  else if (process.env.CI === 'true') void t.test(name, async (t) => t.fail(`left out: it needs ${lacking}`))
  else void t.test(name, { skip: `live case left out: it needs ${lacking}` }, async () => {})
}
