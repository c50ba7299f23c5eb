/**
 * The security scope of a Momentum configuration file, as options of harden(). Values stay as they are written:
 * what they mean, and whether they exist, is harden()'s to find out.
 */
import { type HardenOptions, isPlain, show, text, wrongType, wrongValue } from '../options'
import { open, unreadable } from './files'
import { readStanza, type Stanza } from './parse'
import { type Source, showPath, wrongAt } from './tokens'

export interface SecurityConfigOptions {
  /** The path of an ecelerity-cluster.conf: if it has a security scope, that one counts, and nothing of the other. */
  cluster?: string
  /**
   * Folders in which an included file is looked for, after that of the file that includes it. Default: the environment's
   * EC_CONF_SEARCH_PATH, divided by colons.
   */
  searchPath?: readonly string[]
}

/** The documentation's. */
const DEFAULTS = { user: 'ecuser', group: 'ecuser' }

/**
 * Read the `security { }` scope of an ecelerity.conf, and of what it includes. A later setting overrides an earlier
 * one, key by key. Works on every system and for every user who may read the files.
 *
 * Who writes these files decides what the server becomes: they, what they include, the folders on the way and the search
 * path must be root's, and nobody else must be able to write them. This is not checked.
 *
 * @returns frozen, to be spread: `harden({ ...readSecurityConfig(path), rehearse: { bind: [25] } })`
 * @throws HardenError ERR_HARDEN_CONFIG, whose message begins with file:line:column; ERR_INVALID_ARG_TYPE,
 *   ERR_INVALID_ARG_VALUE
 */
export function readSecurityConfig(path: string, options: SecurityConfigOptions = {}): HardenOptions {
  text(path, 'path')
  const { cluster, searchPath } = validate(options)
  const file = openFile(path)
  const own = readStanza(file, searchPath)
  const stanza = (cluster === undefined ? undefined : readStanza(openFile(cluster), searchPath)) ?? own
  if (!stanza) throw wrongAt(file, file.text.length, 'there is no security scope up to here', 'add one: security { }')
  return Object.freeze({ ...DEFAULTS, ...toOptions(stanza) })
}

const toOptions = (stanza: Stanza): HardenOptions => Object.fromEntries(stanza)

function validate(options: unknown): { cluster?: string; searchPath: readonly string[] } {
  if (!isPlain(options)) throw wrongType('options', 'a plain object', options)
  const { cluster, searchPath, ...others }: Record<string, unknown> = { __proto__: null, ...options }
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw wrongValue(unknown.slice(0, 64), `there is no option ${show(unknown)}`, 'the options are cluster, searchPath')
  if (cluster !== undefined) text(cluster, 'cluster')
  const folders = searchPath ?? (process.env.EC_CONF_SEARCH_PATH ?? '').split(':')
  if (!Array.isArray(folders)) throw wrongType('searchPath', 'an array of paths', searchPath)
  for (const [index, folder] of folders.entries()) text(folder, `searchPath[${index}]`)
  // an empty one is no folder, and not the current one
  return { cluster: cluster as string | undefined, searchPath: folders.filter(Boolean) }
}

function openFile(path: string): Source {
  const nothing = { path, text: '' }
  try {
    const found = open(path)
    if ('text' in found) return found
  } catch (error) {
    throw unreadable(nothing, 0, path, error)
  }
  throw wrongAt(nothing, 0, `${showPath(path)} is a directory`, 'name the file')
}
