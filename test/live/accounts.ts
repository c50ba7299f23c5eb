/** Starts programs where accounts exist that the machine does not have. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** What starts a program in a mount namespace in which there are the accounts ecuser, 4242, and smtp, 4243. */
export function withAccounts(t: Test): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'privdrop-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const [file, line] of [
    ['passwd', 'ecuser:x:4242:4242::/:/bin/false\nsmtp:x:4243:4243::/:/bin/false\n'],
    ['group', 'ecuser:x:4242:\nsmtp:x:4243:\n'],
  ] as const)
    writeFileSync(join(folder, file), readFileSync(join('/etc', file), 'latin1') + line)
  const mounts = `mount --bind ${folder}/passwd /etc/passwd && mount --bind ${folder}/group /etc/group`
  return ['unshare', '--mount', 'sh', '-c', `${mounts} && exec "$@"`, 'sh']
}
