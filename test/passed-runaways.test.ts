/** A key that spends too fast is held back with all that it can spend by: pictures, sound and batches, too. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import OpenAI, { toFile } from "openai";
import { makeRunaways, type RunawayAction, Runaways } from "../src/accounts/runaway/runaways.ts";
import { type RunawayEvent, RunawayGuard } from "../src/api/runaway-guard.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { serveApi } from "./kit/api-server.ts";
import { directory } from "./kit/cli.ts";
import { startFileUpstream } from "./kit/file-upstream.ts";
import { startPassingUpstream } from "./kit/passing-upstream.ts";
import { pipeline } from "./kit/pipeline.ts";

const pictures = startPassingUpstream();
const files = startFileUpstream();
const home = directory();
const store = sqliteStore(home.path, () => undefined);
const ACTIONS = ["stop", "slow", "warn"] as const;
const router = pipeline({
	config: {
		keys: [
			...ACTIONS.map((name) => ({ name, key: `${name}-key-1`, runaway: name })),
			{ name: "calm", key: "calm-key-1", runaway: "stop" },
		],
		providers: {
			openai: { base_url: files.origin, api_key: "k" },
			box: { type: "openai-compatible", base_url: pictures.origin },
		},
	},
});
const runaways = new Runaways(makeRunaways(), 0, () => 0);
for (const key of ACTIONS) {
	runaways.sped({ keyId: `config:${key}`, key, usd: 6, usual: 0.5, action: "warn", until: Date.now() + 3_600_000 });
}
const events: RunawayEvent[] = [];
const report = (event: RunawayEvent) => void events.push(event);
const faults: unknown[] = [];
const guard = new RunawayGuard({ runaways, report, onFault: (_, fault) => void faults.push(fault) });
Object.assign(router.context, { objects: store, runaways: guard });
const server = serveApi(router);
afterAll(async () => {
	await Promise.all([server.stop(), pictures.stop(), files.stop()]);
	store.close();
	home[Symbol.dispose]();
});
beforeEach(() => {
	events.length = files.received.length = 0;
	(pictures.received as unknown[]).length = 0;
});

type Key = RunawayAction | "calm";
const clientOf = (key: Key) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: `${key}-key-1`, maxRetries: 0 });
const picture = (key: Key) => {
	pictures.answer(() => Response.json({ created: 1, data: [{ b64_json: "AAAA" }] }));
	return clientOf(key).images.generate({ model: "box/painter", prompt: "A paper boat" });
};
const batch = async (key: Key) => {
	const file = await clientOf(key).files.create({
		file: await toFile(Buffer.from("{}\n"), "in.jsonl"),
		purpose: "batch",
	});
	files.received.length = 0;
	const body = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" } as const;
	return clientOf(key).batches.create(body);
};
const said = async (made: { withResponse?: () => Promise<{ response: Response }> }) =>
	(await made.withResponse!()).response.headers.get("x-router-runaway");

test("a stopped key makes no pictures and no batches, and nobody is asked for them", async () => {
	for (const make of [picture, batch]) {
		const error = await make("stop").then(
			() => undefined,
			(thrown: unknown) => thrown,
		);
		expect(error).toMatchObject({ status: 400, code: "runaway_stopped", message: expect.stringContaining("6 USD") });
	}
	expect([pictures.received, files.received]).toEqual([[], []]);
	expect(events).toMatchObject([
		{ kind: "spending", action: "stop", model: "box/painter" },
		{ kind: "spending", action: "stop", model: "batches" },
	]);
});

test("of a slowed one they wait, and are made; their answers say so, as those of one that is only told", async () => {
	expect(await said(picture("slow"))).toBe("spending; usd=6; usual=0.5; action=slow");
	expect(await said(picture("warn"))).toBe("spending; usd=6; usual=0.5; action=warn");
	await batch("slow");
	expect(events.map(({ action }) => action)).toEqual(["slow", "warn", "slow"]);
	expect(router.settled.filter(({ key, status }) => key === "slow" && status < 400).length).toBeGreaterThan(2);
});

test("another key's are made at once", async () => {
	await picture("calm");
	await batch("calm");
	expect([events, faults]).toEqual([[], []]);
});
