/** Threads and processes that start and end without pause, each loop in a Worker, so that it goes on while main is
 * busy. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** Each calls begun() when it is under way. */
const sources = {
  /** Workers that end at once. */
  workers: `
    const next = () => new Worker('', { eval: true }).once('exit', next)
    next()
    begun()`,
  /** Jobs for libuv's pool, of each kind that Node has: files, names, cryptography, compression. */
  pool: `
    const { readFile } = require('node:fs')
    const { lookup } = require('node:dns')
    const { pbkdf2 } = require('node:crypto')
    const { deflate } = require('node:zlib')
    const jobs = [
      (done) => readFile('/etc/passwd', done),
      (done) => lookup('localhost', done),
      (done) => pbkdf2('a', 'b', 1000, 32, 'sha512', done),
      (done) => deflate(Buffer.alloc(65536), done),
    ]
    const next = (number) => jobs[number % jobs.length]((error) => {
      if (error) throw error
      begun()
      next(number + 1)
    })
    jobs.forEach((_, number) => next(number))`,
  /** Child processes that end when they have been heard of. */
  children: `
    const { spawn } = require('node:child_process')
    const env = { PATH: process.env.PATH, BORN: 'in a Worker' }
    const next = () => {
      const child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'], env })
      child.stdout.once('data', () => child.stdin.end())
      child.stdin.write('x')
      child.once('exit', () => { begun(); next() })
    }
    next()`,
}

const prelude = `
  const { Worker, parentPort } = require('node:worker_threads')
  let first = true
  const begun = () => {
    if (first) parentPort.postMessage('begun')
    first = false
  }`

/** Resolves when each loop is under way. */
export async function churn(loops: number, kinds: (keyof typeof sources)[] = ['workers']): Promise<void> {
  const all = Array.from({ length: loops }, () => kinds).flat()
  await Promise.all(all.map((kind) => once(new Worker(prelude + sources[kind], { eval: true }), 'message')))
}
