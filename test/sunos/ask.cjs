/**
 * Asks the addon one thing after the other: node ask.cjs ADDON '[["observe"], ["commit", plan, "verify"]]', one answer a line.
 * As an ordinary user. A root in a plan is the path of a directory, to be opened here. The third of a commit: what verify does.
 */
const { writeSync, openSync, constants } = require('node:fs')
const { createServer } = require('node:net')
const { Worker, isMainThread, workerData, parentPort } = require('node:worker_threads')

const [, , addon, questions] = process.argv
const native = require(addon)
if (process.getuid() === 0) throw new Error('the kernel would do all this to a root that is real')

const opened = (path) => openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
const verifies = {
  verify: (reading) => reading,
  throw: () => {
    throw new Error('not what\nwas asked for')
  },
  'throw something': () => {
    throw undefined
  },
  'throw a lot': () => {
    throw new Error('x'.repeat(4000))
  },
}

function ask([name, ...args]) {
  if (name === 'open') return void opened(args[0])
  if (args[0]?.groups) {
    const { root, groups, ...plan } = args[0]
    args[0] = { ...plan, groups: Uint32Array.from(groups), root: typeof root === 'string' ? opened(root) : root }
  }
  if (name === 'descriptors' && typeof args[0] === 'string') args[0] = opened(args[0])
  if (name === 'commit') args[1] = verifies[args[1]]
  return native[name](...args)
}

async function main() {
  for (const question of JSON.parse(questions)) {
    if (question[0] === 'listen') await new Promise((done) => createServer().listen(0, '127.0.0.1', done).unref())
    else if (question[0] === 'worker') {
      const worker = new Worker(__filename, { workerData: question[1], argv: process.argv.slice(2) })
      const answer = await new Promise((done, failed) => worker.once('message', done).once('exit', failed))
      writeSync(1, `${JSON.stringify({ answer })}\n`)
    } else writeSync(1, `${JSON.stringify({ answer: ask(question) })}\n`)
  }
}

if (isMainThread) void main()
else parentPort.postMessage(ask(workerData))
