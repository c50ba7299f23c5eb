/** The package in Bun for musl, because no Node for musl can be had here. As root, LIBC=musl; prints TAP. */
const { strictEqual, throws, rejects, ok } = require('node:assert')
const { readdirSync, readFileSync, promises } = require('node:fs')
const { createServer } = require('node:net')
const { join } = require('node:path')
const { Worker } = require('node:worker_threads')
const { plan, harden } = require('../..')

const options = { user: 'nobody', capabilities: 'cap_net_bind_service+ep' }
let number = 0
let failed = 0

async function test(name, body) {
  try {
    await body()
    console.log(`ok ${++number} - ${name}`)
  } catch (error) {
    console.log(`not ok ${++number} - ${name}\n# ${String(error.stack).replaceAll('\n', '\n# ')}`)
    failed++
  }
}

/** What the kernel says about each thread, each text once. */
function threads() {
  const fields = /^(?:Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):.*/gm
  const all = readdirSync('/proc/self/task').map((tid) => readFileSync(`/proc/self/task/${tid}/status`, 'utf8'))
  return { count: all.length, texts: [...new Set(all.map((text) => text.match(fields).join('\n')))] }
}

const listen = (port) =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server))
  })

async function main() {
  const before = threads()
  await test('it is the musl build that was loaded, and there is one libc', () => {
    const maps = readFileSync('/proc/self/maps', 'utf8')
    ok(maps.includes(join('prebuilds', `linux-${process.arch}`, 'privdrop.musl.node')))
    ok(!/libc[.-]\S*so\.6|libc-2/.test(maps))
  })
  await test('plan() changes nothing', () => {
    ok(/^user .*\b65534\)?, real, effective, saved and file system$/m.test(String(plan(options))))
    strictEqual(threads().texts.join(), before.texts.join())
  })
  await test('an account that does not exist is refused, nothing has changed', () => {
    throws(() => harden({ user: 'no-such-account' }), { option: 'user' })
    strictEqual(threads().texts.join(), before.texts.join())
  })
  const server = await listen(25)
  await promises.readFile('/etc/shadow') // wakes the pool
  await test('harden(): each thread is what was asked for', () => {
    harden(options)
    const { count, texts } = threads()
    console.log(`# ${count} threads`)
    ok(count > 1)
    strictEqual(texts.length, 1)
    ok(
      /^Uid:(\t65534){4}\nGid:(\t65534){4}\nGroups:\s*\nCapInh:\t0+\nCapPrm:\t0{13}400\nCapEff:\t0{13}400\nCapBnd:\t0{13}400\nCapAmb:\t0+\nNoNewPrivs:\t1$/.test(
        texts[0],
      ),
    )
  })
  await test('there is no way back', async () => {
    throws(() => process.setuid(0))
    await rejects(promises.readFile('/etc/shadow'), { code: 'EACCES' })
  })
  await test('port 25 can be bound again', async () => {
    await new Promise((resolve) => server.close(resolve))
    await new Promise((resolve) => listen(25).then((again) => again.close(resolve)))
  })
  await test('a Worker born afterwards is no different', async () => {
    const worker = new Worker('require("node:worker_threads").parentPort.on("message", () => process.exit())', {
      eval: true,
    })
    await new Promise((resolve) => worker.once('online', resolve))
    strictEqual(threads().texts.length, 1)
    await worker.terminate()
  })
  console.log(`1..${number}`)
  process.exit(failed ? 1 : 0)
}
main()
