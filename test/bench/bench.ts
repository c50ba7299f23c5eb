/**
 * What harden() costs beside the three calls that do less: fresh processes, the ways taken in turn, medians. The ratio is
 * the result; microseconds are this machine's.
 */
import { spawnSync } from 'node:child_process'
import { pbkdf2 } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { promisify } from 'node:util'
import { harden } from 'privdrop'

const RUNS = 31

const ways: Record<string, () => { name: string; us: number }[]> = {
  'process.setgroups + setgid + setuid': () => {
    process.setgroups?.([])
    process.setgid?.(65534)
    process.setuid?.(65534)
    return []
  },
  'harden()': () => [...harden({ user: 'nobody', capabilities: 'cap_net_bind_service+ep' }).steps],
}

/** One process, one way: prints its microseconds as JSON. */
async function measure(way: string): Promise<void> {
  await promisify(pbkdf2)('a', 'b', 1, 8, 'sha1') // libuv's pool: 11 threads
  const threads = readdirSync('/proc/self/task').length
  const start = process.hrtime.bigint()
  const steps = ways[way]?.()
  const us = Number(process.hrtime.bigint() - start) / 1000
  process.stdout.write(JSON.stringify({ threads, us, steps }))
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

function compare(): void {
  const names = Object.keys(ways)
  const totals: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]))
  const parts: Record<string, number[]> = {}
  let threads = 0
  for (let run = 0; run < RUNS; run++)
    for (const name of names) {
      const { stdout, stderr, status } = spawnSync(process.execPath, [__filename, name], { encoding: 'utf8' })
      if (status !== 0) throw new Error(stderr)
      const result = JSON.parse(stdout)
      threads = result.threads
      totals[name]?.push(result.us)
      for (const { name: part, us } of result.steps) {
        parts[part] ??= []
        parts[part].push(us)
      }
    }
  const base = median(totals[names[0] as string] ?? [])
  console.log(`${threads} threads, ${RUNS} fresh processes each, medians`)
  for (const name of names) {
    const us = median(totals[name] ?? [])
    console.log(`${name.padEnd(38)}${us.toFixed(0).padStart(8)} us${(us / base).toFixed(2).padStart(8)}x`)
  }
  for (const [part, values] of Object.entries(parts)) {
    const us = median(values)
    console.log(`    ${part.padEnd(34)}${us.toFixed(0).padStart(8)} us${(us / base).toFixed(2).padStart(8)}x`)
  }
}

const [, , way] = process.argv
if (process.getuid?.() !== 0) {
  console.error('The benchmark gives up root, so it has to be started as root.')
  process.exitCode = 77
} else if (way) void measure(way)
else compare()
