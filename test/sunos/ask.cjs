/**
 * Asks the addon one thing after the other: node ask.cjs ADDON '[["observe"], ["commit", plan]]', one answer a line. As an ordinary user.
 * A root in a plan is the path of a directory, to be opened here. What was before is asked here, and a commit is rehearsed, unless the
 * plan says what is expected.
 */
const { writeSync, openSync, constants } = require('node:fs')
const { createServer } = require('node:net')
const { Worker, isMainThread, workerData, parentPort } = require('node:worker_threads')

const [, , addon, questions] = process.argv
const native = require(addon)
if (process.getuid() === 0) throw new Error('the kernel would do all this to a root that is real')

const opened = (path) => openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)

function nativePlan({ root, groups, accountGroups = [], ...plan }) {
  return {
    before: native.observe().text ?? '',
    expected: '',
    inside: new ArrayBuffer(0),
    ...plan,
    groups: Uint32Array.from(groups),
    accountGroups: Uint32Array.from(accountGroups),
    root: typeof root === 'string' ? opened(root) : root,
  }
}

function commit(plan) {
  if (plan.expected) return native.commit(plan)
  const left = native.rehearse(plan)
  return left.syscall ? left : native.commit({ ...plan, expected: left.state.text, inside: left.inside })
}

/** A Worker ends while this is read. */
const dying = (plan) => Object.defineProperty(plan, 'permitted', { get: () => process.exit(3) })

function ask([name, ...args]) {
  if (name === 'open') return void opened(args[0])
  if (name === 'on') return void process.on(args[0], () => {})
  if (name === 'rehearse') return native.rehearse(nativePlan(args[0]))
  if (name === 'commit') return commit(nativePlan(args[0]))
  if (name === 'die') return native[args[0]](dying(nativePlan(args[1])))
  return native[name](...args)
}

const say = (answer) => writeSync(1, `${JSON.stringify({ answer })}\n`)
const plain = (answer) => (answer instanceof ArrayBuffer ? [...new Uint8Array(answer)] : answer)

async function main() {
  for (const question of JSON.parse(questions)) {
    if (question[0] === 'listen') await new Promise((done) => createServer().listen(0, '127.0.0.1', done).unref())
    else if (question[0] === 'worker') {
      const worker = new Worker(__filename, { workerData: question[1], argv: process.argv.slice(2) })
      say(await new Promise((done) => worker.once('message', done).once('exit', (code) => done({ code }))))
    } else say(plain(ask(question)))
  }
}

if (isMainThread) void main()
else parentPort.postMessage(plain(ask(workerData)))
