/** Keys that are made while the router runs may have what their calls ask and are answered stand in their spans; it is changed and taken back while they are in use. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { parseCommand } from "../src/cli/flags.ts";
import { cli, directory } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { CONTENTS } from "./kit/genai-conventions.ts";
import { needing } from "./kit/needing.ts";
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from "./kit/otlp-collector.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { SERVER, tracedBy } from "./kit/traced-router.ts";
import { until } from "./kit/until.ts";

const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const CONFIG = {
	cache: { enabled: false },
	keys: [{ name: "fixed", key: "key-of-the-configuration", trace_contents: true }],
	admin: {
		keys: [
			{ name: "ops", key: ADMIN },
			{ name: "wall", key: VIEWER, role: "viewer" },
		],
	},
};

/** What an administrator does at a router, and what comes of calls. */
function at(router: () => RunningRouter, collector: () => OtlpCollector) {
	const ask = (path: string, body?: Json, key = ADMIN) =>
		fetch(router().url + path, {
			method: body ? "POST" : "GET",
			headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
			...(body && { body: JSON.stringify(body) }),
		});
	return {
		ask,
		make: async (body: Json) => {
			const answer = await ask("/admin/keys", body);
			expect(answer.status).toBe(201);
			return (await answer.json()) as { secret: string; key: Loose };
		},
		change: (name: string, body: Json, key?: string) =>
			ask(`/admin/keys/${encodeURIComponent(name)}/change`, body, key),
		listed: async (name: string) => {
			const { data } = (await (await ask("/admin/keys")).json()) as { data: Loose[] };
			return data.find((key) => key["name"] === name)!;
		},
		/** Of calls at once, as many as spread over threads: for each which attributes with contents its span has. */
		contents: async (secret: string, text: string, count = 1) => {
			const sent = await Promise.all(
				Array.from({ length: count }, () =>
					post(
						`${router().url}/v1/chat/completions`,
						{ model: "dummy", messages: [{ role: "user", content: text }] },
						{ authorization: `Bearer ${secret}` },
					),
				),
			);
			return Promise.all(
				sent.map(async ({ status, headers }) => {
					expect(status).toBe(200);
					const id = headers.get("x-request-id")!;
					const isIts = (span: CollectedSpan) => span.kind === SERVER && span.attributes["router.call.id"] === id;
					const { attributes } = (await collector().have((all) => all.some(isIts), id)).find(isIts)!;
					if ("gen_ai.input.messages" in attributes) {
						expect(attributes["gen_ai.input.messages"]).toContain(text);
					}
					return Object.keys(attributes).filter((name) => CONTENTS.includes(name)).length;
				}),
			);
		},
	};
}
/** So many attributes have what a call asks, and what it is answered. */
const ASKED_AND_ANSWERED = 2;
const all = (count: number, contents: number) => Array.from({ length: count }, () => contents);

