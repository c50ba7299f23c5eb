#!/usr/bin/env node
/** The package's command, as npm installs it. */
import { main } from './cli/main'
import { UNREADABLE } from './cli/terminal'

for (const stream of [process.stdout, process.stderr])
  stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE') return // a reader that stops, such as head(1), has read enough
    process.exitCode = UNREADABLE
    // a failure of stderr cannot be reported
    if (stream === process.stdout) console.error(`privdrop: the output could not be written: ${message}`)
  })

process.exitCode = main(process.argv.slice(2), process)
