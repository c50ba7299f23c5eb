/**
 * Capability sets as masks and as words. libcap does both ways; there is no table of names here.
 */
import { HardenError } from '../../errors'
import { type LinuxAddon, type Masks, native } from '../../native'
import { show } from '../../options'

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
  for (let capability = 0; capability < 64; capability++)
    if (mask & bit(capability)) found.push(names[capability] ?? String(capability))
  return found
}

/** The inverse: a name that capabilityNames() gives. */
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
 * @throws HardenError ERR_HARDEN_CAPABILITIES; `found` is the clause at fault
 */
export function parseCapabilities(text: string): Masks {
  const masks = native<LinuxAddon>().capabilitiesFromText(text)
  if (typeof masks === 'number') throw wrongClause(text)
  const beyond = masks.effective & ~masks.permitted
  if (beyond)
    throw wrongCapabilities(
      `capabilities ${show(text)} makes ${capabilityNames(beyond).join(', ')} effective, but not permitted`,
      'permit what is made effective: +ep instead of +e',
    )
  return masks
}

/**
 * Names, as libcap writes them, to a mask.
 *
 * @param permitted what they have to be taken from
 * @throws HardenError ERR_HARDEN_CAPABILITIES; `found` is the name at fault
 */
export function parseAmbient(text: string, permitted: bigint): bigint {
  let mask = 0n
  for (const name of text.match(/[^\s,]+/g) ?? []) {
    const capability = allNames().indexOf(name)
    if (capability < 0)
      throw new HardenError({
        code: 'ERR_HARDEN_CAPABILITIES',
        option: 'ambientCapabilities',
        message: `ambientCapabilities: this kernel has no capability ${show(name)}`,
        remedy: 'names are written small, e.g. cap_net_admin, separated by spaces or commas',
        found: name.slice(0, 64),
      })
    if (!(permitted & bit(capability)))
      throw new HardenError({
        code: 'ERR_HARDEN_CAPABILITIES',
        option: 'ambientCapabilities',
        message: `ambientCapabilities: ${name} is not permitted by capabilities`,
        remedy: `add ${name}+ep to 'capabilities'`,
        found: name,
      })
    mask |= bit(capability)
  }
  return mask
}

/** libcap says no more than EINVAL; each clause stands for itself, so the first that it refuses alone is the one. */
function wrongClause(text: string): HardenError {
  for (const { 0: clause, index } of text.matchAll(/\S+/g))
    if (typeof native<LinuxAddon>().capabilitiesFromText(clause) === 'number')
      return wrongCapabilities(
        `capabilities: clause ${show(clause)} at character ${index + 1} is not understood`,
        `see cap_from_text(3), e.g. cap_net_bind_service+ep; flags are written small`,
        clause.slice(0, 64),
      )
  return wrongCapabilities(`capabilities ${show(text)} is not understood`, `see cap_from_text(3)`)
}

function wrongCapabilities(message: string, remedy: string, found?: string): HardenError {
  return new HardenError({ code: 'ERR_HARDEN_CAPABILITIES', option: 'capabilities', message, remedy, found })
}
