/** Accounts as people know them. What is decided goes by numbers. */
import { entries, type Kind } from '../databases'
import { capabilityNames, kernelMask } from '../platform/linux/capabilities'
import { type CredentialsReport, credentialRows, type Row } from '../report'

type Names = ReadonlyMap<number, string>

/** The rows of plan and audit alike: names beside the ids, and what is nearly all by what it lacks. */
export function accountRows(): (report: CredentialsReport) => Row[] {
  const names = { user: namesIn('user'), group: namesIn('group') }
  const show = (id: number, kind: 'user' | 'group') => {
    const name = names[kind].get(id)
    return name === undefined ? String(id) : `${id} (${name})`
  }
  return (report) =>
    credentialRows(report, show).map(([row, value]) => [
      row,
      Object.hasOwn(report.capabilities ?? {}, row) ? setText(value) : value,
    ])
}

/** Root has forty, which nobody reads. */
function setText(names: string): string {
  const held = names.split(' ')
  const lacking = capabilityNames(kernelMask()).filter((name) => !held.includes(name))
  if (lacking.length === 0) return 'all'
  return lacking.length < held.length ? `all but ${lacking.join(' ')}` : names
}

/** By number: of several names the first. */
function namesIn(kind: Kind): Names {
  return new Map(
    entries(kind)
      .reverse()
      .map(({ name, id }) => [id, name]),
  )
}
