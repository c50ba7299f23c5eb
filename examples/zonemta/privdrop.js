'use strict'
/**
 * ZoneMTA gives up root by harden(), in place of `user` and `group` in its configuration, which must not be set. As
 * plugins/privdrop.js, in the configuration:
 *
 *   [plugins."privdrop"]
 *   enabled = ["main", "receiver", "sender"]
 *   user = "zone-mta"
 *   capabilities = "cap_net_bind_service+ep"
 *
 * The main process loads its plugins when its ports are open and its receivers and senders have been started. Each of those
 * loads the plugin too, and keeps no capability: the main process passes connections to it.
 */
const { harden } = require('privdrop')

module.exports.title = 'privdrop'

module.exports.init = (app, done) => {
  const { user, group, capabilities } = app.config
  try {
    harden(app.manager.context === 'main' ? { user, group, capabilities } : { user, group })
  } catch (error) {
    // ZoneMTA logs what a plugin throws, and continues as root.
    app.logger.error('privdrop', error.message)
    process.exit(1)
  }
  app.logger.info('privdrop', 'hardened')
  done()
}
