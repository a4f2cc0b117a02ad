/**
 * `make real-vllm`: what the router knows of the prefix caches of vLLM itself, on the CPU, by its KV events, beside what the engine counts of the next
 * call (`cached_tokens`). Prompts go to the agent past the router, which so hears of them by events alone. Some five minutes.
 *
 *     bun test/real-vllm/real-vllm.ts
 *
 * Exits 1 where the two differ by more than two blocks of characters and some of tokens.
 */
import { join } from "node:path";
import type { Json } from "../kit/exchange.ts";
import { REAL_VLLM } from "./engine-image.ts";
import { BLOCK, eventually, RealFleet } from "./real-fleet.ts";
import { SocketRelay } from "./socket-relay.ts";

/** Characters that the router and the engine may differ by. */
const TOLERANCE = 2 * 256 + 4 * BLOCK;
/** How long the router may take to hear of what has happened, ms. */
const HEARD_MS = 30_000;

/** What is expected of a replica: the whole prompt, nothing of it, or whatever the next call says. */
type Wanted = "whole" | "none" | "any";

const pages = [...new Bun.Glob("src/**/*.md").scanSync({ cwd: join(import.meta.dir, "../.."), absolute: true })].sort();

/** A prompt of some 5,000 characters, another one for each number. */
async function promptOf(number: number): Promise<Json[]> {
	const page = await Bun.file(pages[number % pages.length]!).text();
	const system = `Prompt ${number}. ${page.repeat(Math.ceil(5_000 / page.length)).slice(0, 5_000)}`;
	return [
		{ role: "system", content: system },
		{ role: "user", content: "Go on." },
	];
}

await REAL_VLLM.install();
if (REAL_VLLM.problem()) throw new Error(`vLLM for the CPU: ${REAL_VLLM.problem()}`);
const fleet = await RealFleet.start(pages);
let wrong = 0;
try {
	await play();
} finally {
	await fleet.stop();
}
console.log(wrong === 0 ? "all as the engines say" : `${wrong} otherwise than the engines say`);
process.exit(wrong === 0 ? 0 : 1);

/** Waits until the router knows what is wanted, then asks the engines. */
async function compare(step: string, messages: readonly Json[], wanted: readonly Wanted[]): Promise<void> {
	const length = messages.reduce((sum, { content }) => sum + String(content).length, 0);
	let known: number[] = [];
	const isKnown = await eventually(step, HEARD_MS, async () => {
		known = (await fleet.explained(messages)).map((characters) => Math.min(characters, length));
		return wanted.every((each, at) =>
			each === "any" ? true : each === "whole" ? known[at]! > length - TOLERANCE : known[at]! < TOLERANCE,
		);
	}).then(
		() => true,
		() => false,
	);
	for (const [replica, characters] of known.entries()) {
		const { tokens, cached } = await fleet.call(replica, messages);
		const has = Math.round((cached / tokens) * length);
		const isRight = isKnown && Math.abs(has - characters) <= TOLERANCE;
		if (!isRight) wrong++;
		console.log(
			`${isRight ? "ok   " : "WRONG"} ${step}, #${replica}: ${characters} of ${length} characters by events, ${has} by the engine ` +
				`(${cached} of ${tokens} tokens)`,
		);
	}
}

/** An agent asks for the tokens of what comes twice. */
async function give(replica: number, messages: readonly Json[]): Promise<void> {
	for (let time = 0; time < 2; time++) await fleet.call(replica, messages);
}

/** Gives it so many other prompts that it has to give up all of before. */
async function fill(replica: number): Promise<void> {
	for (let number = 10; number < 14; number++) await fleet.call(replica, await promptOf(number));
}

async function play(): Promise<void> {
	const one = await promptOf(1);
	const two = await promptOf(2);
	await give(0, one);
	await compare("at one replica", one, ["whole", "none"]);
	await compare("at both", one, ["whole", "whole"]);
	await fill(0);
	await compare("given up by one", one, ["none", "whole"]);
	await Promise.all([give(1, two), give(1, two)]);
	await compare("computed by two calls at once", two, ["none", "whole"]);
	await fill(1);
	await compare("and given up", two, ["any", "none"]);

	const before = await fleet.container(0);
	await fleet.stopAgent();
	const relays = await Promise.all(
		["events", "replay"].map((each) => SocketRelay.inFrontOf(join(before.sockets, each))),
	);
	await fleet.startAgent();
	await give(0, one);
	await compare("after a restart of the agent", one, ["whole", "any"]);
	for (const relay of relays) {
		relay.isDown = true;
		relay.cut();
	}
	await fill(0);
	await give(0, two);
	for (const relay of relays) relay.isDown = false;
	await compare("computed while the events could not be read", two, ["whole", "any"]);
	await compare("given up meanwhile", one, ["none", "any"]);

	process.kill(fleet.agent.pid, "SIGSTOP");
	for (let number = 10; number < 14; number++) await fleet.callEngine(before, await promptOf(number));
	await fleet.callEngine(before, two);
	process.kill(fleet.agent.pid, "SIGCONT");
	await compare("given up while the agent was frozen", one, ["none", "any"]);
	await compare("computed while the agent was frozen", two, ["whole", "any"]);

	await fleet.clear(before);
	// An engine that has nothing to do publishes nothing: that it is empty comes with the next call.
	await fleet.call(0, [{ role: "user", content: "Hello." }]);
	await compare("of an emptied cache", two, ["none", "any"]);
	await compare("and computed again", two, ["whole", "whole"]);
	await fleet.kill(before);
	await eventually("another container", HEARD_MS, async () => {
		return (await fleet.container(0).catch(() => before)).id !== before.id;
	});
	await fleet.ready();
	await compare("of an engine that was started anew", two, ["none", "whole"]);
	await compare("and computed there", two, ["whole", "whole"]);
	for (const relay of relays) relay.stop();
	const told = fleet.agent
		.output()
		.split("\n")
		.filter((line) => line.includes("KV events"));
	for (const line of told) console.log(line);
}
