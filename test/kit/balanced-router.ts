/** Run as a program, as the router is: the router from source, whose main thread passes connections on to its workers. */
import "./balanced-platform.ts";

// Else the router would start anew, and this would be gone.
process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"] ??= "65535";

const { run } = await import("../../src/cli.ts");
process.exitCode = await run(process.argv.slice(2), process.env);
process.exit();
