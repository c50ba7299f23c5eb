/**
 * What the published types allow and what they do not: checked by `npm run typecheck`, where a line that is expected to
 * be an error and is none fails. Never executed.
 */
import {
  type AuditReport,
  audit,
  type Finding,
  HardenError,
  type HardenErrorCode,
  type HardenOptions,
  type HardenPlan,
  type HardenReport,
  harden,
  plan,
  readSecurityConfig,
  type SecurityConfigOptions,
} from 'privdrop'

export const complete: HardenOptions = {
  user: 'mail',
  group: 8,
  supplementalGroups: ['adm', 4],
  capabilities: 'cap_net_bind_service+ep',
  privileges: 'basic net_privaddr',
  chroot: '/srv/mail',
  ambientCapabilities: 'cap_net_bind_service',
  noNewPrivileges: true,
  allowInspector: false,
  rehearse: { read: ['/etc/aliases'], write: ['/var/spool/mail'], bind: [25, 465] },
}
export const empty: HardenOptions = {}
export const constant: HardenOptions = { supplementalGroups: ['adm'] as const }

// @ts-expect-error there is no such option
export const misspelt: HardenOptions = { supplementaryGroups: [] }
// @ts-expect-error an id is a number, not a bigint
export const wide: HardenOptions = { user: 8n }
// @ts-expect-error a list, not one name
export const single: HardenOptions = { supplementalGroups: 'adm' }
// @ts-expect-error a port is a number
export const named: HardenOptions = { rehearse: { bind: ['smtp'] } }
// @ts-expect-error there is nothing to execute
export const executed: HardenOptions = { rehearse: { execute: [] } }
// @ts-expect-error options are required
export const nothing = () => harden()

export function use(report: HardenReport, error: HardenError): (string | number | undefined)[] {
  const [finding]: readonly Finding[] = report.findings
  const code: HardenErrorCode = error.code
  // @ts-expect-error a report is frozen
  report.groups = []
  // @ts-expect-error and so are its lists
  report.capabilities.permitted.push('cap_chown')
  return [report.user.saved, report.threads[0]?.tid, finding?.remedy, code, error.errno, error.tid, error.step]
}

export const isOurs = (error: unknown): error is HardenError => error instanceof HardenError

export function plans(): (string | number | boolean | undefined)[] {
  const made: HardenPlan = plan({ user: 'mail' })
  const found: AuditReport = audit()
  // @ts-expect-error a plan has no threads
  made.threads
  return [made.refusals[0]?.remedy, made.steps[0]?.rehearsed, found.source, found.threads[0]?.noNewPrivileges]
}

export function configured(): HardenReport {
  const where: SecurityConfigOptions = { cluster: '/etc/ecelerity-cluster.conf', searchPath: ['/etc'] as const }
  // @ts-expect-error folders, not one string
  readSecurityConfig('/etc/ecelerity.conf', { searchPath: '/etc:/opt' })
  // @ts-expect-error a path is a string
  readSecurityConfig(new URL('file:///etc/ecelerity.conf'))
  return harden({ ...readSecurityConfig('/etc/ecelerity.conf', where), rehearse: { bind: [25] } })
}
