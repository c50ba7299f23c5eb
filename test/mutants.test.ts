/** Promise: the text that each bug of test/evidence/mutants.ts replaces is in today's sources. */
import t from 'tap'
import { change, filesOf, type Mutant, mutants } from './evidence/mutants'

const all: [string, Mutant][] = Object.entries(mutants)

for (const [name, mutant] of all)
  void t.test(name, async (t) => {
    for (const file of filesOf(mutant)) t.ok(change(file, mutant), file)
  })

void t.test('a bug without a place is found', async (t) => {
  const lost: Mutant = { name: 'lost', changes: [['src-native/linux/steps.c', 'no such text', '']] }
  t.throws(() => change('src-native/linux/steps.c', lost), { message: 'src-native/linux/steps.c has no no such text' })
})
