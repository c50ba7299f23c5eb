/** Before anything else: this Node takes itself for one of illumos. */
Object.defineProperty(process, 'platform', { value: 'sunos' })
