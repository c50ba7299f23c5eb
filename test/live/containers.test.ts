/** Promise: the server of docs/containers.md runs with what its manifests grant and nothing else, and answers their probes. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { validate } from 'dockerfile-utils'
import type { Deployment } from 'kubernetes-types/apps/v1'
import type { Container } from 'kubernetes-types/core/v1'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { parse } from 'yaml'
import { withAccounts } from './accounts'
import { live } from './live'
import { tasks } from './outside'
import { folder, nodeUnderTest, plainNode } from './subject'

const root = join(__dirname, '../..')
const page = readFileSync(join(root, 'docs/containers.md'), 'utf8')

function fileOf(name: string): string {
  const [, text] =
    new RegExp(`^\`\`\`\\w+\\n(?:#|//) ${name.replace('.', '\\.')}\\n(.*?)^\`\`\``, 'ms').exec(page) ?? []
  if (text === undefined) throw new Error(`the page has no ${name}`)
  return text
}
const pod = (parse(fileOf('smtp.yaml')) as Deployment).spec?.template.spec
const container = pod?.containers[0] as Container
const { smtp: service } = parse(fileOf('compose.yaml')).services

/** What tsc has against a manifest as a Deployment of Kubernetes' types; properties that do not exist among it. */
function complaints(manifest: object): string[] {
  const path = join(root, 'manifest.ts')
  const text = `import type { Deployment } from 'kubernetes-types/apps/v1'\nexport const it: Deployment = ${JSON.stringify(manifest)}`
  const options = {
    strict: true,
    types: [],
    noEmit: true,
    module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  }
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = (name) => name === path || fileExists(name)
  host.getSourceFile = (name, ...rest) =>
    name === path ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest)
  const found = ts.getPreEmitDiagnostics(ts.createProgram([path], options, host))
  return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))
}

