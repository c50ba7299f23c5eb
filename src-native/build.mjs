/**
 * The addon from its source into build/: `npm run build:native`, in the repository and in an installed package.
 *
 * The packed package has no binding.gyp, because npm and yarn would build it at each install. There the file exists
 * only while node-gyp runs.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'

const packed = !existsSync('binding.gyp')
if (packed) writeFileSync('binding.gyp', '{ "includes": ["src-native/privdrop.gypi"] }\n')
process.on('SIGINT', () => {}) // Ctrl-C ends node-gyp, and the file is removed
const { status } = spawnSync('node-gyp', ['rebuild'], { stdio: 'inherit' })
if (packed) rmSync('binding.gyp')
process.exitCode = status ?? 1
