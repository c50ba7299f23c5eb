/** The package as npm packs it, and folders in which it is installed. */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const root = join(__dirname, '../..')
export const modules = join(root, 'node_modules')

const folders: string[] = []
process.on('exit', () => {
  for (const path of folders) rmSync(path, { recursive: true, force: true })
})

/** A folder that any user can reach, which ends with the test file. */
export function folder(): string {
  process.umask(0o022)
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'privdrop-')))
  chmodSync(path, 0o755)
  folders.push(path)
  return path
}

interface Result {
  status: number | null
  stdout: string
  stderr: string
}

export interface Setting {
  cwd: string
  path?: string
  env?: NodeJS.ProcessEnv
}

/** To its end, whatever that is. */
export function tried(command: string, args: string[], { cwd, path, env: more }: Setting): Result {
  const env = { ...process.env, ...(path && { PATH: path }), ...more }
  // tap writes its loaders into every child's NODE_OPTIONS
  const plain = ['-u', 'NODE_OPTIONS', command, ...args]
  const { error, ...result } = spawnSync('/usr/bin/env', plain, { cwd, env, encoding: 'utf8', timeout: 600_000 })
  if (error) throw error
  return result
}

/** What it prints; it throws unless it succeeds. */
export function run(command: string, args: string[], setting: Setting): string {
  const { status, stdout, stderr } = tried(command, args, setting)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${status}\n${stdout}\n${stderr}`)
  return stdout
}

function found(program: string): string {
  for (const place of (process.env.PATH ?? '').split(delimiter))
    try {
      return realpathSync(join(place, program))
    } catch {
      // not here
    }
  throw new Error(`no ${program} on PATH`)
}

/** A PATH of nothing but Node and its package managers: no compiler, no make, no shell. */
export function bareTools(): string {
  const path = folder()
  const tools = {
    node: process.execPath,
    npm: found('npm'),
    pnpm: join(modules, 'pnpm/bin/pnpm.cjs'),
    yarn: join(modules, 'yarn/bin/yarn.js'),
  }
  for (const [name, target] of Object.entries(tools)) symlinkSync(target, join(path, name))
  return path
}

/** From `copy`, a copy of the checkout in which an earlier build has left something behind. */
export function pack(): { copy: string; tarball: string; size: number; files: string[] } {
  const copy = folder()
  const own = ['node_modules', '.git', '.tap', 'build', 'fresh-build', 'dist']
  cpSync(root, copy, { recursive: true, filter: (path) => !own.some((name) => path === join(root, name)) })
  symlinkSync(modules, join(copy, 'node_modules'))
  for (const stale of [
    'dist/stale.js',
    'examples/demo/out/stale.js',
    'dist/tsconfig.tsbuildinfo',
    'build/Release/privdrop.node',
  ]) {
    mkdirSync(join(copy, stale, '..'), { recursive: true })
    writeFileSync(join(copy, stale), '')
  }
  // the scripts are run, as for `npm publish`; what they print stands before the JSON
  const printed = run('npm', ['pack', '--json'], { cwd: copy })
  const [{ filename, size, files }] = JSON.parse(printed.slice(printed.search(/^\[/m)))
  return { copy, tarball: join(copy, filename), size, files: files.map(({ path }: { path: string }) => path) }
}

const commands = {
  npm: ['install', '--no-audit', '--no-fund'],
  pnpm: ['add', '--store-dir', 'store'],
  yarn: ['add', '--cache-folder', 'cache'],
}
export type Manager = keyof typeof commands
export const managers = Object.keys(commands) as Manager[]

/** An application that has nothing but this package, installed without a compiler; its scripts are allowed where they are by default. */
export function install(manager: Manager, tarball: string, path = bareTools()): string {
  const cwd = folder()
  writeFileSync(join(cwd, 'package.json'), '{ "private": true }')
  run(manager, [...commands[manager], `file:${tarball}`], { cwd, path })
  return cwd
}
