declare module 'node-gyp-build' {
  /** Loads build/Release, or the prebuilt addon that fits, from this folder. */
  export default function load(folder: string): unknown
}