describe.each([1, 2])("a router with %i workers", (workers) => {
	let collector: OtlpCollector;
	let router: RunningRouter;
	beforeAll(async () => {
		collector = startOtlpCollector();
		router = await startRouter({ config: { ...CONFIG, server: { workers } }, env: tracedBy(collector) });
	}, 60_000);
	afterAll(async () => {
		await router.stop();
		await collector.stop();
	});
	const { ask, make, change, listed, contents } = at(
		() => router,
		() => collector,
	);

	test.each([["yes"], [1], [null], [{}]])(
		"refuses trace_contents: %j, naming it, for a new key and a change",
		async (value) => {
			const name = `refusing ${JSON.stringify(value)}`;
			const { key } = await make({ name });
			for (const answer of [
				await ask("/admin/keys", { name: `${name}, too`, trace_contents: value }),
				await change(name, { trace_contents: value }),
			]) {
				const { code, param } = clientError(await answer.text());
				expect([answer.status, code, param]).toEqual([400, "invalid_value", "trace_contents"]);
			}
			expect(await listed(name)).toEqual(key);
		},
	);

	test("has it asked for by no viewer, and at no viewer's key", async () => {
		await make({ name: "plain" });
		const refused = await change("plain", { trace_contents: true }, VIEWER);
		expect([refused.status, clientError(await refused.text()).code]).toEqual([403, "read_only_key"]);
		await make({ name: "screen", role: "viewer" });
		for (const answer of [
			await ask("/admin/keys", { name: "second screen", role: "viewer", trace_contents: true }),
			await change("screen", { trace_contents: true }),
		]) {
			const { message, param } = clientError(await answer.text());
			expect([answer.status, param]).toEqual([400, "trace_contents"]);
			expect(message).toContain("a viewer's makes none");
		}
	});

	test("sends nothing of a key that does not ask for it, and of one that does what each call asks and is answered", async () => {
		const quiet = await make({ name: "quiet" });
		const open = await make({ name: "open", trace_contents: true });
		expect([quiet.key["trace_contents"], open.key["trace_contents"]]).toEqual([undefined, true]);
		expect(await listed("open")).toMatchObject({ trace_contents: true, source: "made" });
		expect(await listed("fixed")).toMatchObject({ trace_contents: true, source: "config" });
		expect(await contents(quiet.secret, "ask-quiet", 6)).toEqual(all(6, 0));
		expect(await contents(open.secret, "ask-open", 6)).toEqual(all(6, ASKED_AND_ANSWERED));
	}, 60_000);

	test("has a change hold from the next call on, in each thread; another change and a new secret leave it as it is", async () => {
		const { secret } = await make({ name: "moving" });
		const { status } = await change("moving", { trace_contents: true });
		expect(status).toBe(200);
		expect(await contents(secret, "ask-asked", 6)).toEqual(all(6, ASKED_AND_ANSWERED));
		expect((await change("moving", { rpm: 1000 })).status).toBe(200);
		expect(await listed("moving")).toMatchObject({ trace_contents: true, limits: { rpm: 1000 } });
		const rotated = (await (await ask("/admin/keys/moving/rotate", {})).json()) as { secret: string };
		expect(await contents(rotated.secret, "ask-rotated", 6)).toEqual(all(6, ASKED_AND_ANSWERED));
		expect((await change("moving", { trace_contents: false })).status).toBe(200);
		expect(await contents(rotated.secret, "ask-taken-back", 6)).toEqual(all(6, 0));
		expect("trace_contents" in (await listed("moving"))).toBe(false);
	}, 60_000);

	test("shows where traces go and whose contents go along: of those made, too, until they are taken back", async () => {
		const contents = async () => {
			const shown = (await (await ask("/admin/configuration", undefined, VIEWER)).json()) as Loose;
			const lines = shown["opentelemetry"] as { what: string; text: string }[];
			expect(lines.find(({ what }) => what === "traces")!.text).toContain(collector.origin);
			return lines.find(({ what }) => what === "contents")!.text;
		};
		await make({ name: "told of", trace_contents: true });
		expect(await contents()).toMatch(/keys fixed,.* told of.* go to the collector/);
		await change("told of", { trace_contents: false });
		expect(await contents()).not.toContain("told of");
	});

	test("logs who asked for it and who took it back, and nothing of what is asked", async () => {
		const { secret } = await make({ name: "audited", trace_contents: true });
		await router.printed(/"audit":"key\.create","by":"ops",[^\n]*"name":"audited","trace_contents":true/);
		await change("audited", { trace_contents: false });
		await router.printed(
			/"audit":"key\.change","by":"ops",[^\n]*"name":"audited","changed":\["trace_contents"\],"trace_contents":false/,
		);
		await contents(secret, "ask-audited");
		await change("audited", { rpm: 5 });
		await router.printed(/"name":"audited","changed":\["rpm"\],"msg":"audit"/);
		expect(router.output()).not.toContain("ask-");
	}, 60_000);

	test("knows it of a key that the command line makes and changes, beside it and from afar", async () => {
		const run = (...args: string[]) =>
			cli(["keys", ...args, "--config", join(router.directory, "router.yaml")], {
				cwd: router.directory,
				env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
			});
		const warning = /goes to whoever collects the router's traces \(trace_contents\): tell those who use it/;
		const made = await run("create", "--name", "by hand", "--trace-contents");
		expect([made.code, made.stderr]).toEqual([0, expect.stringMatching(warning)]);
		const secret = made.stdout.trim();
		expect(await contents(secret, "ask-by-hand")).toEqual([ASKED_AND_ANSWERED]);
		expect((await run("list")).stdout).toMatch(/by hand .*contents traced/);
		const quiet = await run("change", "by hand", "--no-trace-contents", "--url", router.url);
		expect([quiet.code, quiet.stdout, quiet.stderr]).toEqual([0, 'The key "by hand" is changed.\n', ""]);
		expect(await contents(secret, "ask-quiet-by-hand", 4)).toEqual(all(4, 0));
		const again = await run("change", "by hand", "--trace-contents");
		expect([again.code, again.stderr]).toEqual([0, expect.stringMatching(warning)]);
		await until(async () => (await listed("by hand"))["trace_contents"] === true, "the change");
		expect(await contents(secret, "ask-again-by-hand", 4)).toEqual(all(4, ASKED_AND_ANSWERED));
	}, 60_000);
});

