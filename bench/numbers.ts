/** Medians, and quartiles to show how far to trust them. */

export interface Quartiles {
  q1: number
  median: number
  q3: number
  runs: number
}

export function quartiles(values: readonly number[]): Quartiles {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => {
    const place = share * (sorted.length - 1)
    const below = sorted[Math.floor(place)] ?? Number.NaN
    return below + ((sorted[Math.ceil(place)] ?? Number.NaN) - below) * (place % 1)
  }
  return { q1: at(0.25), median: at(0.5), q3: at(0.75), runs: sorted.length }
}

/** Run by run: runs side by side had the machine in the same condition. */
export function ratio(values: readonly number[], base: readonly number[]): Quartiles {
  return quartiles(values.map((value, run) => value / (base[run] ?? Number.NaN)))
}

/** Three digits, but all of those before the decimal point. */
export function show(value: number): string {
  if (!Number.isFinite(value)) return '-'
  return Math.abs(value) >= 100
    ? Math.round(value).toLocaleString('en-US')
    : String(Number(value.toPrecision(Math.abs(value) >= 10 ? 3 : 2)))
}

export const spread = ({ q1, median, q3 }: Quartiles): string => `${show(median)} (${show(q1)}–${show(q3)})`
