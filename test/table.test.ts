/** Promise: a table is one line a row where no terminal is, fits the terminal where one is, and nothing in it speaks to a terminal. */
import t, { type Test } from 'tap'
import { visible } from '../lib/errors'
import { finish, type Row, rowText, TIED } from '../lib/table'

t.test('a row: its name, and each of its lines beside it', async (t) => {
  t.equal(rowText(['one', 'two']), `one${' '.repeat(19)}two`)
  t.equal(rowText(['x'.repeat(22), 'three']), `${'x'.repeat(22)}three`)
  t.equal(rowText(['one', 'two', 'three']), `one${' '.repeat(19)}two\n${' '.repeat(22)}three`)
  t.equal(rowText(['one', 'two\nverdict']), `one${' '.repeat(19)}two\\u{a}verdict`, 'of one line there is no second')
})

t.test('folded between words, and nowhere else', async (t) => {
  const words = (text: string, width?: number) =>
    rowText(['name', text], width)
      .split('\n')
      .map((line, index) => {
        t.equal(line.slice(0, 22), (index === 0 ? 'name' : '').padEnd(22))
        return line.slice(22)
      })
  const path = `/${'x'.repeat(100)}`
  t.strictSame(words(`aaaa bbbb ${'c'.repeat(20)} d ${path} e`, 52), [`aaaa bbbb ${'c'.repeat(20)}`, 'd', path, 'e'])
  t.strictSame(words(`aaaa bbbb ${'c'.repeat(20)} d`, 51), ['aaaa bbbb', `${'c'.repeat(20)} d`])
  t.strictSame(words('\t  ^  x', 80), ['\t  ^  x'], 'spaces stay')
  t.strictSame(words(`${'a'.repeat(18)} 4711${TIED}(node)`, 42), ['a'.repeat(18), '4711 (node)'])
  const long = 'a '.repeat(500).trim()
  t.strictSame(words(long), [long], 'no terminal')
  t.strictSame(words(long, 41), [long], 'a terminal in which there is no room')
  t.ok(words(long, 42).every((line) => line.length <= 20))
})

t.test('what would speak to a terminal is shown', async (t) => {
  t.equal(
    visible('\x1b[2J\u009b\u202e\u2028\ud800\n\0é ü\t-'),
    '\\u{1b}[2J\\u{9b}\\u{202e}\\u{2028}\\u{d800}\\u{a}\\u{0}é ü\t-',
  )
})

/** finish() where standard output is this. */
function withOutput(t: Test, isTTY: boolean, columns?: number) {
  const asked: number[] = []
  const isatty = (descriptor: number) => {
    asked.push(descriptor)
    return isTTY
  }
  t.intercept(process, 'stdout', {
    get() {
      t.ok(isTTY, 'what is no terminal is left alone')
      return { columns } as never
    },
  })
  const { finish } = t.mockRequire<typeof import('../lib/table')>('../lib/table', { 'node:tty': { isatty } })
  return { finish, asked }
}

t.test('a finished report', async (t) => {
  const report = { one: [{ two: null }], three: 3 }
  let asked = 0
  const finished = finish(report, () => {
    asked++
    return [
      ['one', 'two'],
      ['x'.repeat(22), 'three'],
    ]
  })
  t.equal(finished, report)
  t.equal(asked, 0, 'the table is made when it is wanted')
  t.equal(String(finished), `one${' '.repeat(19)}two\n${'x'.repeat(22)}three`)
  t.equal(asked, 1)
  t.strictSame(Object.keys(finished), ['one', 'three'], 'how it is shown is no data')
  t.equal(JSON.stringify(finished), '{"one":[{"two":null}],"three":3}')
  t.ok([finished, finished.one, finished.one[0]].every(Object.isFrozen))
  t.equal(String(finish({}, () => [])), '')
})

t.test('as a string it is folded if standard output is a terminal', async (t) => {
  const rows = (): Row[] => [['one', 'a '.repeat(100).trim()]]
  for (const [isTTY, columns, lines] of [
    [true, 80, 4],
    [true, 122, 2],
    [true, undefined, 1], // in a Worker
    [false, 80, 1],
  ] as const) {
    const { finish, asked } = withOutput(t, isTTY, columns)
    const text = String(finish({}, rows))
    t.equal(text.split('\n').length, lines, `${isTTY} ${columns}`)
    t.ok(lines === 1 || text.split('\n').every((line) => line.length <= (columns ?? 0)))
    t.strictSame(asked, [1])
  }
})