test("the command line refuses a key that is to have something and not to have it", () => {
	for (const flag of ["trace-contents", "engine-fields"]) {
		expect(() => parseCommand(["keys", "change", "x", `--${flag}`, `--no-${flag}`])).toThrow(
			`--${flag} and --no-${flag} exclude each other`,
		);
	}
	expect(parseCommand(["keys", "change", "x", "--no-engine-fields"])).toMatchObject({
		admin: { options: { engineFields: false } },
	});
});

test("a start names the keys whose contents are sent: those of the configuration, and those that were made and are in use", async () => {
	const collector = startOtlpCollector();
	using home = directory({ "router.yaml": JSON.stringify(CONFIG) });
	const env = { ...tracedBy(collector), DATA_DIR: home.path, LOG_DIR: join(home.path, "logs") };
	for (const args of [
		["create", "--name", "made", "--trace-contents"],
		["create", "--name", "taken back", "--trace-contents"],
		["revoke", "taken back"],
		["create", "--name", "quiet"],
	]) {
		const { code, stderr } = await cli(["keys", ...args, "--config", "router.yaml"], { cwd: home.path, env });
		expect([code, stderr]).toEqual([0, expect.anything()]);
	}
	const router = await startRouter({ config: CONFIG, env });
	try {
		await router.printed(/contents +prompts and answers of the keys fixed, made go to the collector/);
	} finally {
		await router.stop();
		await collector.stop();
	}
}, 60_000);

const redis = needing("redis");
redis.describe("of two routers of one Redis", () => {
	let server: RedisServer;
	let collector: OtlpCollector;
	let routers: RunningRouter[];
	redis.beforeAll(async () => {
		server = await startRedis();
		collector = startOtlpCollector();
		const env = { ...tracedBy(collector), REDIS_URL: server.url };
		routers = await Promise.all([1, 2].map(() => startRouter({ config: CONFIG, env })));
	}, 60_000);
	redis.afterAll(async () => {
		await Promise.all(routers.map((router) => router.stop()));
		await collector.stop();
		await server.stop();
	});

	redis.test(
		"one knows what is asked for and taken back at the other",
		async () => {
			const [one, other] = [0, 1].map((index) =>
				at(
					() => routers[index]!,
					() => collector,
				),
			) as [ReturnType<typeof at>, ReturnType<typeof at>];
			const { secret } = await one.make({ name: "shared", trace_contents: true });
			await until(async () => (await other.listed("shared"))?.["trace_contents"] === true, "the key");
			expect(await other.contents(secret, "ask-elsewhere")).toEqual([ASKED_AND_ANSWERED]);
			expect((await other.change("shared", { trace_contents: false })).status).toBe(200);
			await until(async () => !("trace_contents" in (await one.listed("shared"))), "the change");
			expect(await one.contents(secret, "ask-taken-back")).toEqual([0]);
			expect(await other.contents(secret, "ask-taken-back")).toEqual([0]);
		},
		60_000,
	);
});
