/**
 * What is dangerous in a process of which only /proc is known: ways for an attacker in it, or for programs that it
 * executes, to gain more. Nothing else is said of a thread that is root: it has everything already.
 */
import { readlinkSync } from 'node:fs'
import { ascending } from '../accounts'
import type { Finding } from '../contract'
import { isArbitrary, wayOfGroup } from '../hazards'
import { native } from '../native'
import { waysToRoot } from '../platform/linux/hazards'
import type { CredentialsReport } from '../report'

export interface Thread extends Omit<CredentialsReport, 'capabilities' | 'privileges'> {
  readonly capabilities: NonNullable<CredentialsReport['capabilities']>
  readonly tid: number
  readonly name: string
  readonly seccomp: string
}

/** What `privdrop audit` finds; docs/errors.md has them all. */
export type AuditCode =
  | 'AUDIT_THREADS_DIFFER'
  | 'AUDIT_ROOT'
  | 'AUDIT_ROOT_AGAIN'
  | 'AUDIT_GROUP_ROOT'
  | 'AUDIT_GROUP_IS_ROOT'
  | 'AUDIT_CAPABILITY_IS_ROOT'
  | 'AUDIT_NEW_PRIVILEGES'
  | 'AUDIT_USER_NAMESPACE'

export type AuditFinding = Finding<AuditCode>

interface Rule {
  readonly code: AuditCode
  readonly level: Finding['level']
  /** What to say of this thread, or false. */
  messageFor(thread: Thread): string | false
  readonly remedy: string
}

const isRoot = ({ user }: Thread): boolean => user.effective === 0 || user.fs === 0
const mayBeRoot = ({ user }: Thread): boolean => Object.values(user).includes(0)

/** credentials(7), capabilities(7) */
const rules: readonly Rule[] = [
  {
    code: 'AUDIT_ROOT',
    level: 'danger',
    messageFor: (thread) => isRoot(thread) && 'is root, which owns the files of the system, even without capabilities',
    remedy: 'run it as a user of its own',
  },
  {
    code: 'AUDIT_ROOT_AGAIN',
    level: 'danger',
    messageFor: (thread) => mayBeRoot(thread) && !isRoot(thread) && 'becomes root again by one seteuid(0)',
    remedy: 'set the real and the saved user, too: setresuid(2)',
  },
  {
    code: 'AUDIT_GROUP_ROOT',
    level: 'danger',
    messageFor: (thread) =>
      !mayBeRoot(thread) &&
      !isArbitrary(thread.user.effective) &&
      hasRootGroup(thread) &&
      "is in root's group, 0, without being root",
    remedy: 'call setgroups(2) and setresgid(2) before setresuid(2)',
  },
  {
    code: 'AUDIT_GROUP_ROOT',
    level: 'note',
    messageFor: (thread) =>
      isArbitrary(thread.user.effective) && hasRootGroup(thread) && "is in root's group, 0, as OpenShift has it",
    remedy: "see that what is open to root's group in the image is meant for the server",
  },
  {
    code: 'AUDIT_GROUP_IS_ROOT',
    level: 'danger',
    messageFor: (thread) => {
      const ways = mayBeRoot(thread) ? [] : waysOfGroups(thread)
      return (
        ways.length > 0 &&
        `becomes root by its groups: ${ways.map(([name, reason]) => `${name} (${reason})`).join(', ')}`
      )
    },
    remedy: 'leave these groups out; have a small process of its own do what needs them',
  },
  {
    code: 'AUDIT_CAPABILITY_IS_ROOT',
    level: 'danger',
    messageFor: (thread) => {
      const ways = mayBeRoot(thread) ? [] : waysToRoot(thread.capabilities.permitted)
      const reasons = ways.map(([names, reason]) => `${names} (${reason})`).join(', ')
      return reasons !== '' && `becomes root by what it retains: ${reasons}`
    },
    remedy: 'leave it out; have a small process of its own do what needs it',
  },
  {
    code: 'AUDIT_NEW_PRIVILEGES',
    level: 'note',
    messageFor: (thread) =>
      !mayBeRoot(thread) &&
      !thread.noNewPrivileges &&
      `gains what set-user-ID programs have when it executes them: no_new_privs is off${isTrimmed(thread) ? '' : ', and the bounding set not trimmed'}`,
    remedy:
      'set no_new_privs (prctl(2); systemd: NoNewPrivileges=), and trim the set (systemd: CapabilityBoundingSet=)',
  },
]

function hasRootGroup({ group, groups }: Thread): boolean {
  return [...Object.values(group), ...groups].includes(0)
}

function waysOfGroups({ group, groups }: Thread): [string, string][] {
  return ascending([group.effective, ...groups])
    .filter((gid) => gid !== 0)
    .map((gid) => native().groupById(gid))
    .map((name) => (typeof name === 'string' ? wayOfGroup(name) : undefined))
    .filter((way) => way !== undefined)
}

function isTrimmed({ capabilities: { bounding, permitted, inheritable } }: Thread): boolean {
  return bounding.every((name) => permitted.includes(name) || inheritable.includes(name))
}

/** @param alike whether all threads are alike */
export function findDangers(pid: number, threads: readonly Thread[], alike: boolean): AuditFinding[] {
  const found: AuditFinding[] = rules.flatMap(({ messageFor, ...rule }) =>
    apply(messageFor, threads).map((message) => ({ ...rule, message })),
  )
  if (!alike)
    found.unshift({
      code: 'AUDIT_THREADS_DIFFER',
      level: 'danger',
      message:
        'the threads differ: code in one of them can use the powers of any other, because they share their memory',
      remedy:
        'change all of them: by the functions of the C library, or harden(); a bare system call changes its own thread',
    })
  return isForeign(pid) ? [...found, foreign] : found
}

/** One message for each statement, with the threads that it is true of. */
function apply(messageFor: Rule['messageFor'], threads: readonly Thread[]): string[] {
  const said = threads.map(messageFor)
  return [...new Set(said)].flatMap((what) => {
    if (what === false) return []
    const those = threads.filter((_, index) => said[index] === what)
    const list = those.map(({ tid, name }) => `${tid} (${name})`).join(', ')
    if (those.length === threads.length) return `every thread ${what}`
    return those.length === 1 ? `thread ${list} ${what}` : `each of the threads ${list} ${what}`
  })
}

/** user_namespaces(7). false also if this process may not read the link. */
function isForeign(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`) !== readlinkSync('/proc/self/ns/user')
  } catch {
    return false
  }
}

const foreign: AuditFinding = {
  code: 'AUDIT_USER_NAMESPACE',
  level: 'note',
  message:
    'it is in another user namespace: its capabilities are valid there, and its ids are shown as they are mapped here',
  remedy: 'for its own view, run this command in that namespace: nsenter(1)',
}
