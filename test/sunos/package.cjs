/**
 * Asks the package one thing after the other: node package.cjs FOLDER '[["harden", options], ["audit"]]', one line each of
 * what it answers or throws. As an ordinary user, which it stays: the model is the one that changes.
 */
const { writeSync } = require('node:fs')
const { createServer } = require('node:net')

const [, , folder, questions] = process.argv
if (process.getuid() === 0) throw new Error('the kernel would do all this to a process that is real')

// those of whoever runs the tests, who may be root
for (const name of ['HOME', 'USER', 'LOGNAME']) delete process.env[name]

createServer()
  .listen(0, '127.0.0.1', function () {
    const privdrop = require(folder)
    for (const [name, ...args] of JSON.parse(questions)) writeSync(1, `${JSON.stringify(ask(privdrop[name], args))}\n`)
    this.close()
  })
  .unref()

function ask(call, args) {
  try {
    const answer = call(...args)
    return { answer, table: String(answer) }
  } catch (error) {
    return { error: { ...error, message: error.message } }
  }
}