t.test('the manifest is one of Kubernetes', async (t) => {
  const manifest = parse(fileOf('smtp.yaml'))
  t.strictSame(complaints(manifest), [])
  t.match(complaints({ ...manifest, spec: { ...manifest.spec, replicaz: 1 } }), [/"replicaz"' does not exist/])
  t.match(complaints({ ...manifest, spec: { ...manifest.spec, replicas: '2' } }), [/'string' is not assignable/])
  const ports = container.ports?.map(({ name }) => name)
  for (const probe of [container.startupProbe, container.readinessProbe, container.livenessProbe])
    t.ok(ports?.includes(`${probe?.httpGet?.port ?? probe?.tcpSocket?.port}`))
  const mounted = [container, ...(pod?.initContainers ?? [])].flatMap(({ volumeMounts = [] }) => volumeMounts)
  t.strictSame(
    [...new Set(mounted.map(({ name }) => name))],
    pod?.volumes?.map(({ name }) => name),
  )
})

t.test('the Dockerfile has no fault', async (t) => {
  const faults = (text: string) => validate(text).map(({ message }) => message)
  t.strictSame(faults(fileOf('Dockerfile')), [])
  t.not(faults(fileOf('Dockerfile').replace('EXPOSE', 'EXPOES')).length, 0)
  t.notMatch(fileOf('Dockerfile'), /^USER/m, 'it starts as root')
})

t.test('both grant the same, which is what the page says', async (t) => {
  const [, shown = ''] = /^docker run (--cap-drop ALL .*) \.\.\.$/m.exec(page) ?? []
  const added = [...shown.matchAll(/--cap-add (\w+)/g)].map(([, name]) => name)
  t.strictSame(service.cap_add, added)
  t.strictSame(container.securityContext?.capabilities, { drop: service.cap_drop, add: added })
})

/** The server as the container runtime starts it: its pid, when it is hardened. */
async function started(
  t: Test,
  capabilities: readonly string[],
): Promise<{ child: ChildProcess; stderr: () => string }> {
  const cwd = folder(t)
  writeFileSync(join(cwd, 'server.mjs'), fileOf('server.mjs'))
  mkdirSync(join(cwd, 'node_modules'))
  symlinkSync(root, join(cwd, 'node_modules/privdrop'))
  symlinkSync(join(root, 'node_modules/smtp-server'), join(cwd, 'node_modules/smtp-server'))
  const mounts = [
    'ip link set lo up',
    'mount -t tmpfs -o mode=0750,uid=4243,gid=4243 tmpfs /var/spool',
    'mkdir -m 0750 /var/spool/smtp',
    'chown 4243:4243 /var/spool/smtp',
    'chmod 0755 /var/spool',
    'mount -o remount,bind,ro /',
  ].join(' && ')
  const bounded = capabilities.map((name) => `+${name.toLowerCase()}`).join(',')
  const drop = ['setpriv', '--no-new-privs', '--inh-caps=-all', `--bounding-set=-all,${bounded}`, '--']
  const network = ['unshare', '--net', '--mount', 'sh', '-c', `${mounts} && exec "$@"`, 'sh']
  const args = [
    ...plainNode.slice(0, 2),
    ...withAccounts(t),
    ...network,
    ...drop,
    nodeUnderTest,
    '--no-warnings',
    'server.mjs',
  ]
  const child = spawn('env', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr?.on('data', (text) => {
    said += text
  })
  t.teardown(() => child.kill('SIGKILL'))
  return { child, stderr: () => said }
}

/** What a probe answers from within the network of the container. */
function probe(pid: number, program: string): string {
  const args = ['--target', `${pid}`, '--net', 'env', ...plainNode, '--input-type=module', '--eval', program]
  const { stdout } = spawnSync('nsenter', args, { encoding: 'utf8' })
  return stdout.trim()
}
const http = `console.log(await fetch('http://127.0.0.1:${container.ports?.[1]?.containerPort}').then(({ status }) => status, () => 'refused'))`
const tcp = `import { connect } from 'node:net'
  connect(${container.ports?.[0]?.containerPort}, '127.0.0.1').once('data', (line) => { console.log(String(line).slice(0, 3)); process.exit() }).on('error', () => console.log('refused'))`

const needs = ['root', 'ip', 'setpriv'] as const

live('the server, with what the manifests grant', [...needs], async (t) => {
  const { child, stderr } = await started(t, service.cap_add)
  const pid = child.pid as number
  let status = 'refused'
  while (status === 'refused' && child.exitCode === null) {
    await new Promise(setImmediate)
    status = probe(pid, http)
  }
  t.equal(status, '200', stderr())
  t.equal(probe(pid, tcp), '220')
  const [healthcheck = '', ...args] = service.healthcheck.test.slice(1)
  t.equal(healthcheck, 'node')
  const inside = ['--target', `${pid}`, '--net', 'env', ...plainNode, ...args]
  t.equal(spawnSync('nsenter', inside).status, 0, 'the health check of compose.yaml')
  for (const { uid, bounding, noNewPrivs } of tasks(pid))
    t.same([uid, bounding, noNewPrivs], ['4243 4243 4243 4243', '0000000000000400', '1'])
  child.kill('SIGTERM')
  t.same(await new Promise((resolve) => child.once('exit', (...ended) => resolve(ended))), [0, null])
  t.not(spawnSync('env', [...plainNode, ...args]).status, 0, 'the health check fails without the server')
})

live('each capability that they grant is needed', [...needs], async (t) => {
  for (const name of service.cap_add.filter((name: string) => name !== 'SETPCAP')) {
    const { child, stderr } = await started(
      t,
      service.cap_add.filter((other: string) => other !== name),
    )
    t.same(await new Promise((resolve) => child.once('close', (...ended) => resolve(ended))), [1, null], name)
    t.match(stderr(), name === 'NET_BIND_SERVICE' ? /EACCES/ : `step 'setres${name.slice(3).toLowerCase()}'`)
  }
})
