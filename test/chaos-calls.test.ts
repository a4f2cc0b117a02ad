/**
 * The calls of `make chaos`, before two look-alikes of vLLM: chats, messages and responses are answered with what they must be, also where connections
 * are cut; and an answer that is not is found out.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer, connect as dial, type Server } from "node:net";
import { type ChaosCall, callOf, expected, followUp, outcomeOf } from "./bench/chaos-calls.ts";
import { SIM_ARGS } from "./bench/chaos-replicas.ts";
import { type ApiServer, serveApi } from "./kit/api-server.ts";
import { pipeline } from "./kit/pipeline.ts";
import { random } from "./kit/random.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

const draw = random(16);
let sims: readonly Sim[] = [];
let relays: readonly Server[] = [];
let router: ApiServer;
/** Connections that are to be cut. */
let isCutting = false;

/** Of so many requests one is cut, and none of a call that was cut twice: the router gives up in the end. */
const ONE_OF = 3;
const MOST_CUTS = 2;
const cuts = new Map<string, number>();

/** How many bytes are brought back for a request, which may be a piece of one. */
function bytesFor(request: Buffer): number {
	const call = /Call \d+:/.exec(request.toString())?.[0] ?? "";
	const before = cuts.get(call) ?? 0;
	if (!isCutting || call === "" || before === MOST_CUTS || draw.below(ONE_OF) > 0) return Number.POSITIVE_INFINITY;
	cuts.set(call, before + 1);
	// Behind the first tokens, so that there is something to go on from.
	return 1500 + draw.below(7500);
}

/** A relay before a server, which ends some connections somewhere in what they bring back. */
async function relayTo(origin: string): Promise<Server> {
	const relay = createServer((client) => {
		const upstream = dial(Number(new URL(origin).port), "127.0.0.1");
		let left = Number.POSITIVE_INFINITY;
		client.on("data", (bytes: Buffer) => {
			if (bytes.includes("POST ")) left = bytesFor(bytes);
			upstream.write(bytes);
		});
		upstream.on("data", (bytes: Buffer) => {
			if (left <= 0) return;
			if (bytes.length < left) client.write(bytes);
			else client.end(bytes.subarray(0, left), () => client.destroy());
			left -= bytes.length;
		});
		for (const [socket, other] of [
			[client, upstream],
			[upstream, client],
		] as const) {
			socket.on("error", () => other.destroy());
			socket.on("close", () => other.destroy());
		}
	});
	await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
	return relay;
}

beforeAll(async () => {
	const env = { SIM_SPEED: "20", SIM_PACK: "4" };
	sims = await Promise.all([1, 2].map(() => startSim({ args: SIM_ARGS, env })));
	relays = await Promise.all(sims.map(({ origin }) => relayTo(origin)));
	const providers = Object.fromEntries(
		relays.map((relay, at) => {
			const { port } = relay.address() as { port: number };
			return [`sim${at}`, { type: "vllm", base_url: `http://127.0.0.1:${port}` }];
		}),
	);
	router = serveApi(pipeline({ config: { providers, models: [{ name: "chaos", targets: ["sim0/m", "sim1/m"] }] } }));
}, 30_000);
afterAll(async () => {
	await router.stop();
	for (const relay of relays) relay.close();
	await Promise.all(sims.map((sim) => sim.stop()));
});

async function answerTo(call: ChaosCall): Promise<{ status: number; text: string }> {
	const answer = await fetch(router.url + call.path, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify(call.body),
	});
	return { status: answer.status, text: await answer.text() };
}

/** Makes so many, and those that follow from them. */
async function play(count: number): Promise<{ kinds: Set<string>; wrong: string[]; again: Map<string, number> }> {
	const kinds = new Set<string>();
	const wrong: string[] = [];
	const again = new Map<string, number>();
	let n = 0;
	const client = async () => {
		while (n < count) {
			for (let call: ChaosCall | undefined = callOf(n++, draw); call; ) {
				kinds.add(call.kind);
				const { status, text } = await answerTo(call);
				const [outcome, what] = outcomeOf(call, status, text);
				if (outcome !== "ok") wrong.push(`${call.kind}: ${outcome}: ${what}`);
				const attempts = Number(/^: router \{.*"attempts":(\d+)/m.exec(text)?.[1] ?? 1);
				if (attempts > 1) again.set(call.dialect, (again.get(call.dialect) ?? 0) + 1);
				call = outcome === "ok" ? followUp(call, text) : undefined;
			}
		}
	};
	await Promise.all(Array.from({ length: 6 }, client));
	return { kinds, wrong, again };
}

test("calls of all dialects get what they must, and those that follow from a tool's call", async () => {
	isCutting = false;
	const { kinds, wrong } = await play(200);
	expect(wrong).toEqual([]);
	for (const kind of ["text", "tool, its result", "whole, a tool, its result", "schema", "stop", "limited"]) {
		expect([...kinds]).toContain(kind);
		for (const dialect of ["messages", "responses"]) expect([...kinds]).toContain(`${dialect}, ${kind}`);
	}
}, 60_000);

test("streams of all dialects whose connections are cut come out whole, as one answer", async () => {
	isCutting = true;
	const { wrong, again } = await play(200);
	isCutting = false;
	expect(wrong).toEqual([]);
	expect([...again.keys()]).toEqual(expect.arrayContaining(["chat", "messages", "responses"]));
}, 60_000);

const SPOILS: readonly (readonly [string, (text: string, word: string) => string, string])[] = [
	[
		"is cut",
		(text) => text.slice(0, text.lastIndexOf("event: ") < 0 ? text.length - 30 : text.lastIndexOf("event: ")),
		"truncated",
	],
	["says a word less", (text, word) => text.replace(word, ""), "wrong"],
	[
		"counts one token more",
		(text) =>
			text.replace(
				/("(?:completion|output)_tokens": ?)(\d+)(?!.*"(?:completion|output)_tokens")/s,
				(_, name, count) => name + (Number(count) + 1),
			),
		"miscounted",
	],
	["fails", () => "", "failed"],
];
const STREAMED = ["long text", "messages, long text", "responses, long text"];

test.each(STREAMED.flatMap((kind) => SPOILS.map(([how, spoil, verdict]) => [kind, how, verdict, spoil] as const)))(
	"an answer to %s that %s is told from a good one: %s",
	async (kind, how, verdict, spoil) => {
		let call = callOf(0, draw);
		for (let n = 1; call.kind !== kind || (call.body["stream_options"] === undefined && call.dialect === "chat"); n++)
			call = callOf(n, draw);
		const { status, text } = await answerTo(call);
		expect(outcomeOf(call, status, text)).toEqual(["ok"]);
		const word = /[a-z]{4,}/.exec(expected(call).content)![0];
		const spoilt = spoil(text, word);
		expect(spoilt).not.toBe(text);
		const [found] = outcomeOf(call, how === "fails" ? 502 : status, spoilt);
		expect(found).toBe(verdict as typeof found);
	},
);
