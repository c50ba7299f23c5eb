/** Promise: what is packed is all that a user needs: it installs without a compiler, and works. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { live } from '../live/live'
import { bareTools, install, managers, modules, pack, run, tried } from './packed'

t.setTimeout(600_000)

const { tarball, size, files } = pack()
const node = process.execPath
const tools = bareTools()
const folders = new Map(managers.map((manager) => [manager, install(manager, tarball, tools)]))
const cwd = folders.get('npm') as string

t.test('what users need is packed, and nothing else', async (t) => {
  t.comment(`${size} bytes packed`)
  t.ok(size < 600_000, 'not too big')
  // no binding.gyp: npm and yarn would build it at each install
  const single = ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json']
  const allowed =
    /^(?:dist\/[\w/-]+\.(?:js|d\.ts)(?:\.map)?|docs\/(?:[\w/-]+\.md|cost\.svg)|lib\/[\w/-]+\.ts|examples\/.+|src-native\/[\w/]+\.(?:c|cc|h|map|gypi|mjs)|prebuilds\/(?:manifest\.json|[\w-]+\/privdrop(?:\.\w+)?\.node))$/
  t.strictSame(
    files.filter((file) => !allowed.test(file)),
    single,
  )
  for (const file of [
    'dist/index.js',
    'dist/index.d.ts',
    'lib/index.ts',
    'src-native/addon.cc',
    'src-native/privdrop.gypi',
  ])
    t.ok(files.includes(file), file)
  for (const machine of ['x64', 'arm64'])
    for (const libc of ['glibc', 'musl'])
      t.ok(files.includes(`prebuilds/linux-${machine}/privdrop.${libc}.node`), `${machine}, ${libc}`)
  t.ok(files.includes('prebuilds/sunos-x64/privdrop.node'), 'Solaris and illumos')
})

t.test('no link in it, and no page that a remedy names, leads to what is not packed', async (t) => {
  const lacking = (text: string, folder: string, targets: RegExp) =>
    [...text.matchAll(targets)]
      .map(([, target = '']) => normalize(join(folder, target)))
      .filter((target) => !files.some((file) => file === target || file.startsWith(`${target.replace(/\/$/, '')}/`)))
  const packed = (file: string) => readFileSync(join(cwd, 'node_modules/privdrop', file), 'utf8')
  const pages = files.filter((file) => file.endsWith('.md'))
  t.ok(pages.length > 20)
  for (const page of pages) t.strictSame(lacking(packed(page), dirname(page), /\]\((?!https?:|#)([^)#]+)/g), [], page)
  const sources = files.filter((file) => /^dist\/.*\.js$/.test(file))
  t.ok(sources.some((file) => /docs\/\w/.test(packed(file))))
  for (const file of sources) t.strictSame(lacking(packed(file), '', /\b(docs\/[\w/-]+\.md)/g), [], file)
})

t.test('installing it has nothing to run', async (t) => {
  const { scripts } = require(join(cwd, 'node_modules/privdrop/package.json'))
  for (const name of ['preinstall', 'install', 'postinstall']) t.notOk(Object.hasOwn(scripts, name), name)
  t.notMatch(readFileSync(join(cwd, 'package-lock.json'), 'utf8'), 'hasInstallScript')
})

t.test('what an earlier build has left behind is not packed', async (t) => {
  t.notOk(files.some((file) => /stale|tsbuildinfo|^build/.test(file)))
  const sources = files.flatMap((file) => /^lib\/(.*)\.ts$/.exec(file)?.[1] ?? [])
  const declared = files.flatMap((file) => /^dist\/(.*)\.d\.ts$/.exec(file)?.[1] ?? [])
  t.strictSame(declared.sort(), sources.sort(), 'declarations for each source')
  const built = files.filter((file) => /^dist\/.*\.js$/.test(file))
  t.strictSame(
    built.sort(),
    ['dist/addon.js', 'dist/cli.js', 'dist/index.js'],
    'the package, the command, what loads the addon',
  )
  const examples = files.flatMap((file) => /^examples\/demo\/([\w-]+)\.ts$/.exec(file)?.[1] ?? [])
  const compiled = files.flatMap((file) => /^examples\/demo\/out\/(.*)\.js$/.exec(file)?.[1] ?? [])
  t.strictSame(compiled.sort(), examples.sort(), 'and for each example')
})

t.test('publint and attw find nothing', async (t) => {
  const publint = run(node, [join(modules, 'publint/src/cli.js'), 'run', tarball, '--strict'], { cwd })
  t.match(publint, /All good!/)
  t.notMatch(publint, /Suggestions|Warnings|Errors/)
  run(node, [join(modules, '@arethetypeswrong/cli/dist/index.js'), tarball], { cwd })
})

t.test('there was no compiler to install it with', async (t) => {
  for (const tool of ['cc', 'gcc', 'make', 'python3'])
    t.equal(tried(tool, ['--version'], { cwd, path: tools }).status, 127, tool)
})

const body = `
import { createServer, connect } from 'node:net'
const server = createServer((socket) => socket.end('220 ready')).listen(0, '127.0.0.1', () => {
  const { user, threads } = harden({ user: 'nobody' })
  connect(server.address().port, '127.0.0.1').on('data', (greeting) => {
    console.log(JSON.stringify([process.getuid(), user.saved, threads.length > 4, String(greeting)]))
    process.exit()
  })
})`
const server = {
  'server.mjs': `import { harden } from 'privdrop'${body}`,
  'server.cjs': `const { harden } = require('privdrop')${body.replace(/import (.*) from (.*)/, 'const $1 = require($2)')}`,
}
const hardened = [65534, 65534, true, '220 ready']

for (const [manager, cwd] of folders)
  for (const [file, source] of Object.entries(server))
    live(`installed by ${manager}, it works: ${file}`, ['root'], async (t) => {
      writeFileSync(join(cwd, file), source)
      t.strictSame(JSON.parse(run(node, [file], { cwd })), hardened)
    })

for (const [manager, cwd] of folders)
  t.test(`installed by ${manager}, it has a command`, async (t) => {
    const command = join(cwd, 'node_modules/.bin/privdrop')
    t.equal(run(command, ['--version'], { cwd }), `${require('../../package.json').version}\n`)
    t.match(tried(command, ['plan', '--usr', 'nobody'], { cwd }), { status: 2, stderr: /Unknown option '--usr'/ })
  })

t.test('npx finds it', async (t) => {
  t.equal(run('npx', ['privdrop', '--version'], { cwd }), `${require('../../package.json').version}\n`)
  t.match(run('npx', ['privdrop', 'plan', '--help'], { cwd }), /^Usage: privdrop plan/)
})

live('it has a demo that needs no other package', ['root', 'ip'], async (t) => {
  // in a network of its own, where port 25 is free
  const shell = 'ip link set lo up && exec npx privdrop demo'
  const printed = run('unshare', ['--net', 'sh', '-ec', shell], { cwd })
  t.match(printed, /\nAll 26 answers are right\n$/)
  t.notMatch(printed, /WRONG/)
  t.notOk(printed.includes('\x1b'), 'no colours in a pipe')
})

live('the demo is for root', ['root', 'setpriv'], async (t) => {
  const command = join(cwd, 'node_modules/.bin/privdrop')
  const plain = ['--reuid=65534', '--regid=65534', '--clear-groups', '--', node, command, 'demo']
  t.match(tried('setpriv', plain, { cwd }), { status: 1, stdout: '', stderr: /^demo: it takes root/ })
})

t.test('its types fit, without those of Node', async (t) => {
  const use = `const user: number = harden({ user: 'nobody' }).user.real
    // @ts-expect-error it is typed
    harden({ user: null })
    export { user }`
  writeFileSync(join(cwd, 'esm.mts'), `import { harden } from 'privdrop'\n${use}`)
  writeFileSync(join(cwd, 'plain.ts'), `import { harden } from 'privdrop'\n${use}`)
  writeFileSync(join(cwd, 'cjs.cts'), `import privdrop = require('privdrop')\nconst { harden } = privdrop\n${use}`)
  const tsc = (...args: string[]) =>
    run(node, [join(modules, 'typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022', ...args], { cwd })
  t.equal(tsc('--module', 'nodenext', 'esm.mts', 'plain.ts', 'cjs.cts'), '')
  t.equal(tsc('--module', 'commonjs', 'plain.ts'), '')
})

/** What harden() throws in the installed package, after this. */
function refusal(before: string, { flags = [] as string[], env = {}, folder = cwd } = {}): Record<string, string> {
  const program = `${before}
    const { harden } = require('privdrop')
    try { harden({ user: 'no-such-account' }) } catch (error) {
      console.log(JSON.stringify({ ...error, message: error.message, cause: error.cause?.code }))
    }`
  return JSON.parse(run(node, ['--no-warnings', ...flags, '--eval', program], { cwd: folder, env }))
}

