'use strict'
/**
 * Haraka gives up root by harden(), in place of user= and group= in smtp.ini, which must not be there: they leave root's
 * supplementary groups and no capability, and with nodes= the primary stays root.
 *
 * In one process (nodes=0) init_master comes when Haraka listens. With nodes= init_child comes in each worker when that
 * listens; init_master in the primary before there are workers. There the primary waits until all of them are hardened,
 * and keeps the capability: it binds for the workers, also for those that replace them.
 */
const { harden } = require('privdrop')

exports.register = function () {
  const { user, group, capabilities } = this.config.get('privdrop.ini').main
  this.identity = { user, group }
  this.capabilities = capabilities
}

exports.hook_init_master = function (next, server) {
  if (!server.cluster) return this.give_up_root(next, { ...this.identity, capabilities: this.capabilities })
  const hardened = new Set()
  const heard = (worker, message) => {
    if (message?.event !== 'privdrop.hardened') return
    hardened.add(worker.id)
    if (!Object.keys(server.cluster.workers).every((id) => hardened.has(Number(id)))) return
    server.cluster.off('message', heard)
    // An error ends Haraka: nothing here catches it.
    harden({ ...this.identity, capabilities: this.capabilities })
    this.lognotice('the primary is hardened')
  }
  server.cluster.on('message', heard)
  next()
}

exports.hook_init_child = function (next) {
  this.give_up_root((...refused) => {
    if (refused.length === 0) process.send({ event: 'privdrop.hardened' })
    next(...refused)
  }, this.identity)
}

exports.give_up_root = function (next, options) {
  try {
    harden(options)
  } catch (error) {
    // Haraka logs what a hook throws, and continues as root; a denied hook ends it.
    this.logcrit(error.message)
    return next(DENY, error.message)
  }
  this.lognotice('hardened')
  next()
}
