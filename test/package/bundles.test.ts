/** Promise: a bundle works when it is made as docs/bundles.md says; made otherwise, the error says what to do. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { live } from '../live/live'
import { bareTools, folder, install, modules, pack, run } from './packed'

t.setTimeout(600_000)

const cwd = install('npm', pack().tarball, bareTools())
const path = `${join(modules, '.bin')}:${process.env.PATH}`
const page = readFileSync(join(__dirname, '../../docs/bundles.md'), 'utf8')

/** The blocks of a section of the page in that language. */
function blocks(title: string, language: 'sh' | 'js'): string[] {
  const [, section = ''] = new RegExp(`^## ${title}\n(.*?)(?=^## |$(?![^]))`, 'ms').exec(page) ?? []
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(
    ([, block]) => block as string,
  )
}

const shell = (commands: string) => run('sh', ['-ec', commands], { cwd, path })
const webpack = (config: string) => {
  writeFileSync(join(cwd, 'webpack.config.cjs'), config)
  const program = `require(${JSON.stringify(join(modules, 'webpack'))})(require('./webpack.config.cjs'), (error, stats) => {
    if (error ?? stats.hasErrors()) throw error ?? new Error(String(stats))
  })`
  run(process.execPath, ['--eval', program], { cwd })
}

const body = `
const server = createServer().listen(0, '127.0.0.1', () => {
  try {
    console.log(JSON.stringify([process.getuid(), harden({ user: 'nobody' }).user.saved, process.getuid()]))
  } catch (error) {
    console.log(JSON.stringify({ ...error, message: error.message, name: error.name, shown: inspect(error) }))
  }
  server.close()
})`
writeFileSync(
  join(cwd, 'server.mjs'),
  `import { createServer } from 'node:net'
  import { inspect } from 'node:util'
  import { harden } from 'privdrop'${body}`,
)
writeFileSync(
  join(cwd, 'server.cjs'),
  `${blocks('Single executables', 'js')[0]}
  const { createServer } = require('node:net')
  const { inspect } = require('node:util')${body}`,
)
const hardened = [0, 65534, 65534]
const external = 'node:net,node:util'
const answer = (...command: string[]) => JSON.parse(run(command[0] as string, command.slice(1), { cwd, path }))

for (const [title, build] of [
  ['esbuild', () => shell(blocks('esbuild', 'sh')[0] as string)],
  ['webpack', () => webpack(blocks('webpack', 'js')[0] as string)],
  ['rollup', () => shell((blocks('rollup', 'sh')[0] as string).replace('node:net', external))],
] as const)
  live(`${title}, as the page says`, ['root'], async (t) => {
    rmSync(join(cwd, 'out'), { recursive: true, force: true })
    build()
    t.notMatch(readFileSync(join(cwd, 'out/server.cjs'), 'utf8'), 'ERR_HARDEN_')
    t.strictSame(answer('node', 'out/server.cjs'), hardened)
  })

for (const [index, title] of ['outside', 'with its addon'].entries())
  live(`ncc, as the page says: ${title}`, ['root'], async (t) => {
    rmSync(join(cwd, 'out'), { recursive: true, force: true })
    shell(blocks('ncc', 'sh')[index] as string)
    t.equal(/ERR_HARDEN_/.test(readFileSync(join(cwd, 'out/index.mjs'), 'utf8')), index === 1)
    if (index === 1) {
      const away = folder()
      shell(`cp -r out ${away}`)
      t.strictSame(answer('node', join(away, 'out/index.mjs')), hardened)
    } else t.strictSame(answer('node', 'out/index.mjs'), hardened)
  })

live('a single executable, as the page says', ['root'], async (t) => {
  shell(blocks('Single executables', 'sh')[0] as string)
  t.strictSame(answer('./server'), hardened)
})

/** What is said in a bundle that has the package in it. */
function bundledAway(t: Test, file: string) {
  const { shown, ...error } = answer('node', file)
  t.match(error, {
    code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
    name: 'HardenError',
    message:
      /^the native addon for linux-\w+ cannot be loaded: privdrop was bundled without its folder prebuilds\/ \(.*\)\. /,
    remedy:
      'leave privdrop out of the bundle and install it beside: --external:privdrop for esbuild, ' +
      "externals: { privdrop: 'commonjs privdrop' } for webpack, --external privdrop for rollup and ncc; see docs/bundles.md",
  })
  t.match(shown, /^HardenError: the native addon/)
}

const esbuild = 'esbuild server.mjs --bundle --platform=node --log-level=error --outfile=away'
for (const [title, flags, file] of [
  ['esbuild', '', 'plain.cjs'],
  ['esbuild, minified', '--minify', 'minified.cjs'],
  [
    'esbuild, an ES module',
    '--format=esm "--banner:js=import { createRequire as of } from \'node:module\'; const require = of(import.meta.url)"',
    'module.mjs',
  ],
] as const)
  t.test(`bundled away by ${title}`, async (t) => {
    shell(`${esbuild}/${file} ${flags}`)
    bundledAway(t, `away/${file}`)
  })

t.test('bundled away by webpack, minified', async (t) => {
  webpack((blocks('webpack', 'js')[0] as string).replace(/ *externals.*\n/, '').replace('/out`', '/away`'))
  bundledAway(t, 'away/server.cjs')
})

for (const [format, file] of [
  ['cjs', 'rollup.cjs'],
  ['es', 'rollup.mjs'],
])
  t.test(`bundled away by rollup: ${format}`, async (t) => {
    const plugins = ['@rollup/plugin-node-resolve', '@rollup/plugin-commonjs'].map(
      (name) => `-p ${join(modules, name)}`,
    )
    shell(`rollup server.mjs ${plugins.join(' ')} --silent --format ${format} --file away/${file}`)
    bundledAway(t, `away/${file}`)
  })