const code = 'ERR_HARDEN_UNSUPPORTED_PLATFORM'
const fake = (key: string, value: string) => `Object.defineProperty(process, '${key}', { value: '${value}' });`

for (const platform of ['darwin', 'win32'])
  t.test(`on ${platform} it is imported, and refuses`, async (t) => {
    t.match(refusal(fake('platform', platform)), { code, message: new RegExp(`on ${platform}: only Linux`) })
    const before = join(cwd, `${platform}.cjs`)
    writeFileSync(before, fake('platform', platform))
    const program = `import { harden } from 'privdrop'; console.log(typeof harden)`
    t.equal(run(node, ['--require', before, '--input-type=module', '--eval', program], { cwd }), 'function\n')
  })

t.test('a machine without a prebuild is named, and how to build there', async (t) => {
  const { message, remedy, ...rest } = refusal(fake('arch', 'riscv64'))
  t.match(rest, { code })
  t.match(message, /^the native addon for linux-riscv64 cannot be loaded: [^\n]*[^.\n]\. Remedy: /)
  t.match(remedy, /npm run build:native$/)
  const [, major] = /node-addon-api@(\d+) /.exec(remedy ?? '') ?? []
  t.match(require('../../package.json').devDependencies['node-addon-api'], new RegExp(`^${major}\\.`))
})

