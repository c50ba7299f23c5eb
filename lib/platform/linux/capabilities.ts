/**
 * Capability sets as masks and as names. libcap converts both ways; there is no table of names here.
 */
import { HardenError, type Run, show, type Values } from '../../errors'
import { type LinuxAddon, type Masks, native } from '../../native'
import { nearest } from '../../nearest'
import type { HardenOptions } from '../../options'
import { REASONS_MAX, refuseAll } from '../../reasons'

/** No clause written by hand is longer. */
const CLAUSE_MAX = 256

const bit = (capability: number): bigint => 1n << BigInt(capability)

let names: string[] | undefined

function allNames(): string[] {
  names ??= native<LinuxAddon>().capabilityNames()
  return names
}

/** 'cap_net_bind_service', ... in ascending order; a number where libcap has no name. */
export function capabilityNames(mask: bigint): string[] {
  const names = allNames()
  const found: string[] = []
  let capability = 0
  for (let rest = mask; rest !== 0n; rest >>= 1n) {
    if (rest & 1n) found.push(names[capability] ?? String(capability))
    capability++
  }
  return found
}

/** The inverse: the mask of names that capabilityNames() gives. */
export function maskOf(held: readonly string[]): bigint {
  const names = allNames()
  let mask = 0n
  for (const name of held) {
    const known = names.indexOf(name)
    mask |= bit(known < 0 ? Number(name) : known)
  }
  return mask
}

/** The capabilities that this kernel has. */
export function kernelMask(): bigint {
  return bit(allNames().length) - 1n
}

/**
 * @param run receives the error about each clause at fault, and may throw it
 * @throws HardenError ERR_HARDEN_CAPABILITIES; `found` is the clause at fault
 */
export function parseCapabilities(text: string, run: Run = (part) => part()): Masks {
  const masks = native<LinuxAddon>().capabilitiesFromText(text)
  if (typeof masks === 'number') refuseText(text, run)
  const beyond = masks.effective & ~masks.permitted
  if (beyond) throw notPermitted(text, beyond)
  return masks
}

function notPermitted(text: string, beyond: bigint): HardenError {
  const wanted =
    text.length > CLAUSE_MAX ? undefined : accepted(text.replace(/[+=][ei]*e[ei]*(?!\S)/g, (flags) => `${flags}p`))
  const instead = wanted === undefined ? '+ep instead of +e' : `'${wanted}'`
  return wrongCapabilities(
    `capabilities ${show(text)} makes ${capabilityNames(beyond).join(', ')} effective, but not permitted`,
    `permit what is made effective: ${instead}`,
    { found: text, wanted },
  )
}

/** The text itself, if libcap accepts it. */
function accepted(text: string): string | undefined {
  const masks = native<LinuxAddon>().capabilitiesFromText(text)
  return typeof masks === 'number' || masks.effective & ~masks.permitted ? undefined : text
}

/**
 * Names, as libcap writes them, to a mask.
 *
 * @param permitted the set that the names must be in
 * @param run receives the error about each name at fault, and may throw it
 * @throws HardenError ERR_HARDEN_CAPABILITIES; `found` is the name at fault
 */
export function parseAmbient(text: string, permitted: bigint, run: Run = (part) => part()): bigint {
  let mask = 0n
  const errors: unknown[] = []
  for (const name of text.match(/[^\s,]+/g) ?? [])
    try {
      mask |= parseAmbientName(name, permitted)
    } catch (error) {
      if (errors.push(error) === REASONS_MAX) break
    }
  refuseAll(errors, run)
  return mask
}

function parseAmbientName(name: string, permitted: bigint): bigint {
  const capability = allNames().indexOf(name)
  if (capability < 0) {
    // this option takes no flags
    const wanted = nameMeant(name.replace(/[+=][eip]*$/i, ''))
    throw wrong(
      'ambientCapabilities',
      `ambientCapabilities: this kernel has no capability ${show(name)}`,
      isNone(name)
        ? LEAVE_OUT
        : wanted === undefined
          ? 'names are in lower case, e.g. cap_net_admin, separated by spaces or commas'
          : `did you mean '${wanted}'? Names are in lower case and without flags, separated by spaces or commas`,
      { found: name, wanted },
    )
  }
  if (!(permitted & bit(capability)))
    throw wrong(
      'ambientCapabilities',
      `ambientCapabilities: ${name} is not permitted by capabilities`,
      `add ${name}+ep to 'capabilities'`,
      { found: name },
    )
  return bit(capability)
}

/** The kernel's name that is nearest to a word. */
const nameMeant = (word: string): string | undefined => nearest(word, [...allNames(), 'all'])

