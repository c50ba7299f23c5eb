/** SIGUSR2 to the one process: its listener is closed and opened again. */
exports.hook_init_master = function (next, server) {
  if (!server.cluster)
    process.on('SIGUSR2', () => {
      const [listener] = server.listeners
      const { address, port } = listener.address()
      listener.close(() => listener.listen(port, address, () => this.lognotice('listening again')))
    })
  next()
}
