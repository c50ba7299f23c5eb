/**
 * The files of a configuration, in the order in which Momentum reads them: the main file and what it includes, then the
 * cluster's, then the local changes.
 */
import { basename, dirname, isAbsolute, resolve } from 'node:path'
import { showPath } from '../errors'
import { type Directory, isDirectory, isMissing, open, openIfThere, unreadable } from './files'
import { parse, type Reading, type Scope } from './parse'
import { type Source, type Token, wrongAt } from './tokens'

/** Bounds that no real configuration reaches. */
const DEPTH_MAX = 32
const FILES_MAX = 10_000

const LOCAL_CHANGES = 'local_changes.conf'
const URI = /^[a-z][a-z0-9+.-]*:\/\//i
/** Without characters that may stand for others. */
const FILE_URI = /^file:\/\/(?:localhost)?(\/[^%?#]*)$/i

/** Momentum's etc: the main file is in it, in etc/conf/default or global, or in a folder of etc/conf for some of the nodes. */
function etcOf({ path }: Source): string {
  const folder = dirname(path)
  const above = dirname(resolve(folder))
  return basename(above) === 'conf' ? dirname(above) : folder
}

/** Momentum's default search path. */
function searchPathOf(main: Source): readonly string[] {
  const etc = etcOf(main)
  return [etc, `${etc}/conf/global`, `${etc}/conf/{NODENAME}`, `${etc}/conf/default`]
}

export class Includes implements Reading {
  stanza: Reading['stanza']
  localChanges: Reading['localChanges']
  /** In the order in which they were read. */
  readonly files: string[] = []
  /** Directories whose files were read. */
  readonly listed = new Set<string>()
  /** Files that were named or expected, and do not exist. */
  readonly missing = new Set<string>()
  /** The files being read, each included by the one before. */
  readonly #within: Source[]
  readonly #searchPath: readonly string[]
  #count = 0

  constructor(
    readonly main: Source,
    readonly nodename: string,
    searchPath = searchPathOf(main),
  ) {
    this.#within = [main]
    this.#searchPath = searchPath.map((folder) => this.#fill(folder))
  }

  /** @throws HardenError ERR_HARDEN_CONFIG */
  read(cluster?: Source): Reading['stanza'] {
    const { main } = this
    this.#parse(main, 'global')
    if (cluster) this.#read(main, main.text.length, cluster, 'global')
    if (!this.localChanges) this.#readStandardLocalChanges()
    // local changes may name other local changes
    while (this.localChanges) this.#readLocalChanges(this.localChanges)
    return this.stanza
  }

  include(by: Source, name: Token, scope: Scope): void {
    const found = this.#find(by, name)
    if (!isDirectory(found)) {
      this.#read(by, name.at, found, scope)
      return
    }
    this.listed.add(found.path)
    for (const path of found.files) {
      const file = this.#openFirst(by, name, [path])
      if (!isDirectory(file)) this.#read(by, name.at, file, scope)
    }
  }

  #fill(text: string): string {
    // Momentum names the default subcluster 'default'
    return text.replace(/\{(NODENAME|SUBCLUSTER)\}/g, (_, name) => (name === 'NODENAME' ? this.nodename : 'default'))
  }

  /** A relative path is tried in the folder of the including file, then in those of the search path. */
  #find(by: Source, { text, at }: Token): Source | Directory {
    const [, local] = FILE_URI.exec(text) ?? []
    if (local === undefined && URI.test(text))
      throw wrongAt(by, at, 'a URI is not included, except file:/// with a path', 'include a file by its path')
    const path = this.#fill(local ?? text)
    const folders = [dirname(by.path), ...this.#searchPath]
    return this.#openFirst(by, { at }, isAbsolute(path) ? [path] : folders.map((folder) => `${folder}/${path}`))
  }

  /** The first of these paths that exists. */
  #openFirst(by: Source, { at }: Pick<Token, 'at'>, paths: readonly string[]): Source | Directory {
    const names = [...new Set(paths)]
    for (const path of names)
      try {
        return open(path)
      } catch (error) {
        if (!isMissing(error)) throw unreadable(by, at, path, error)
        this.missing.add(path)
      }
    const looked = names.map(showPath).join(', ')
    throw wrongAt(by, at, 'there is no such file', `create it, or correct the path; looked for: ${looked}`)
  }

  #read(by: Source, at: number, file: Source, scope: Scope): void {
    this.#enter(by, at, file)
    this.#parse(file, scope)
    this.#within.pop()
  }

  #parse(file: Source, scope: Scope): void {
    this.files.push(file.path)
    parse(this, file, scope)
  }

  #enter(by: Source, at: number, file: Source): void {
    if (this.#within.some(({ place }) => place === file.place))
      throw wrongAt(by, at, `${showPath(file.path)} would include itself`, 'remove one of the includes')
    this.#count++
    if (this.#within.length > DEPTH_MAX || this.#count > FILES_MAX)
      throw wrongAt(
        by,
        at,
        `includes go deeper than ${DEPTH_MAX} files, or there are more than ${FILES_MAX}`,
        'include fewer',
      )
    this.#within.push(file)
  }

  #readLocalChanges({ source, name }: NonNullable<Reading['localChanges']>): void {
    this.localChanges = undefined
    const found = this.#find(source, name)
    if (isDirectory(found)) throw wrongAt(source, name.at, `${showPath(name.text)} is a directory`, 'name the file')
    // stays on the list: it would include itself if a file that it names led back to it
    this.#enter(source, name.at, found)
    this.#parse(found, 'global')
  }

  /** If no file is named: the one beside the main file, or in Momentum's etc, if it exists. */
  #readStandardLocalChanges(): void {
    for (const folder of new Set([dirname(this.main.path), etcOf(this.main)])) {
      const path = `${folder}/${LOCAL_CHANGES}`
      const file = openIfThere(path)
      if (!file) this.missing.add(path)
      if (!file || file.place === this.main.place) continue
      this.#within.push(file)
      this.#parse(file, 'global')
      return
    }
  }
}
