/** Takes every message, and stores it in the folder that SPOOL names. */
const { randomUUID } = require('node:crypto')
const { createWriteStream } = require('node:fs')

exports.hook_rcpt = (next) => next(OK)

exports.hook_queue = (next, connection) => {
  const file = createWriteStream(`${process.env.SPOOL}/${randomUUID()}.eml`)
  file.on('error', ({ message }) => next(DENYSOFT, message)).on('finish', () => next(OK))
  connection.transaction.message_stream.pipe(file)
}
