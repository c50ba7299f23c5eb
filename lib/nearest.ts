/** The name nearest to a misspelt one. The caller checks whether it would be accepted. */

const DISTANCE_MAX = 2
const LENGTH_MAX = 64

/** Case, `cap_` and hyphens and underscores are ignored. undefined: no name is near. */
export function nearest(word: string, names: Iterable<string>): string | undefined {
  if (word.length > LENGTH_MAX) return undefined
  const wanted = plain(word)
  // two letters are most of a short word
  let least = Math.min(DISTANCE_MAX, Math.floor(wanted.length / 2)) + 1
  let found: string | undefined
  for (const name of names) {
    const other = plain(name)
    if (Math.abs(other.length - wanted.length) >= least) continue
    const far = distance(wanted, other)
    if (far < least) [least, found] = [far, name]
  }
  return found
}

const plain = (word: string): string => word.trim().toLowerCase().replace(/[-_]/g, '').replace(/^cap/, '')

/** How many letters to add, remove or replace; two letters that swap places count as one. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const exchanged = (row[j] as number) + (a[i] === b[j] ? 0 : 1)
      const least = Math.min(exchanged, (row[j + 1] as number) + 1, (next[j] as number) + 1)
      const swapped = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j]
      next.push(swapped ? Math.min(least, (before[j - 1] as number) + 1) : least)
    }
    before = row
    row = next
  }
  return row[b.length] as number
}
