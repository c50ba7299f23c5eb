/** Promise: importing works everywhere; where nothing can be given up, each function says so and does not pretend. */
import t, { type Test } from 'tap'

type Index = typeof import('../lib/index')

function fieldsOf(call: () => unknown): Record<string, unknown> {
  try {
    call()
  } catch (error) {
    const { name, message, cause } = error as Error
    return { name, message, ...(error as object), cause }
  }
  throw new Error('it was not refused')
}

/** The package as it is on another platform, where there is no addon. */
function importOn(
  t: Test,
  platform: string,
  cause = new Error('no native build was found.\n  loaded from: /\n'),
): Index {
  t.intercept(process, 'platform', { value: platform })
  return t.mockRequire<Index>('../lib/index', {
    'node-gyp-build': () => {
      throw cause
    },
  })
}

const others = ['darwin', 'win32', 'freebsd', 'openbsd', 'android', 'aix', 'sunos2', 'linux2', '']
// Nobody has this name: should a platform be taken for Linux, the name is refused, and the tests go on as they were.
const user = 'no-such-account'

for (const platform of others)
  t.test(platform, async (t) => {
    const { audit, harden, HardenError, plan } = importOn(t, platform)
    t.type(HardenError, 'function')
    const refusal = {
      name: 'HardenError',
      code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
      message: `privileges cannot be given up on ${platform}: only Linux and Solaris (illumos) are supported`,
      remedy: /process\.platform is 'linux' or 'sunos'/,
    }
    for (const call of [harden, plan]) {
      for (const options of [{ user }, {}, { user, capabilities: 'cap_net_raw+EP' }])
        t.match(
          fieldsOf(() => call(options)),
          refusal,
        )
      for (const options of [undefined, { user: null }, { usr: user }])
        t.match(fieldsOf(() => call(options as never)).code, /^ERR_INVALID_ARG_/, 'arguments are checked all the same')
    }
    t.match(fieldsOf(audit), refusal)
  })

t.test('each of its methods refuses', async (t) => {
  const { unsupported } = t.mockRequire<typeof import('../lib/platform/unsupported')>('../lib/platform/unsupported')
  const methods = [
    ...(['addon', 'observe', 'decide', 'rehearse', 'commit', 'explain'] as const),
    ...(['callOf', 'remedyForAnswer', 'rootChildren', 'allNames', 'libraries', 'readThreads'] as const),
  ]
  // what says of the options alone what is wrong, before that
  const others = ['hazards', 'name', 'readTexts', 'textOf']
  t.strictSame(Object.keys(unsupported).sort(), [...others, ...methods].sort(), 'no method is left out')
  for (const method of methods) {
    const error = fieldsOf(() => (unsupported[method] as unknown as () => void)())
    t.match(error, { name: 'HardenError', code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM', remedy: /./ }, method)
  }
})

t.test('which platform it is', async (t) => {
  for (const [name, chosen] of [
    ['linux', 'linux'],
    ['sunos', 'sunos'],
    ...others.map((other) => [other, 'unsupported']),
  ] as const) {
    t.intercept(process, 'platform', { value: name })
    const { platform } = t.mockRequire<typeof import('../lib/platform')>('../lib/platform/index', {
      '../lib/platform/linux': { linux: 'linux' },
      '../lib/platform/sunos': { sunos: 'sunos' },
      '../lib/platform/unsupported': { unsupported: 'unsupported' },
    })
    t.equal(platform, chosen, name)
  }
})

t.test('Linux, but the addon cannot be loaded', async (t) => {
  const { audit, harden, plan } = importOn(t, 'linux')
  for (const call of [() => harden({ user }), () => plan({ user }), audit]) {
    const error = fieldsOf(call)
    t.match(error, { name: 'HardenError', code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM', remedy: /build:native/ })
    t.match(
      error.message,
      `the native addon for linux-${process.arch} cannot be loaded: no native build was found. Remedy: `,
    )
    t.match(error.cause, { message: /no native build/ }, 'the cause is kept')
  }
})

t.test('Linux, but the package is in a bundle', async (t) => {
  t.intercept(process, 'platform', { value: 'linux' })
  const { harden } = t.mockRequire<typeof import('../lib/index')>('../lib/index', {
    'node:fs': { ...require('node:fs'), existsSync: () => false },
    'node-gyp-build': () => {
      throw new Error('No native build was found\n    loaded from: /srv\n')
    },
  })
  t.match(
    fieldsOf(() => harden({ user })),
    {
      code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM',
      message: 'privdrop was bundled without its folder prebuilds/ (No native build was found). Remedy: ',
      remedy: /^leave privdrop out of the bundle .* see docs\/bundles\.md$/,
    },
  )
})

for (const [code, remedy] of [
  ['ERR_DLOPEN_DISABLED', /--allow-addons .*--permission.*without --no-addons/],
  ['ERR_ACCESS_DENIED', /--allow-addons.*--allow-fs-read/],
] as const)
  t.test(`Node forbids to load it: ${code}`, async (t) => {
    const cause = Object.assign(new Error('forbidden'), { code })
    const { harden } = importOn(t, 'linux', cause)
    t.match(
      fieldsOf(() => harden({ user })),
      { code: 'ERR_HARDEN_UNSUPPORTED_PLATFORM', remedy, cause },
    )
  })
