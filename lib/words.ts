/** What other programs call the options of harden(), and misspelt names. */
import { nearest } from './nearest'

export type Words<Name extends string> = { readonly [name in Name]: readonly string[] }

/** The names in process.setuid(), setpriv(1), systemd, Docker, Kubernetes and libcap, in lower case, without hyphens
 * and underscores. */
export const optionWords = {
  user: ['uid', 'username', 'setuid', 'reuid', 'ruid', 'euid', 'seteuid', 'setresuid', 'runas', 'runasuser', 'account'],
  group: ['gid', 'groupname', 'setgid', 'regid', 'rgid', 'egid', 'setegid', 'setresgid', 'runasgroup', 'primarygroup'],
  supplementalGroups: ['groups', 'gids', 'supplementarygroups', 'setgroups', 'initgroups', 'extragroups', 'groupadd'],
  capabilities: [
    'capability',
    'caps',
    'cap',
    'capadd',
    'capset',
    'keepcaps',
    'permitted',
    'effective',
    'capabilityboundingset',
  ],
  privileges: ['privs', 'priv', 'setppriv', 'limitpriv', 'privset'],
  chroot: ['root', 'chrootpath', 'chrootdir', 'chrootdirectory', 'rootdir', 'rootdirectory', 'newroot', 'jail'],
  ambientCapabilities: ['ambient', 'ambientcaps', 'ambientset', 'inheritable', 'inhcaps'],
  noNewPrivileges: ['nonewprivs', 'nnp'],
  rehearse: ['rehearsal', 'read', 'readable', 'write', 'writable', 'bind', 'ports', 'verify', 'check', 'access'],
  allowInspector: ['inspector', 'inspect', 'allowinspect', 'allowdebugger'],
}

/** The same for the lists of `rehearse`. */
export const listWords = {
  read: ['readable', 'readonly', 'readonlypaths', 'files'],
  write: ['writable', 'writeable', 'readwrite', 'readwritepaths'],
  bind: ['port', 'ports', 'listen', 'tcp'],
}

/** The name that a wrong name probably means. */
export function meant(word: string, others: Words<string>): string | undefined {
  const plain = word.toLowerCase().replace(/[-_]/g, '')
  const [name] = Object.entries(others).find(([, words]) => words.includes(plain)) ?? []
  return name ?? nearest(word, Object.keys(others))
}
