/** A word of a command line that an error shows. */

const LONGEST = 256

/** Quoted if it has to be. undefined: it is too long to be read, or has what a terminal does not show. */
export function shellWord(word: string): string | undefined {
  if (word.length > LONGEST || /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(word)) return undefined
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
