/**
 * Promise: the manifests of docs/smf.md are service bundles, their privileges exist, and the calls of that page are done in a process
 * that SMF starts so: on the model, not on the system itself.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { HardenOptions } from '../../lib/index'
import { live } from '../live/live'
import { changes, Zone } from './zone'

interface Element {
  name: string
  attributes: Record<string, string>
  children: Element[]
}

/** By expat, which refuses what is not well-formed. */
const parser = `
import json, sys, xml.etree.ElementTree as tree
def told(one):
    return {'name': one.tag.split('}')[-1], 'attributes': {key.split('}')[-1]: one.get(key) for key in one.keys()}, 'children': [told(child) for child in one]}
print(json.dumps(told(tree.fromstring(sys.stdin.read()))))
`
const parse = (xml: string): Element =>
  JSON.parse(execFileSync('python3', ['-c', parser], { input: xml, encoding: 'utf8', stdio: 'pipe' }))

const any = /^/
const boolean = /^(true|false)$/
const seconds = /^-?[0-9]+$/

/** service_bundle(5), as far as a page needs it: which children in which order, and every attribute; `?`: it may be left out. */
const elements: Record<string, readonly [children: RegExp, attributes?: Record<string, RegExp>]> = {
  service_bundle: [/^(service )*$/, { type: /^manifest$/, name: any }],
  service: [
    /^(create_default_instance )?(single_instance )?(dependency )*(method_context )?(exec_method )*(property_group )*(stability )?(template )?$/,
    { name: any, version: seconds, type: /^service$/ },
  ],
  create_default_instance: [/^$/, { enabled: boolean }],
  single_instance: [/^$/],
  dependency: [
    /^(service_fmri )*$/,
    {
      name: any,
      grouping: /^(require_all|require_any|exclude_all|optional_all)$/,
      restart_on: /^(error|restart|refresh|none)$/,
      type: /^(service|path)$/,
    },
  ],
  service_fmri: [/^$/, { value: /^svc:\/[a-z/-]+:default$/ }],
  exec_method: [/^(method_context )?$/, { type: /^method$/, name: any, exec: any, timeout_seconds: seconds }],
  method_context: [/^(method_credential )?(method_environment )?$/, { 'working_directory?': /^\// }],
  method_credential: [
    /^$/,
    { user: any, 'group?': any, 'supp_groups?': any, 'privileges?': any, 'limit_privileges?': any },
  ],
  property_group: [/^(propval )*$/, { name: any, type: /^(framework|application)$/ }],
  propval: [/^$/, { name: any, type: /^(astring|boolean|count|integer)$/, value: any }],
  stability: [/^$/, { value: /^(Standard|Stable|Evolving|Unstable|External|Obsolete)$/ }],
  template: [/^common_name $/],
  common_name: [/^(loctext )+$/],
  loctext: [/^$/, { lang: any }],
}

/** What is wrong with it and with what it contains. */
function complaints({ name, attributes, children }: Element): string[] {
  const known = elements[name]
  if (!known) return [`${name}: unknown`]
  const [order, allowed = {}] = known
  const has = children.map((child) => `${child.name} `).join('')
  const found = Object.entries(attributes).flatMap(([key, value]) => {
    const form = allowed[key] ?? allowed[`${key}?`]
    return form?.test(value) ? [] : [`${name}: ${key}="${value}"`]
  })
  const missing = Object.keys(allowed).filter((key) => !key.endsWith('?') && !Object.hasOwn(attributes, key))
  return [
    ...(order.test(has) ? [] : [`${name}: children ${has}`]),
    ...found,
    ...missing.map((key) => `${name}: no ${key}`),
    ...children.flatMap(complaints),
  ]
}

const page = readFileSync(join(__dirname, '../../docs/smf.md'), 'utf8')
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text as string)
const [bundle = '', method = '', ...more] = blocks('xml')
const calls = blocks('ts').map((code): HardenOptions => runInNewContext(`(${/harden\((.*)\)/.exec(code)?.[1]})`))
/** The second one with the rest of the first. */
const manifests = [bundle, bundle.replace(/<exec_method type="method" name="start".*?<\/exec_method>/s, method)]

live('they are service bundles', ['python3'], async (t) => {
  t.strictSame([more, calls.length], [[], 2])
  t.not(manifests[1], manifests[0])
  for (const manifest of manifests) {
    t.match(manifest, '\n<!DOCTYPE service_bundle SYSTEM "/usr/share/lib/xml/dtd/service_bundle.dtd.1">\n')
    t.strictSame(complaints(parse(manifest)), [])
  }
  for (const [from, to, complaint] of [
    [' group="smtp"', ' groups="smtp"', 'method_credential: groups="smtp"'],
    ['"require_all"', '"require"', 'dependency: grouping="require"'],
    [' timeout_seconds="60"', '', 'exec_method: no timeout_seconds'],
    ['<single_instance/>', '<single-instance/>', 'single-instance: unknown'],
  ] as const)
    t.ok(complaints(parse(bundle.replace(from, to))).includes(complaint), complaint)
  t.match(complaints(parse(bundle.replace('<single_instance/>', '').replace('</service>', '<single_instance/>$&'))), [
    /^service: children create_default_instance dependency .* single_instance $/,
  ])
  t.throws(() => parse(bundle.replace('</service>', '')), /mismatched tag/)
})

/** Of the start method. */
function credentialOf(manifest: string): Record<string, string> {
  const find = (element: Element): Element[] =>
    element.name === 'method_credential' ? [element] : element.children.flatMap(find)
  const [credential, ...others] = find(parse(manifest))
  t.strictSame(others, [])
  return credential?.attributes ?? {}
}

live('and the calls beside them are done in what they start', ['python3', 'cc'], async (t) => {
  const zone = new Zone(t)
  const installed = join(zone.folder, 'node_modules/privdrop')
  const repository = join(__dirname, '../..')
  mkdirSync(installed, { recursive: true })
  for (const part of ['package.json', 'dist', 'prebuilds'])
    cpSync(join(repository, part), join(installed, part), { recursive: true })
  cpSync(join(repository, 'node_modules/node-gyp-build'), join(installed, '../node-gyp-build'), { recursive: true })
  for (const [index, options] of calls.entries()) {
    const { user, privileges = '', limit_privileges: limit } = credentialOf(manifests[index] ?? '')
    for (const text of [privileges, limit ?? privileges])
      t.type(zone.ask([['privilegesFromText', text]]).answers[0], Array, text)
    t.equal(user, index === 0 ? (options.user ?? 'smtp') : 'root')
    const start = limit === undefined ? privileges : `${privileges} ${limit}`
    for (const kind of ['shared', 'exclusive', undefined] as const) {
      const outcome = zone.node('package.cjs', [installed, JSON.stringify([['harden', options], ['audit']])], {
        ...{ start, uid: user === 'root' ? 0 : 990 },
        ...(kind && { zone: kind }),
      })
      const [done, audited] = outcome.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      t.equal(done.error, undefined)
      const [retained] = zone.ask([['privilegesFromText', options.privileges]]).answers
      t.match(done.answer, {
        user: { real: 990, effective: 990, saved: 990 },
        privileges: { permitted: retained, limit: retained, effective: retained },
      })
      t.ok(done.answer.privileges.inheritable.includes('net_privaddr'), 'as the page says')
      t.strictSame(
        done.answer.findings.map(({ code }: { code: string }) => code),
        user === 'root' ? [] : ['HARDEN_GROUPS_KEPT'],
      )
      t.strictSame(audited.answer.discrepancies, [])
      const changed = changes(outcome.calls).filter((call) => /^set(uid|gid|groups|pflags)/.test(call))
      t.strictSame(
        changed.map((call) => call.split(' ')[0]),
        user === 'root' ? ['setpflags', 'setgroups', 'setgid', 'setuid'] : ['setpflags', 'setpflags'],
      )
    }
  }
})
