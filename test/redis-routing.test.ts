/** Three routers as processes behind one Redis choose a replica as one would: by session, by cached prompt, by load. */
import { expect } from "bun:test";
import { goodStream } from "./kit/events.ts";
import type { Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { streams } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, beforeEach, describe, test } = needing("redis");

const boxes = [startFaultUpstream(), startFaultUpstream(), startFaultUpstream()] as const;
const TARGETS = ["box0/m", "box1/m", "box2/m"];
let server: RedisServer;
let listener: RedisServer["client"];
/** What routers have told each other. */
const messages: Loose[] = [];
let routers: RunningRouter[] = [];

const start = () =>
	startRouter({
		env: { REDIS_URL: server.url },
		config: {
			providers: Object.fromEntries(
				boxes.map(({ origin }, at) => [`box${at}`, { type: "vllm", base_url: `${origin}/v1` }]),
			),
			models: [{ name: "fast", targets: TARGETS }],
			// A busy machine is no outage.
			redis: { timeout: "2s" },
		},
	});
/** It is there for the others, too. */
async function started(): Promise<RunningRouter> {
	const known = new Set(messages.map(({ from }) => from));
	const router = await start();
	await until(() => messages.some(({ from }) => !known.has(from)), "its first message");
	return router;
}

beforeAll(async () => {
	server = await startRedis();
	listener = server.client.duplicate();
	listener.on("message", (_, text: string) => messages.push(JSON.parse(text)));
	await listener.subscribe("router:routing");
	for (let at = 0; at < 3; at++) routers.push(await started());
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	listener.disconnect();
	await server.stop();
	for (const box of boxes) box.stop();
});
beforeEach(() => {
	for (const box of boxes) box.run(streams(goodStream(2)));
});

const ask = (router: RunningRouter, text: string, headers: Record<string, string> = {}) =>
	post(
		`${router.url}/v1/chat/completions`,
		{ model: "fast", stream: true, messages: [{ role: "user", content: text }] },
		headers,
	);
/** What a router would do with a call. */
async function explained(router: RunningRouter, text: string, headers: Record<string, string> = {}): Promise<Loose> {
	const body = { model: "fast", stream: true, messages: [{ role: "user", content: text }] };
	return JSON.parse((await post(`${router.url}/v1/route`, body, headers)).text);
}
const loads = async (router: RunningRouter) => {
	const { candidates } = await explained(router, "hi");
	return Object.fromEntries(candidates.map(({ id, inputs }: Loose) => [id, inputs.in_flight]));
};
/** How many messages there were when the last call was made. */
let askedAt = 0;
/** Answers end once the others have been told of their calls: no client goes on sooner. */
function answersOnceTold(isTold: (message: Loose) => boolean): void {
	for (const box of boxes) {
		box.run(async (connection) => {
			await until(() => messages.slice(askedAt).some(isTold), "the message of the call");
			await streams(goodStream(2))(connection);
		});
	}
}
/** Whether the router that was given the last call has told of its end: by a 0, or by a list of all that it has under way. */
function isCallOver(): boolean {
	const begun = messages.findIndex(({ prompts }, at) => at >= askedAt && prompts !== undefined);
	const hasNone = ({ whole, loads = [] }: Loose) =>
		whole ? loads.length === 0 : loads.some(([, inFlight]: [string, number]) => inFlight === 0);
	return messages.some(
		(message, at) => at > begun && message["from"] === messages[begun]?.["from"] && hasNone(message),
	);
}
/** Turns of conversations, one router after the other, and how many went where the first one of theirs did. */
async function share(
	turns: number,
	conversations: number,
	turn: (conversation: number, turn: number) => Promise<unknown>,
) {
	let same = 0;
	const places = new Set<number>();
	for (let conversation = 0; conversation < conversations; conversation++) {
		let place: number | undefined;
		for (let at = 0; at < turns; at++) {
			const before = boxes.map(({ received }) => received.length);
			askedAt = messages.length;
			await turn(conversation, at);
			const went = boxes.findIndex(({ received }, box) => received.length > before[box]!);
			place ??= went;
			places.add(went);
			if (at > 0 && went === place) same++;
		}
	}
	return { share: same / ((turns - 1) * conversations), places: places.size };
}

describe("a conversation whose turns are sent to three routers", () => {
	test("stays at its replica by x-session-id, whatever it says: 95 % of the turns at least", async () => {
		answersOnceTold(({ sessions }) => sessions !== undefined);
		const found = await share(10, 10, (conversation, turn) =>
			ask(routers[turn % 3]!, `${conversation} ${turn} `.repeat(100), { "x-session-id": `s${conversation}` }),
		);
		expect(found.share).toBeGreaterThanOrEqual(0.95);
		expect(found.places).toBeGreaterThan(1);
	}, 60_000);

	test("stays where its beginning is cached, without a header", async () => {
		answersOnceTold(({ prompts }) => prompts !== undefined);
		const found = await share(5, 12, async (conversation, turn) => {
			const said = `${conversation} says: `.repeat(400) + "and then ".repeat(30 * (turn + 1));
			await ask(routers[turn % 3]!, said);
			// Who goes on before the others know that the call is over may be sent elsewhere: it counts as one that waits there.
			await until(isCallOver, "the end of the call");
		});
		expect(found.share).toBeGreaterThanOrEqual(0.95);
		expect(found.places).toBeGreaterThan(1);
	}, 60_000);
});

test("calls of other routers count, those of one that dies no more, and one that joins knows what all know", async () => {
	await ask(routers[1]!, "hi", { "x-session-id": "of-before" });
	await until(() => messages.some(({ sessions }) => sessions?.some(([name]: string[]) => name === "of-before")));
	const release = Promise.withResolvers<void>();
	for (const box of boxes) {
		box.run(async (connection) => {
			await release.promise;
			await streams(goodStream(2))(connection);
		});
	}
	// Each goes where the others are not, though no two of them are sent by one router.
	const held = [ask(routers[0]!, "one")];
	await until(async () => Object.values(await loads(routers[1]!)).includes(1), "the first call at the second router");
	held.push(ask(routers[1]!, "two"));
	const sum = (counts: Record<string, number>) => Object.values(counts).reduce((all, each) => all + each, 0);
	await until(async () => sum(await loads(routers[2]!)) === 2, "both calls at the third router");
	held.push(ask(routers[2]!, "three"));
	for (const router of routers) {
		await until(async () => Object.values(await loads(router)).join() === "1,1,1", "a call at each replica");
	}
	const [first] = routers;
	const cut = Promise.allSettled(held);
	await first!.stop();
	for (const router of routers.slice(1)) {
		await until(async () => sum(await loads(router)) === 2, "the dead router's call gone");
	}
	const joined = await started();
	routers = [joined, ...routers.slice(1)];
	await until(async () => {
		const { candidates } = await explained(joined, "hi", { "x-session-id": "of-before" });
		return candidates[0].reason === "has the session's last calls" && sum(await loads(joined)) === 2;
	}, "what was known before");
	release.resolve();
	await cut;
	for (const router of routers) await until(async () => sum(await loads(router)) === 0, "no call under way");
}, 60_000);
