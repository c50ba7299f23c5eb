/**
 * What is in prebuilds/ and which tools made it: prebuilds/manifest.json. Called by scripts/prebuilds.
 *
 *     node scripts/manifest.mjs FOLDER            writes down what is in FOLDER/prebuilds
 *     node scripts/manifest.mjs FOLDER --check    compares that with what is committed
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const forSunos = 'prebuilds/sunos-x64/privdrop.node'
const files = [
  ...['linux-x64', 'linux-arm64'].flatMap((platform) =>
    ['glibc', 'musl'].map((libc) => `prebuilds/${platform}/privdrop.${libc}.node`),
  ),
  forSunos,
]
const ours = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']

const run = (command, ...args) => execFileSync(command, args, { encoding: 'utf8' })
const machine = run('dpkg', '--print-architecture').trim()
// biome-ignore lint/suspicious/noTemplateCurlyInString: it is dpkg-query that replaces this
const version = (name) => run('dpkg-query', '-W', '-f=${Version}', `${name}:${machine}`)
const matches = (text, pattern) => [...text.matchAll(pattern)].map(([, found]) => found)

function tools() {
  const { devDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
  const headers = readFileSync(join(process.env.npm_config_nodedir, 'include/node/node_api.h'))
  return {
    clang: version('clang-16'),
    lld: version('lld-16'),
    'libc++': version('libc++-16-dev'),
    glibc: version('libc6-dev'),
    musl: version('musl-dev'),
    'kernel headers': version('linux-libc-dev'),
    libcap: process.env.LIBCAP.replace('libcap2_', ''),
    'node-addon-api': devDependencies['node-addon-api'],
    'node_api.h': sha256(headers).slice(0, 16),
  }
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

function describe(path) {
  const bytes = readFileSync(path)
  const dynamic = run('llvm-readelf-16', '--dynamic', '--program-headers', '--wide', path)
  const symbols = run('llvm-nm-16', '--dynamic', path)
  const glibc = matches(symbols, /@GLIBC_([\d.]+)/g).map((found) => found.split('.').map(Number))
  const floor = glibc.sort(([a, b, c = 0], [d, e, f = 0]) => a - d || b - e || c - f).at(-1)
  return {
    sha256: sha256(bytes),
    size: bytes.length,
    needed: matches(dynamic, /\(NEEDED\) +Shared library: \[(.+)\]/g),
    ...(floor && { glibc: floor.join('.') }),
    hardening: [
      /GNU_RELRO/.test(dynamic) && /\bNOW\b/.test(dynamic) && 'full RELRO',
      /GNU_STACK .* RW +0/.test(dynamic) && 'no executable stack',
      !/RPATH|RUNPATH/.test(dynamic) && 'no RPATH',
      !/TEXTREL/.test(dynamic) && 'no text relocations',
    ].filter(Boolean),
    exports: matches(symbols, / [TDBRVW] (\S+)$/gm).map(bare),
    imports: matches(symbols, / [Uw] (\S+)$/gm).map(bare),
  }
}

const bare = (symbol) => symbol.replace(/@.*$/, '')

/** What makes a file unfit, whoever made it. */
function faults({ size, needed, hardening, exports, imports }) {
  return [
    size > 76 * 1024 && `${size} bytes`,
    needed.some((name) => !/^(libc\.so(\.6|\.1)?|ld-linux-[\w-]+\.so\.\d)$/.test(name)) && `needs ${needed}`,
    hardening.length < 4 && `has only ${hardening}`,
    exports.join() !== ours.join() && `exports ${exports}`,
    imports.some((name) => /^(_Z|__cxa_(?!finalize))/.test(name)) && 'imports C++',
  ].filter(Boolean)
}

/** What the loader of that system cannot handle: it reads no GNU hash, and an undefined name ends the loading. */
function faultsForSunos({ needed, imports }, path) {
  const known = readFileSync('scripts/sunos/symbols', 'utf8').replace(/^#.*$/gm, '').split(/\s+/)
  const unknown = imports.filter((name) => !name.startsWith('napi_') && !known.includes(name))
  const dynamic = run('llvm-readelf-16', '--dynamic', '--version-info', '--file-header', path)
  return [
    needed.join() !== 'libc.so.1' && `needs ${needed}`,
    unknown.length && `imports ${unknown}`,
    (!/\(HASH\)/.test(dynamic) || /GNU_HASH/.test(dynamic)) && 'has another hash than DT_HASH',
    /VERNEED|VERSYM/.test(dynamic) && 'asks for versions of symbols',
  ].filter(Boolean)
}

const [folder, check] = process.argv.slice(2)
const made = { tools: tools(), files: Object.fromEntries(files.map((file) => [file, describe(join(folder, file))])) }
const wrong = Object.entries(made.files).flatMap(([file, found]) =>
  [...faults(found), ...(file === forSunos ? faultsForSunos(found, join(folder, file)) : [])].map(
    (fault) => `${file}: ${fault}`,
  ),
)
const manifest = 'prebuilds/manifest.json'

if (check) {
  const committed = JSON.parse(readFileSync(manifest, 'utf8'))
  const same = JSON.stringify(made.tools) === JSON.stringify(committed.tools)
  if (!same) console.log('the toolchain has moved:', committed.tools, 'is now', made.tools)
  for (const [file, { sha256: was, size: _size, ...counts }] of Object.entries(committed.files)) {
    if (sha256(readFileSync(file)) !== was) wrong.push(`${file}: not what the manifest says`)
    const { sha256: is, size: _is, ...found } = made.files[file]
    if (same && is !== was) wrong.push(`${file}: ${is} instead of ${was}`)
    if (JSON.stringify(found) !== JSON.stringify(counts)) wrong.push(`${file}: other imports, exports or needs`)
  }
} else {
  writeFileSync(manifest, `${JSON.stringify(made, undefined, 2)}\n`)
}
for (const [file, { size, sha256: hash }] of Object.entries(made.files)) console.log(`${file}  ${size} bytes  ${hash}`)
for (const fault of wrong) console.error(fault)
process.exitCode = wrong.length ? 1 : 0
