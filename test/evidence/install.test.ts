/**
 * Promise: installing the package builds nothing. Each package manager, its scripts allowed and without a compiler, from the
 * tarball and from a registry; and the commands that the error names build the addon in the application's folder.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { live, type Need } from '../live/live'
import { folder, modules, pack, run, tried } from '../package/packed'

t.setTimeout(900_000)
const needs: Need[] = ['MANAGERS_MODULES']
const managersModules = process.env.MANAGERS_MODULES ?? ''
const node = process.execPath

/** A registry on this machine, which asks no other, with what the package depends on. */
class Registry {
  readonly #place = folder()
  readonly #process: ChildProcess
  readonly port: number

  private constructor(port: number) {
    this.port = port
    const config = join(this.#place, 'config.json')
    const everything = { access: '$all', publish: '$all' }
    writeFileSync(
      config,
      JSON.stringify({ storage: join(this.#place, 'storage'), web: { enable: false }, packages: { '**': everything } }),
    )
    const program = join(managersModules, 'verdaccio/bin/verdaccio')
    const endWithUs = `data:text/javascript,process.once('disconnect', () => process.exit())`
    this.#process = fork(program, ['--config', config, '--listen', `127.0.0.1:${port}`], {
      execArgv: ['--import', endWithUs],
      stdio: 'ignore',
    })
  }

  static async start(): Promise<Registry> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    const registry = new Registry(port)
    await once(registry.#process, 'message') // { verdaccio_started: true }
    // it would keep this process alive
    registry.#process.channel?.unref()
    registry.#process.unref()
    return registry
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}/`
  }

  /** For every package manager; none takes anything from a cache that was there before. */
  get env(): NodeJS.ProcessEnv {
    const cache = join(this.#place, 'cache')
    const userconfig = join(this.#place, 'npmrc')
    writeFileSync(userconfig, `registry=${this.address}\n//127.0.0.1:${this.port}/:_authToken=anybody\n`)
    return {
      npm_config_userconfig: userconfig,
      npm_config_registry: this.address,
      npm_config_cache: cache,
      npm_config_store_dir: cache,
      npm_config_audit: 'false',
      npm_config_update_notifier: 'false',
      YARN_CACHE_FOLDER: cache,
      YARN_ENABLE_GLOBAL_CACHE: 'false',
      YARN_ENABLE_SCRIPTS: 'true',
      YARN_ENABLE_TELEMETRY: 'false',
      YARN_GLOBAL_FOLDER: cache,
      YARN_NPM_MINIMAL_AGE_GATE: '0', // what has just been published is installed, too
      YARN_NPM_REGISTRY_SERVER: this.address,
      YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
    }
  }

  publish(path: string): void {
    run('npm', ['publish', '--ignore-scripts', path], { cwd: this.#place, env: this.env })
  }
}

interface Manager {
  program: string
  add: string
  /** Each but `rebuild` in a folder that has the lock file and no node_modules. */
  again: string[]
  files?: Record<string, string>
  /** How Node finds the package, where it is in no node_modules. */
  flags?: string[]
}

const npm = (version: string): Manager => ({
  program: join(managersModules, `npm@${version}/bin/npm-cli.js`),
  add: 'install',
  again: ['rebuild', 'install', 'ci'],
})
const yarn4 = {
  program: join(managersModules, '@yarnpkg/cli-dist/bin/yarn.js'),
  add: 'add',
  again: ['rebuild', 'install'],
}
const managers: Record<string, Manager> = {
  'npm 9': npm('9.9.4'),
  'npm 10': npm('10.9.9'),
  'npm 11': npm('11.21.2'),
  'yarn 1': {
    program: join(modules, 'yarn/bin/yarn.js'),
    add: 'add',
    again: ['install --force', 'install --frozen-lockfile'],
  },
  'yarn 4': { ...yarn4, files: { '.yarnrc.yml': 'nodeLinker: node-modules\n', 'yarn.lock': '' } },
  "yarn 4, Plug'n'Play": {
    ...yarn4,
    files: { '.yarnrc.yml': 'nodeLinker: pnp\n', 'yarn.lock': '' },
    flags: ['--require', './.pnp.cjs'],
  },
  'pnpm 10': {
    program: join(modules, 'pnpm/bin/pnpm.cjs'),
    add: 'add',
    again: ['rebuild', 'install --frozen-lockfile'],
    files: { 'pnpm-workspace.yaml': 'dangerouslyAllowAllBuilds: true\n' },
  },
}

/** Node and a shell, so that scripts run: no compiler, no make, no python. */
function path(): string {
  const place = folder()
  symlinkSync(node, join(place, 'node'))
  symlinkSync('/bin/sh', join(place, 'sh'))
  return place
}

const program = `
  try { require('privdrop').harden({ user: 'no-such-account' }) } catch ({ code, remedy }) {
    console.log(JSON.stringify({ code, remedy }))
  }`
const loaded = { code: 'ERR_UNKNOWN_CREDENTIAL' }

/** What harden() throws in the application of that folder. */
const refusal = (cwd: string, flags: string[] = []): { code: string; remedy: string } =>
  JSON.parse(run(node, [...flags, '--eval', program], { cwd }))

const tools = path()
let packed: { registry: Registry; tarball: string } | undefined

async function prepared() {
  if (packed) return packed
  const { tarball, copy } = pack()
  const registry = await Registry.start()
  for (const name of ['node-gyp-build', 'node-addon-api']) registry.publish(join(modules, name))
  // as it is published, from the checkout, where there is a binding.gyp
  registry.publish(copy)
  packed = { registry, tarball }
  return packed
}

/** An application that has nothing but this package. */
function install({ program, add, files = {} }: Manager, what: string, env: NodeJS.ProcessEnv): string {
  const cwd = folder()
  for (const [name, text] of Object.entries({ 'package.json': '{ "private": true }', ...files }))
    writeFileSync(join(cwd, name), text)
  run(node, [program, add, what], { cwd, path: tools, env })
  return cwd
}

live('what is published has nothing to run', needs, async (t) => {
  const { registry } = await prepared()
  const response = await fetch(`${registry.address}privdrop`)
  const { versions } = (await response.json()) as { versions: Record<string, Record<string, unknown>> }
  const [version] = Object.values(versions)
  t.notOk(version?.hasInstallScript)
  t.not(version?.gypfile, true)
  t.strictSame(
    Object.keys(version?.scripts ?? {}).filter((name) => /install$/.test(name)),
    [],
  )
})

live('npm builds nothing in a clone', needs, async (t) => {
  const { registry } = await prepared()
  for (const [name, { program, again }] of Object.entries(managers).filter(([name]) => name.startsWith('npm'))) {
    const clone = folder()
    const { name: own, version, gypfile } = require('../../package.json')
    writeFileSync(join(clone, 'package.json'), JSON.stringify({ name: own, version, gypfile }))
    cpSync(join(__dirname, '../../binding.gyp'), join(clone, 'binding.gyp'))
    for (const command of again) {
      const { status, stderr } = tried(node, [program, command], { cwd: clone, path: tools, env: registry.env })
      t.equal(status, 0, `${name} ${command}: ${stderr}`)
    }
  }
})

for (const [name, manager] of Object.entries(managers))
  for (const from of ['registry', 'tarball'])
    live(`${name} builds nothing: from the ${from}`, needs, async (t) => {
      const { registry, tarball } = await prepared()
      const { env } = registry
      const cwd = install(manager, from === 'registry' ? 'privdrop' : `privdrop@file:${tarball}`, env)
      t.match(refusal(cwd, manager.flags), loaded, manager.add)
      for (const command of manager.again) {
        if (command !== 'rebuild') rmSync(join(cwd, 'node_modules'), { recursive: true, force: true })
        const { status, stdout, stderr } = tried(node, [manager.program, ...command.split(' ')], {
          cwd,
          path: tools,
          env,
        })
        t.equal(status, 0, `${command}: ${stdout}${stderr}`)
        t.match(refusal(cwd, manager.flags), loaded, command)
        t.notOk(existsSync(join(cwd, 'node_modules/privdrop/build')), command)
      }
    })

const compiler: Need[] = ['c++', 'cc', 'make', 'python3', 'libcap']

for (const name of ['npm 9', 'npm 11', 'yarn 1'])
  live(`the commands that the error names build it: ${name}`, [...needs, ...compiler], async (t) => {
    const { registry } = await prepared()
    const manager = managers[name] as Manager
    const cwd = install(manager, 'privdrop', registry.env)
    const installed = join(cwd, 'node_modules/privdrop')
    rmSync(join(installed, 'prebuilds'), { recursive: true })
    const { code, remedy } = refusal(cwd)
    t.equal(code, 'ERR_HARDEN_UNSUPPORTED_PLATFORM')
    // npm of that version, where it is npm that has installed it
    const bin = folder()
    if (name.startsWith('npm')) symlinkSync(manager.program, join(bin, 'npm'))
    const env = { ...registry.env, npm_config_nodedir: process.env.npm_config_nodedir ?? join(node, '../..') }
    const commands = remedy.slice(remedy.indexOf('npm install'))
    run('sh', ['-ec', commands], { cwd, path: `${bin}:${process.env.PATH}`, env })
    t.ok(existsSync(join(installed, 'build/Release/privdrop.node')), 'it is built')
    t.match(refusal(cwd), loaded)
    t.notOk(existsSync(join(installed, 'binding.gyp')), 'and the next install builds nothing either')
    if (!name.startsWith('npm')) return
    rmSync(join(cwd, 'node_modules/node-addon-api'), { recursive: true })
    run(node, [manager.program, 'rebuild'], { cwd, path: tools, env })
    t.match(refusal(cwd), loaded)
  })

live('Solaris and illumos need no node-addon-api to build it', ['make', 'python3'], async (t) => {
  const cwd = folder()
  const root = join(__dirname, '../..')
  for (const part of ['binding.gyp', 'src-native']) cpSync(join(root, part), join(cwd, part), { recursive: true })
  mkdirSync(join(cwd, 'node_modules'))
  const env = { npm_config_nodedir: process.env.npm_config_nodedir ?? join(node, '../..') }
  const configure = (...flags: string[]) =>
    tried(node, [join(modules, '.bin/node-gyp'), 'configure', ...flags], { cwd, env })
  t.match(configure(), { status: 1, stderr: /Cannot find module 'node-addon-api'/ }, 'Linux does')
  t.match(configure('--', '-DOS=solaris'), { status: 0 })
  const made = readFileSync(join(cwd, 'build/privdrop.target.mk'), 'utf8')
  t.match(made, /-D_REENTRANT/)
  t.match(made, /src-native\/sunos\/privileges\.o/)
  t.notMatch(made, /src-native\/linux/)
})
