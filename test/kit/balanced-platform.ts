/** Imported first: the router that is imported next takes itself to be on macOS, where the system does not spread connections over workers. */
Object.defineProperty(process, "platform", { value: "darwin" });

export {};
