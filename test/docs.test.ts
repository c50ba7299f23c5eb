/**
 * Promise: the code that the README and docs/ show compiles as it is, as strictly as our own; every link has a target;
 * the API reference is generated from the docstrings, and every export has one; and what docs/proof.md names exists.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { mutants } from './evidence/mutants'

const root = join(__dirname, '..')
const pages = [
  'README.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  'examples/README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true }).map((page) => `docs/${page}`),
].filter((page) => page.endsWith('.md'))
const textOf = (page: string): string => readFileSync(join(root, page), 'utf8')

/** Each block of TypeScript as a file in the project, so that the package finds itself by its own name. */
const blocks = new Map(
  pages.flatMap((page) =>
    [...textOf(page).matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code], index): [string, string] => [
      join(root, `${page.replaceAll('/', '-')}-${index}.mts`),
      `${code}\nexport {}\n`,
    ]),
  ),
)

function complaints(files: Map<string, string>): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists, readFile } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.readFile = (path) => files.get(path) ?? readFile(path)
  host.getSourceFile = (path, version, ...rest) => {
    const code = files.get(path)
    return code === undefined ? getSourceFile(path, version, ...rest) : ts.createSourceFile(path, code, version)
  }
  const program = ts.createProgram(
    [...files.keys()],
    { ...options, noEmit: true, noUnusedLocals: false, rootDir: root },
    host,
  )
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
}

t.test('code compiles', async (t) => {
  t.ok(blocks.size > 8)
  t.same(complaints(blocks), [])
})

t.test('code that does not is found', async (t) => {
  const wrong = new Map([[join(root, 'wrong.mts'), `import { harden } from 'privdrop'\nharden({ usr: 'nobody' })\n`]])
  t.match(complaints(wrong), [/wrong\.mts:2: .*usr/])
})

t.test('links lead somewhere', async (t) => {
  const dead = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\(([^)#]+)\)/g)]
      .map(([, target]) => target as string)
      .filter((target) => !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  )
  t.same(dead, [])
})

/** What is wrong with a name in docs/proof.md: `mutant NAME`, `FILE`, `FILE: TEST`, `FILE: FUNCTION(), FUNCTION()`. */
function faultOf(name: string): string | undefined {
  const [, mutant] = /^mutant (.+)$/.exec(name) ?? []
  if (mutant !== undefined) return Object.hasOwn(mutants, mutant) ? undefined : `no mutant ${mutant}`
  const [, path = '', part] = /^([^:]+)(?:: (.+))?$/.exec(name) ?? []
  if (!existsSync(join(root, path))) return `no file ${path}`
  if (part === undefined) return undefined
  const text = textOf(path)
  const functions = [...part.matchAll(/(\w+)\(\)/g)].map(([, called = '']) => called)
  if (functions.length === 0)
    return ["'", '"'].some((quote) => text.includes(quote + part + quote)) ? undefined : `${path} has no test '${part}'`
  const lacking = functions.filter((called) => !new RegExp(`^[a-z_][^;\n]*\\b${called}[(<][^;\n]*$`, 'm').test(text))
  return lacking.length ? `${path} has no function ${lacking.join(', ')}` : undefined
}

t.test('docs/proof.md', async (t) => {
  const proof = textOf('docs/proof.md')
  const names = [...proof.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name.replaceAll(/\s+/g, ' '))
  t.ok(names.length > 50)
  t.same(names.map(faultOf).filter(Boolean), [])
  const promises = [...textOf('SECURITY.md').matchAll(/^\d\. \*\*(.+?)\.\*\*/gm)].map(([, promise]) => promise)
  t.equal(promises.length, 8)
  t.same(
    [...proof.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading),
    promises,
  )
})

t.test('a name that does not exist is found', async (t) => {
  for (const name of [
    'mutant toString',
    'src-native/linux/gone.c',
    'src-native/linux/commit.c: release_every_thread()', // called there, and not defined
    'src-native/linux/commit.c: cross(), crossing()',
    'lib/state.ts: is()',
    'test/live/chroot.test.ts: way out',
  ])
    t.ok(faultOf(name), name)
})

t.test('the API reference is up to date', async (t) => {
  const out = t.testdir()
  // its validation makes it fail where a docstring is missing
  const typedoc = [join(root, 'node_modules/.bin/typedoc'), '--out', out]
  const { status, stdout, stderr } = spawnSync(process.execPath, typedoc, { cwd: root, encoding: 'utf8' })
  t.equal(status, 0, stdout + stderr)
  t.equal(readFileSync(join(out, 'README.md'), 'utf8'), textOf('docs/api/README.md'), 'npm run docs')
})