live('the commands that the error names build it', ['cc', 'make', 'python3', 'libcap'], async (t) => {
  const folder = install('npm', tarball, tools)
  rmSync(join(folder, 'node_modules/privdrop/prebuilds'), { recursive: true })
  const { code: before, remedy = '' } = refusal('', { folder })
  t.equal(before, code)
  const env = { npm_config_nodedir: process.env.npm_config_nodedir ?? join(node, '../..') }
  run('sh', ['-ec', remedy.slice(remedy.indexOf('npm install'))], { cwd: folder, env })
  t.match(refusal('', { folder }), { code: 'ERR_UNKNOWN_CREDENTIAL' }, 'it is loaded')
  if (process.getuid?.() !== 0) return
  writeFileSync(join(folder, 'server.cjs'), server['server.cjs'])
  t.strictSame(JSON.parse(run(node, ['server.cjs'], { cwd: folder })), hardened)
})

const permission = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission'

t.test("under Node's permissions it is imported, and says what is lacking", async (t) => {
  const everything = [permission, '--allow-fs-read=*']
  t.match(refusal('', { flags: everything }), { code, cause: 'ERR_DLOPEN_DISABLED', remedy: /--allow-addons/ })
  t.match(refusal('', { flags: ['--no-addons'] }), { cause: 'ERR_DLOPEN_DISABLED', remedy: /without --no-addons/ })
  const little = [permission, `--allow-fs-read=${cwd}/`, '--allow-addons']
  t.match(refusal('', { flags: little }), {
    code,
    cause: 'ERR_ACCESS_DENIED',
    remedy: /--allow-fs-read of .* \/etc\/alpine-release/,
  })
})

live('with the permissions that it asks for it works', ['root'], async (t) => {
  writeFileSync(join(cwd, 'server.cjs'), server['server.cjs'])
  const flags = [
    '--no-warnings',
    permission,
    '--allow-addons',
    ...[`${cwd}/`, '/etc/alpine-release'].map((path) => `--allow-fs-read=${path}`),
  ]
  t.strictSame(JSON.parse(run(node, [...flags, 'server.cjs'], { cwd })), hardened)
})
