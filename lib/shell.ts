/** A path as a word of a command that an error shows. */

const LONGEST = 256

/** Quoted if necessary. undefined: it is too long to read, or has characters that a terminal does not show. */
export function shellWord(word: string): string | undefined {
  if (word.length > LONGEST || /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(word)) return undefined
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
