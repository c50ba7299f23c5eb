/**
 * The security scope of a Momentum configuration file as options of harden(). Values stay as they are written: harden()
 * checks what they mean and whether they exist.
 */
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { type HardenError, show, wrongType, wrongValue } from '../errors'
import { nearest } from '../nearest'
import { type HardenOptions, isPlain, NGROUPS_MAX, noSuch, showList, text } from '../options'
import { type ReadValue, remember, rememberFiles } from '../places'
import { folderThere, openFile } from './files'
import { Includes } from './includes'
import type { Setting } from './parse'
import { placesIn, wrongAt } from './tokens'

/** What readSecurityConfig() takes besides the path. */
export interface SecurityConfigOptions {
  /** The path of an ecelerity-cluster.conf, which is read as if the main file included it at its end. */
  cluster?: string | undefined
  /**
   * Folders in which an included file is looked for, after that of the file that includes it. `{NODENAME}` in them is the
   * option nodename, `{SUBCLUSTER}` is 'default'. Default: the environment's EC_CONF_SEARCH_PATH, divided by colons; without
   * it the file's folder, and in that conf/global, conf/{NODENAME} and conf/default.
   */
  searchPath?: readonly string[] | undefined
  /** Momentum's name for this machine. Default: the host's name up to the first dot. */
  nodename?: string | undefined
}

/** As documented for Momentum. */
const DEFAULTS = { user: 'ecuser', group: 'ecuser' }

export function read(path: string, options: SecurityConfigOptions): HardenOptions {
  text(path, 'path')
  const { cluster, searchPath, nodename } = validate(options)
  const main = openFile(path)
  const files = new Includes(main, nodename, searchPath)
  const stanza = files.read(cluster === undefined ? undefined : openFile(cluster))
  if (!stanza) throw wrongAt(main, main.text.length, 'there is no security scope up to here', 'add one: security { }')
  const folders = [...files.listed, ...[...files.missing].map(folderThere)]
  rememberFiles(
    files.files.map((file) => resolve(file)),
    folders.map((folder) => resolve(folder)),
  )
  remember(Object.keys(DEFAULTS).map((option) => [option, undefined]))
  remember([...stanza].map(([option, setting]) => [option, toReadValue(setting)]))
  const read = Object.fromEntries([...stanza].map(([option, { value }]) => [option, value]))
  return Object.freeze({ ...DEFAULTS, ...read })
}

function validate(options: unknown): { cluster?: string; searchPath?: readonly string[]; nodename: string } {
  if (!isPlain(options)) throw wrongType('options', 'a plain object', options)
  const { cluster, searchPath, nodename, ...others }: Record<string, unknown> = { __proto__: null, ...options }
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw noSuchOption(unknown)
  if (cluster !== undefined) text(cluster, 'cluster')
  const node = nodename ?? hostname().replace(/\..*/s, '')
  text(node, 'nodename')
  if (!/^[^/]+$/.test(node as string))
    throw wrongValue('nodename', `nodename ${show(node)} is not the name of a folder`, 'give the name of the node')
  const folders = searchPath ?? process.env.EC_CONF_SEARCH_PATH?.split(':')
  if (folders !== undefined && !Array.isArray(folders))
    throw wrongType('searchPath', 'an array of paths', searchPath, asPaths(searchPath))
  for (const [index, folder] of folders?.entries() ?? []) text(folder, `searchPath[${index}]`)
  // an empty path is dropped: it does not stand for the current folder
  return { cluster: cluster as string | undefined, searchPath: folders?.filter(Boolean), nodename: node as string }
}

function noSuchOption(name: string): HardenError {
  const names = { cluster: '', searchPath: '', nodename: '' }
  const option = name.slice(0, 64)
  return noSuch(name, {
    option,
    message: 'there is no option',
    wanted: nearest(name, Object.keys(names)),
    kind: 'option',
    names,
  })
}

/** The paths in the notation of the environment and the command line. */
const asPaths = (paths: unknown): string | undefined =>
  typeof paths === 'string' && paths.length <= 64 ? `write ${showList(paths.split(':'))}` : undefined

/** Places for at most as many elements as the kernel takes groups: a longer list is refused as a whole. */
function toReadValue({ value, source, at, elements }: Setting): ReadValue {
  const [place = '', ...places] = placesIn(source, [at, ...elements.slice(0, NGROUPS_MAX)])
  return { value, place, elements: places }
}
