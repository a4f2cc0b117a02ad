/** A conversation stays with the key whose prompt cache has it, whichever router of one Redis its calls come to. */
import { expect } from "bun:test";
import { MarkedConversation, shareCached, startCachingVendor } from "./kit/caching-vendor.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, test } = needing("redis");

const vendors = [startCachingVendor(), startCachingVendor()] as const;
let server: RedisServer;
let listener: RedisServer["client"];
/** What routers have told each other. */
const messages: string[] = [];
const routers: RunningRouter[] = [];

const start = () => {
	const api_keys = ["sk-1", "sk-2", "sk-3"];
	return startRouter({
		env: { REDIS_URL: server.url },
		config: {
			providers: {
				claude: { type: "anthropic", base_url: vendors[0].origin, api_keys },
				gpt: { type: "openai", base_url: vendors[1].origin, api_keys },
			},
			models: [
				{
					name: "both",
					targets: [
						{ provider: "claude", model: "claude-sonnet-5", weight: 1 },
						{ provider: "gpt", model: "gpt-5-mini", weight: 1 },
					],
				},
			],
			// A busy machine is no outage.
			redis: { timeout: "2s" },
		},
	});
};
/** It hears the others. */
async function started(): Promise<RunningRouter> {
	const before = messages.length;
	const router = await start();
	await until(() => messages.slice(before).some((text) => text.includes('"new":true')), "its first message");
	return router;
}

beforeAll(async () => {
	server = await startRedis();
	listener = server.client.duplicate();
	listener.on("message", (_, text: string) => messages.push(text));
	await listener.subscribe("router:routing");
	for (let at = 0; at < 2; at++) routers.push(await started());
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	listener.disconnect();
	await server.stop();
	for (const vendor of vendors) vendor.stop();
});

test("20 conversations of 10 turns, sent to two routers by turns: 95 % at least; and one that joins knows them", async () => {
	const conversations = Array.from({ length: 20 }, (_, at) => new MarkedConversation("both", `conversation ${at}`));
	const say = async (conversation: MarkedConversation, router: RunningRouter) => {
		const before = messages.length;
		const { status } = await post(`${router.url}/v1/chat/completions`, conversation.next());
		expect(status).toBe(200);
		await until(() => messages.slice(before).some((text) => text.includes('"conversations"')), "what it was told");
	};
	for (let turn = 0; turn < 10; turn++) {
		for (const [at, each] of conversations.entries()) await say(each, routers[(turn + at) % 2]!);
	}
	const calls = () => vendors.flatMap((vendor) => vendor.calls);
	expect(calls().length).toBe(200);
	expect(shareCached(calls())).toBeGreaterThanOrEqual(0.95);
	expect(messages.join("")).not.toContain("conversation 1.");
	const before = messages.length;
	routers.push(await started());
	const told = () =>
		messages.slice(before).filter((text) => text.includes('"to":') && text.includes('"conversations"'));
	await until(() => told().length > 0, "what was known before");
	for (const vendor of vendors) vendor.calls.length = 0;
	for (const each of conversations) await say(each, routers[2]!);
	expect(shareCached(calls())).toBeGreaterThanOrEqual(0.95);
}, 120_000);
