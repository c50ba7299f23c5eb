/** passwd(5) and group(5) as they lie on the disk: for people to read. What is decided is asked of the name service. */
import { readFileSync } from 'node:fs'

export interface Entry {
  readonly name: string
  readonly id: number
}

const PATHS = { user: '/etc/passwd', group: '/etc/group' } as const

export type Kind = keyof typeof PATHS

/** None where they cannot be read. */
export function entries(kind: Kind): Entry[] {
  let text = ''
  try {
    text = readFileSync(PATHS[kind], 'utf8')
  } catch {
    // then there are numbers
  }
  return Array.from(text.matchAll(/^([^:\n]+):[^:\n]*:(\d+):/gm), ([, name = '', id]) => ({ name, id: Number(id) }))
}

/** The first name that an id has, or the id. */
export function nameOf(kind: Kind, id: number): string {
  return entries(kind).find((entry) => entry.id === id)?.name ?? `${id}`
}
