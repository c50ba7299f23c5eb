/** Promise: what an application gets by require and by import, in a plain Node, from the built package. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'

const root = join(__dirname, '../..')

/** What a program prints as JSON; it finds the package by its own name, from within its folder. */
function run(program: string, ...flags: string[]): unknown {
  // tap writes its loaders into every child's NODE_OPTIONS
  const { NODE_OPTIONS: _, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '--eval', program], {
    cwd: root,
    env,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

const esm = '--input-type=module'
const cjs = '--input-type=commonjs'
const print = 'console.log(JSON.stringify(found))'

t.test('require', async (t) => {
  const found = run(
    `const { harden, HardenError } = require('privdrop')
    const found = [typeof harden, typeof HardenError, HardenError.prototype instanceof Error]; ${print}`,
    cjs,
  )
  t.strictSame(found, ['function', 'function', true])
})

t.test('import, by name', async (t) => {
  const found = run(
    `import { harden, HardenError } from 'privdrop'
    const found = [typeof harden, typeof HardenError, HardenError.prototype instanceof Error]; ${print}`,
    esm,
  )
  t.strictSame(found, ['function', 'function', true])
})

t.test('both are the same', async (t) => {
  const found = run(
    `import { createRequire } from 'node:module'
    import { harden, HardenError } from 'privdrop'
    const required = createRequire(process.cwd() + '/x.js')('privdrop')
    const found = [required.harden === harden, required.HardenError === HardenError]; ${print}`,
    esm,
  )
  t.strictSame(found, [true, true])
})

t.test('what it throws is of the class that it exports', async (t) => {
  for (const [head, flag] of [
    [`const { harden, HardenError } = require('privdrop')`, cjs],
    [`import { harden, HardenError } from 'privdrop'`, esm],
  ] as const) {
    const found = run(
      `${head}
      let found
      try { harden({ usr: 'nobody' }) } catch (error) { found = { own: error instanceof HardenError, ...error } }
      ${print}`,
      flag,
    )
    t.match(found, { own: true, code: 'ERR_INVALID_ARG_VALUE', option: 'usr', remedy: /./ })
  }
})

t.test('to import it loads the addon, starts nothing and leaves nothing behind', async (t) => {
  const found = run(
    `const handlers = () => [process.eventNames().length, Object.keys(globalThis).length]
    const before = handlers()
    require('privdrop')
    const addons = process.report.getReport().sharedObjects.filter((path) => path.includes('privdrop'))
    const found = [addons, String(handlers()) === String(before)]; ${print}`,
    cjs,
  )
  t.match(found, [[/privdrop[^/]*\.node$/], true])
  t.equal((found as string[][])[0]?.length, 1)
})

t.test('nothing but the front door', async (t) => {
  for (const path of ['dist/native', 'dist/native.js', 'dist/platform/linux.js', 'lib/native.ts', 'prebuilds']) {
    const found = run(
      `let found; try { require('privdrop/${path}') } catch (error) { found = error.code }; ${print}`,
      cjs,
    )
    t.equal(found, 'ERR_PACKAGE_PATH_NOT_EXPORTED', path)
  }
  t.match(run(`const found = require('privdrop/package.json'); ${print}`, cjs), { name: 'privdrop' })
})
