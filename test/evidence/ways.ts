/** The columns of test/evidence/field.test.ts: ways to give up root. harden(), what people do, and copies with a bug. */
import type { AuditReport } from '../../lib/audit'
import type { HardenOptions } from '../../lib/options'
import { Refusal, type Subject } from '../live/subject'
import { build, type MutantName, mutants } from './mutants'

export interface Way {
  readonly name: string
  /** Whether it can do what harden() can, or with a chroot, or without one, only. */
  readonly can: 'all' | 'no chroot' | 'only chroot'
  /** harden(), and what is made of it. */
  readonly ours: boolean
  /** What has to be made first. */
  readonly make?: () => Promise<unknown>
  /** @throws Refusal */
  readonly drop: (subject: Subject, options: HardenOptions) => Promise<unknown>
  readonly audit?: (subject: Subject) => Promise<AuditReport>
}

/** As a server would have them from its configuration. */
const who = ({ user = 'nobody', group = 'nogroup', supplementalGroups = [] }: HardenOptions) => ({
  user,
  group,
  groups: [...supplementalGroups],
})

const step = {
  groups: (subject: Subject, options: HardenOptions) => subject.ask('setgroups', who(options).groups),
  group: (subject: Subject, options: HardenOptions) => subject.ask('setgid', who(options).group),
  user: (subject: Subject, options: HardenOptions) => subject.ask('setuid', who(options).user),
}

type Step = (subject: Subject, options: HardenOptions) => Promise<unknown>

/** One after the other, until one throws. */
const inTurn =
  (...steps: Step[]): Way['drop'] =>
  async (subject, options) => {
    for (const each of steps) await each(subject, options)
  }

/** Whatever it throws is written to a log. */
const logged =
  (each: Step): Step =>
  (subject, options) =>
    each(subject, options).catch((error) => {
      if (!(error instanceof Refusal)) throw error
    })

/** A text that begins with a number is that number (atoi(3)); otherwise an account, which in these tests is nobody. */
const asNumber = (id: string | number) =>
  typeof id === 'number' ? id : /^[-\s\d]/.test(id) ? Number.parseInt(id, 10) : 65534

const retained = ({ capabilities }: HardenOptions) => (capabilities ? 1 << 10 : 0)

/** A function of test/evidence/field.c, whose answer is an errno. */
async function native(subject: Subject, name: string, ...args: unknown[]): Promise<void> {
  const errno = await subject.ask('native', name, ...args)
  if (errno !== 0) throw new Refusal({ code: 'errno', errno, message: `${name}: ${errno}` })
}

const people = {
  haraka: {
    name: 'process.setgid, setuid (Haraka, ZoneMTA, WildDuck)',
    can: 'no chroot',
    drop: inTurn(step.group, step.user),
  },
  three: {
    name: 'process.setgroups, setgid, setuid',
    can: 'no chroot',
    drop: inTurn(step.groups, step.group, step.user),
  },
  logged: {
    name: 'the same, and what fails is logged (an older ZoneMTA)',
    can: 'no chroot',
    drop: inTurn(logged(step.groups), logged(step.group), logged(step.user)),
  },
  reversed: { name: 'process.setuid, then setgid', can: 'no chroot', drop: inTurn(step.user, step.group) },
  effective: {
    name: 'process.setegid, seteuid',
    can: 'no chroot',
    drop: inTurn(
      (subject, options) => subject.ask('setegid', who(options).group),
      (subject, options) => subject.ask('seteuid', who(options).user),
    ),
  },
  raw: {
    name: 'all of it by system calls, in the calling thread (libcap-ng, libpsx in an addon)',
    can: 'no chroot',
    drop: (subject, options) =>
      native(subject, 'dropHere', asNumber(who(options).user), asNumber(who(options).group), retained(options)),
  },
  limited: {
    name: 'capset in the calling thread, and root stays',
    can: 'no chroot',
    drop: (subject, options) => native(subject, 'limitHere', retained(options)),
  },
  outside: {
    name: 'chroot, no chdir, then names (syslog-ng, chroot of npm before 1.0.11)',
    can: 'only chroot',
    drop: inTurn((subject, { chroot }) => native(subject, 'changeRoot', chroot), step.groups, step.group, step.user),
  },
} satisfies Record<string, Omit<Way, 'ours'>>

export type WayName = 'harden' | keyof typeof people | MutantName

const harden: Way = {
  name: 'harden()',
  can: 'all',
  ours: true,
  drop: async (subject, options) => (await subject.ask('harden', options)).report,
  audit: async (subject) => (await subject.ask('audit')).report,
}

function withBug(name: MutantName): Way {
  let main = ''
  return {
    name: mutants[name].name,
    can: 'all',
    ours: true,
    make: async () => {
      main = await build(mutants[name])
    },
    drop: (subject, options) => subject.ask('hardenByCopy', main, options),
    audit: (subject) => subject.ask('auditByCopy', main),
  }
}

const entries = <T extends object>(all: T) => Object.entries(all) as [keyof T, T[keyof T]][]

/** In the order of the matrix. */
export const ways = new Map<WayName, Way>([
  ['harden', harden],
  ...entries(people).map(([name, way]): [WayName, Way] => [name, { ...way, ours: false }]),
  ...entries(mutants).map(([name]): [WayName, Way] => [name, withBug(name)]),
])