/** Whether the ambient set is permitted is checked later, when both texts are right. */
export function readTexts({ capabilities = '', ambientCapabilities = '' }: HardenOptions, run: Run): boolean {
  const masks = run(() => parseCapabilities(capabilities, run))
  const ambient = run(() => parseAmbient(ambientCapabilities, kernelMask(), run))
  return masks !== undefined && ambient !== undefined
}

/** The text that an option takes, from a list of words; undefined: there is none. */
export function textOf(option: string, words: readonly string[]): string | undefined {
  if (option === 'ambientCapabilities')
    return words.every((word) => allNames().includes(word)) ? words.join(' ') : undefined
  if (option !== 'capabilities') return undefined
  const names = words.map(nameMeant)
  // names alone, as in the lists of Docker and Kubernetes
  return names.includes(undefined) ? mended(words.join(' ')) : accepted(`${names.join(',')}+ep`)
}

/** libcap says no more than EINVAL; clauses are independent, so each that is refused alone is at fault. */
function refuseText(text: string, run: Run): never {
  const errors: HardenError[] = []
  for (const { 0: clause, index } of text.matchAll(/\S+/g)) {
    if (typeof native<LinuxAddon>().capabilitiesFromText(clause) === 'number') errors.push(wrongClause(clause, index))
    if (errors.length === REASONS_MAX) break
  }
  refuseAll(errors, run)
  throw wrongCapabilities(`capabilities ${show(text)} is not understood`, 'see cap_from_text(3)', { found: text })
}

/** How other programs write the empty set. */
const isNone = (word: string): boolean => /^(?:none|null|-all)$/i.test(word)
const LEAVE_OUT = 'leave the option out: then there are none'

function wrongClause(clause: string, index: number): HardenError {
  const where = `capabilities: clause ${show(clause)} at character ${index + 1}`
  const wanted = mended(clause)
  const values = { found: clause, wanted }
  if (isNone(clause)) return wrongCapabilities(`${where} is not understood`, LEAVE_OUT, values)
  if (wanted === undefined)
    return wrongCapabilities(
      `${where} is not understood`,
      'see cap_from_text(3), e.g. cap_net_bind_service+ep; the names are in capabilities(7), and flags are in lower case',
      values,
    )
  if (wanted.includes(' ')) return wrongCapabilities(`${where} is more than one clause`, remedyForComma(wanted), values)
  if (wanted === `${clause}+ep`) return wrongCapabilities(`${where} names no flags`, `write '${wanted}'`, values)
  return wrongCapabilities(
    `${where} is not understood`,
    `did you mean '${wanted}'? The names are in capabilities(7); flags are in lower case`,
    values,
  )
}

/** Clauses with equal flags can also be one clause. */
function remedyForComma(wanted: string): string {
  const clauses = wanted.split(' ').map(partsOf)
  const [{ flags }] = clauses as [Clause]
  const one = clauses.every((clause) => clause.flags === flags)
  const names = clauses.map(({ names }) => names).join()
  return `two clauses are separated by a space: '${wanted}'${one ? `, or write '${names}${flags}'` : ''}`
}

interface Clause {
  readonly names: string
  /** With their operators: '+ep', '=p+e'; '' if there are none. */
  readonly flags: string
}

/** The shortest names that are followed by operators and flags alone: a hyphen may belong to either. */
function partsOf(clause: string): Clause {
  const [, names = '', flags = ''] = /^(.*?)((?:[+=-][eip]*)*)$/is.exec(clause) ?? []
  return { names, flags }
}

/** The clause or clauses that a refused one probably means; undefined: it cannot be said. */
function mended(clause: string): string | undefined {
  if (clause.length > CLAUSE_MAX) return undefined
  const clauses = clause
    .replace(/([+=-][eip]+)[,;|](?=[a-z0-9])/gi, '$1 ')
    .split(' ')
    .map(partsOf)
  const texts = clauses.map(({ names, flags }) => {
    const meant = (names.match(/[^,;|]+/g) ?? []).map((name) => (/^\d+$/.test(name) ? name : nameMeant(name)))
    return meant.length === 0 || meant.includes(undefined) ? '' : `${meant.join()}${flags.toLowerCase() || '+ep'}`
  })
  return texts.includes('') ? undefined : accepted(texts.join(' '))
}

function wrongCapabilities(message: string, remedy: string, values: Values): HardenError {
  return wrong('capabilities', message, remedy, values)
}

function wrong(option: string, message: string, remedy: string, { found, wanted }: Values): HardenError {
  return new HardenError({
    code: 'ERR_HARDEN_CAPABILITIES',
    option,
    message,
    remedy,
    found: found?.slice(0, 64),
    wanted,
  })
}
