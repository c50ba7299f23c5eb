/** The test program's side of the conversation with its test: { action, args } in, { value } or { error } out. */
export function answer(actions: object): void {
  process.on('message', async ({ action, args }: { action: string; args: unknown[] }) => {
    try {
      const value = await (actions as Record<string, (...args: unknown[]) => unknown>)[action]?.(...args)
      process.send?.({ value: value ?? null })
    } catch (error) {
      const { name, message, ...fields } = error as Error
      process.send?.({ error: { name, message, ...fields } })
    }
  })
}
