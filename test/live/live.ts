/**
 * A case for the real kernel. What it needs and the machine lacks leaves it out, visibly; with CI=true that is a failure.
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'

export type Need = 'root' | 'strace' | 'setpriv' | 'cc'

function onPath(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const met = (need: Need): boolean =>
  need === 'root' ? process.platform === 'linux' && process.getuid?.() === 0 : onPath(need)

export function live(name: string, needs: Need[], run: (t: Test) => Promise<void>): void {
  const lacking = needs.filter((need) => !met(need))
  if (lacking.length === 0) void t.test(name, run)
  else if (process.env.CI === 'true') void t.test(name, async (t) => t.fail(`left out: it needs ${lacking.join(', ')}`))
  else void t.test(name, { skip: `live case left out: it needs ${lacking.join(', ')}` }, async () => {})
}
