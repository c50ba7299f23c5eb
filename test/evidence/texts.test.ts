/**
 * Promise: no text misleads, neither the kernel's nor our own. Each function that parses or writes one gets every input
 * up to a size, not examples, under the sanitizers (test/evidence/texts.c); and a mistake of one character in such a
 * function is found.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Test } from 'tap'
import { live } from '../live/live'
import { folder } from '../live/subject'

const native = join(__dirname, '../../src-native')
const sources = { PROC: 'linux/proc.c', DESCRIPTORS: 'linux/descriptors.c', END: 'end.c' }
type Source = keyof typeof sources

/** The program, with this text in the place of one source. */
function build(t: Test, changed?: Source, text = ''): string {
  const place = folder(t)
  const defines = Object.entries(sources).map(([name, file]) => {
    if (name !== changed) return `-D${name}="${join(native, file)}"`
    writeFileSync(join(place, basename(file)), text)
    return `-D${name}="${join(place, basename(file))}"`
  })
  const sanitized = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-O1', '-std=gnu11', '-w']
  const headers = [`-I${native}/linux`, `-I${native}`]
  // what is not under test calls functions that are not there
  const alone = ['-ffunction-sections', '-Wl,--gc-sections']
  execFileSync('gcc', [
    ...[...sanitized, ...headers, ...alone, ...defines],
    ...['-o', join(place, 'texts'), join(__dirname, 'texts.c')],
  ])
  return join(place, 'texts')
}

live('each function is right for every input', ['gcc'], async (t) => {
  const { status, stdout, stderr } = spawnSync(build(t), { encoding: 'utf8' })
  t.equal(status, 0, stdout + stderr)
  t.same(stdout.trim().split('\n'), [
    'decimal 1054032',
    'append_number 1064000',
    'append 1647084',
    'number_in 6725601',
    'judge_ring 117648',
    'each_number 335923',
    'select_lines 272674',
  ])
})

const WRONG = /^\w+: wrong for /
const BEYOND = /AddressSanitizer: heap-buffer-overflow|index 32 out of bounds for type/
const mistakes: [source: Source, name: string, right: string, wrong: string, said: RegExp][] = [
  ['PROC', 'decimal', 'while (number /= 10);', 'while ((number /= 10) > 1);', WRONG],
  ['PROC', 'number_in', "*digit == ' ' || *digit == '\\t'", "*digit == ' '", WRONG],
  ['PROC', 'number_in', "'\\n', text.length - from)", "'\\n', text.length - from + 1)", BEYOND],
  ['PROC', 'select_lines', 'is = is < SELECTED_LINES ? count : is + 1;', 'is = is + 1;', WRONG],
  ['PROC', 'select_lines', 'return next < SELECTED_LINES ?', 'return next + 1 < SELECTED_LINES ?', WRONG],
  ['PROC', 'each_number', "if (*digit < '0'", "if (*digit <= '0'", WRONG],
  ['DESCRIPTORS', 'judge_ring', '&& at < sizeof line - 1)', '&& at < sizeof line)', BEYOND],
  ['DESCRIPTORS', 'judge_ring', '&& so_far == NOT_SAID)', ')', WRONG],
  ['DESCRIPTORS', 'judge_ring', "} else if (text[i] == '\\n') {", '} else {', WRONG],
  ['END', 'append_number', 'if (number >= 10)', 'if (number > 10)', WRONG],
  ['END', 'append', '(unsigned char)text[i] <', 'text[i] <', WRONG],
  ['END', 'append', 'sizeof last_line.text - 1 -', 'sizeof last_line.text -', WRONG],
]

live('a mistake is seen', ['gcc'], async (t) => {
  for (const [source, name, right, wrong, said] of mistakes) {
    const text = readFileSync(join(native, sources[source]), 'latin1')
    t.equal(text.split(right).length, 2, `it is there once: ${right}`)
    const { status, stdout, stderr } = spawnSync(
      build(
        t,
        source,
        text.replace(right, () => wrong),
      ),
      [name],
      { encoding: 'utf8' },
    )
    t.equal(status, 1, `${name}: ${wrong}`)
    t.match(stdout + stderr, said)
  }
})
