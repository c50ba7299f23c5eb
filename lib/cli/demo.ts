/** The demo runs in a child process, because it gives up root. */
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { type Command, UsageError, WRONG } from './terminal'

export const demo: Command = {
  help: `Usage: privdrop demo

As root, on Linux: a small mail server on 127.0.0.1:25 gives up root. Each
line says what was tried, and what the system answered, before and after. Port
25 must be free.
`,

  run(args) {
    if (args.length > 0) throw new UsageError(`demo takes no ${args[0]}`)
    const program = join(dirname(require.resolve('privdrop/package.json')), 'examples/demo/out/plain.js')
    // its warnings are part of the report that it prints
    return spawnSync(process.execPath, ['--no-warnings', program], { stdio: 'inherit' }).status === 0 ? 0 : WRONG
  },
}
