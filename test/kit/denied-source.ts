/** A source of KV events as a user who may not connect to their sockets: prints `denied` where it is told so, and what it hears. */
import { KvEventSource } from "../../src/agent/vllm/kv-event-source.ts";

// Root may connect to everything.
if (process.getuid?.() === 0) process.setuid!(65_534);
const [events, replay] = process.argv.slice(2) as [string, string];
new KvEventSource({
	sockets: { directory: "", events, replay },
	sink: { restarted: (isWhole) => console.log(isWhole ? "whole" : "part"), events: () => undefined },
	problem: (sentence) => console.log(sentence),
	denied: () => console.log("denied"),
}).start();
// Its own timers hold no process.
process.stdin.on("end", () => process.exit(0)).resume();
