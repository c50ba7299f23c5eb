// The server of scripts/places/systemd: it writes its state to the FIFO, and on SIGHUP binds its port again.
const { execFileSync } = require('node:child_process')
const { openSync, writeSync } = require('node:fs')
const { createServer } = require('node:net')
const { harden } = require('privdrop')

const outcome = openSync('/srv/outcome', 'w')
const say = (line) => writeSync(outcome, `${line}\n`)
const options = JSON.parse(process.env.OPTIONS)
const server = createServer((socket) => socket.end('220 ready\r\n'))
const address = process.env.LISTEN_FDS ? { fd: 3 } : { port: 25 }

server.on('error', (error) => {
  say(`LISTEN ${error.code}`)
  process.exit(1)
})
server.listen(address, () => {
  try {
    const { findings } = harden(options)
    if (process.env.NOTIFY_SOCKET) execFileSync('systemd-notify', ['--ready', `--pid=${process.pid}`])
    say(`HARDENED ${findings.map(({ code }) => code).join()}`)
  } catch (error) {
    say(`REFUSED ${error.code} ${error.syscall} ${error.message}`)
    process.exit(2)
  }
})
process.on('SIGHUP', () => server.close(() => server.listen(25, () => say('LISTENING'))))
