/**
 * Loads build/Release/privdrop.node, else the addon in prebuilds/ that is made for this machine.
 *
 * In dist/ it stays a file of its own: ncc and Vercel's nft carry an addon along for this expression, if they can parse
 * its file. A function, because in a bundle a module that has thrown once answers nothing the second time.
 */
// Not an import: node-gyp-build looks for a file when it is loaded, which Node's permissions may forbid.
export const loadAddon = () => (require('node-gyp-build') as (folder: string) => unknown)(`${__dirname}/..`)
