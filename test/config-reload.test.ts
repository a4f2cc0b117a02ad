/** Another configuration for a router that runs: on a change of the file, on SIGHUP; never a bad one, never under a running call. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { differenceLine, differences } from "../src/config/diff.ts";
import { load } from "../src/config/load.ts";
import { keepRestartOnly } from "../src/config/restart-only.ts";
import { hasSettled, signature, watchFile } from "../src/config/watch.ts";
import { directory } from "./kit/cli.ts";
import { upstreamsAt } from "./kit/dialects.ts";
import { goodStream } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins } from "./kit/faults.ts";
import { configOf } from "./kit/pipeline.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

/** A configuration whose directories don't depend on where it was made. */
const placed = (settings: Json) =>
	configOf({ data_dir: "/data", ...settings, log: { dir: "/logs", ...(settings["log"] as Json) } });

describe("what has changed", () => {
	const lines = (before: Json, after: Json) => differences(placed(before), placed(after)).map(differenceLine);

	test("is told setting by setting, as the file would say it", () => {
		const changed = lines(
			{ timeouts: { total: "1m" }, models: [{ name: "a", targets: ["dummy"], max_wait: "5s" }] },
			{
				timeouts: { total: "90s" },
				server: { keep_alive: "0s" },
				models: [{ name: "a", targets: ["dummy", "dummy"], policy: "order" }],
			},
		);
		expect(changed.sort()).toEqual([
			"models[a].max_wait: 5s (gone)",
			"models[a].policy: balanced → order",
			"models[a].targets[1]: dummy (new)",
			"server.keep_alive: 15s → 0ms",
			"timeouts.total: 1m → 90s",
		]);
	});

	test("is told by name where a list has names", () => {
		const [a, b] = [
			{ name: "a", targets: ["dummy"] },
			{ name: "b", targets: ["dummy"] },
		];
		expect(lines({ models: [a] }, { models: [b, a] }).every((line) => line.startsWith("models[b]"))).toBe(true);
	});

	test("shows no secret", () => {
		const before = { keys: [{ name: "a", key: "secret-one" }], providers: { openai: { api_key: "sk-one" } } };
		const after = {
			keys: [{ name: "a", key: "secret-two" }],
			providers: {
				openai: {
					api_key: "sk-two",
					base_url: "http://user:password@box/v1#token=fragment",
					headers: { "x-a": "hidden" },
				},
			},
		};
		const text = lines(before, after).join("\n");
		expect(text).toContain("keys[a].key: ******** → ********");
		for (const secret of ["secret", "sk-", "password", "fragment", "hidden"]) expect(text).not.toContain(secret);
	});

	test("is nothing where nothing has", () => expect(lines({ models: [] }, {})).toEqual([]));
});

test("a process keeps what it was started with, and takes the rest", () => {
	const running = placed({ server: { port: 1, keep_alive: "1s" }, data_dir: "/one", log: { level: "warn" } });
	const next = placed({
		server: { port: 2, keep_alive: "2s" },
		data_dir: "/two",
		models: [{ name: "a", targets: ["dummy"] }],
	});
	const { config, waiting } = keepRestartOnly(running, next);
	expect(config).toMatchObject({
		server: { port: 1, keep_alive: 2_000 },
		data_dir: running.data_dir,
		log: { level: "warn" },
	});
	expect(config.models).toHaveLength(1);
	expect(waiting.map(({ setting }) => setting).sort()).toEqual(["data_dir", "log.level", "server.port"]);
});

describe("a watched file", () => {
	const now = (file: string) => ({ watched: file, since: signature(file) });

	test("is told where it changed after it was read and before it was watched, as while a router starts", async () => {
		using home = directory({ "router.yaml": "log: { keep: 3 }" });
		const loaded = load({ flags: {}, env: {}, cwd: home.path, role: "router" });
		writeFileSync(loaded.watched, "log: { keep: 15 }");
		let told = 0;
		const watch = watchFile(loaded, () => told++, 5);
		try {
			await until(() => told === 1);
			expect(loaded.again().config.log.keep).toBe(15);
		} finally {
			watch.stop();
		}
	});

	test("is told once a change has settled, also where it was put in place or was not there", async () => {
		using home = directory();
		const file = join(home.path, "a.yaml");
		let told = 0;
		const watch = watchFile(now(file), () => told++, 5);
		try {
			writeFileSync(file, "1");
			await until(() => told === 1);
			writeFileSync(`${file}.new`, "2");
			renameSync(`${file}.new`, file);
			await until(() => told === 2);
			rmSync(file);
			writeFileSync(`${file}.new`, "3");
			renameSync(`${file}.new`, file);
			await until(() => told === 3);
		} finally {
			watch.stop();
		}
	});

	test("is told when asked, changed or not, there or not, and once for a change and a question", async () => {
		using home = directory({ "a.yaml": "1" });
		const file = join(home.path, "a.yaml");
		let told = 0;
		const watch = watchFile(now(file), () => told++, 5);
		try {
			watch.recheck();
			await until(() => told === 1);
			writeFileSync(file, "2");
			watch.recheck();
			await until(() => told === 2);
			rmSync(file);
			watch.recheck();
			await until(() => told === 3);
			await Bun.sleep(50);
			expect(told).toBe(3);
		} finally {
			watch.stop();
		}
	});

	test("is not told while it is being written, even when asked", async () => {
		using home = directory({ "a.yaml": "1" });
		const file = join(home.path, "a.yaml");
		const seen: string[] = [];
		const watch = watchFile(now(file), () => seen.push(readFileSync(file, "utf8")), 200);
		try {
			for (const text of ["12", "123", "1234", "12345"]) {
				writeFileSync(file, text);
				watch.recheck();
				await Bun.sleep(100);
			}
			await until(() => seen.length > 0);
			expect(seen).toEqual(["12345"]);
		} finally {
			watch.stop();
		}
	});
});

describe("a file that is asked about", () => {
	test("has settled once it is the same for two looks, there or not", async () => {
		using home = directory({ "a.yaml": "1" });
		const file = join(home.path, "a.yaml");
		expect(await hasSettled(file, 1)).toBe(true);
		rmSync(file);
		expect(await hasSettled(file, 1)).toBe(true);
	});

	test("has not while each look finds another, and is not waited for without end", async () => {
		using home = directory({ "a.yaml": "" });
		const file = join(home.path, "a.yaml");
		const writing = setInterval(() => appendFileSync(file, "1"), 5);
		try {
			expect(await hasSettled(file, 100)).toBe(false);
		} finally {
			clearInterval(writing);
		}
	});
});

describe("a running router", () => {
	const upstream = startFaultUpstream();
	const { env } = upstreamsAt(upstream.origin);
	const base = { providers: { box: { type: "vllm", base_url: upstream.origin } } };
	let router: RunningRouter;
	let file: string;
	beforeEach(async () => {
		router = await startRouter({ config: { ...base, models: [{ name: "fast", targets: ["dummy"] }] }, env });
		file = join(router.directory, "router.yaml");
	});
	afterEach(() => router.stop());

	/** Puts another file in place, as editors do. */
	function write(settings: Json | string): void {
		writeFileSync(`${file}.new`, typeof settings === "string" ? settings : JSON.stringify(settings));
		renameSync(`${file}.new`, file);
	}
	const hup = () => process.kill(router.pid, "SIGHUP");
	const chat = (model: string, headers: Record<string, string> = {}) =>
		fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", ...headers },
			body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] }),
		});
	const status = async (model: string, headers?: Record<string, string>) => {
		const answer = await chat(model, headers);
		await answer.text();
		return answer.status;
	};

	test("takes a changed file, and logs what has changed", async () => {
		expect(await status("quick")).toBe(404);
		write({ ...base, models: [{ name: "quick", targets: ["dummy"] }] });
		await router.printed(/The configuration was loaded anew/);
		expect([await status("quick"), await status("fast")]).toEqual([200, 404]);
		expect(router.output()).toContain("models[quick].targets[0]: dummy (new)");
		expect(router.output()).toContain("models[fast].targets[0]: dummy (gone)");
		const models = (await (await fetch(`${router.url}/v1/models`)).json()) as { data: { id: string }[] };
		expect(models.data.map(({ id }) => id)).toContain("quick");
	});

	test("takes it on SIGHUP, once", async () => {
		write({ ...base, models: [{ name: "quick", targets: ["dummy"] }] });
		hup();
		await router.printed(/loaded anew/);
		expect(await status("quick")).toBe(200);
		expect(await router.metric("router_config_reloads_total", { result: "loaded" })).toBe(1);
	});

	test("reads the secrets behind ${file:…} again", async () => {
		const secret = join(router.directory, "secret.txt");
		writeFileSync(secret, "key-of-before\n");
		write({ ...base, keys: [{ name: "a", key: `\${file:${secret}}` }] });
		hup();
		await router.printed(/loaded anew/);
		const as = (key: string) => status("dummy", { authorization: `Bearer ${key}` });
		expect([await as("key-of-before"), await as("key-of-after")]).toEqual([200, 401]);
		writeFileSync(secret, "key-of-after\n");
		hup();
		await until(async () => (await as("key-of-after")) === 200, "the new secret");
		expect(await as("key-of-before")).toBe(401);
		expect(router.output()).not.toMatch(/key-of-(?:before|after)/);
	});

	test.each([
		["that is no YAML", "models: [", /router\.yaml:1/],
		["with a wrong setting", '{"models":[{"name":"x","targets":[],"polcy":"order"}]}', /did you mean \\"policy\\"/],
		["that has been emptied, as by an editor that is about to write", " \n", /has been emptied/],
		[
			"whose target leads nowhere",
			'{"models":[{"name":"x","targets":["nowhere/at-all"]}]}',
			/router\.yaml:1:\d+ models\[0\]\.targets\[0\]: there is no provider/,
		],
	])("keeps the last good one where it gets a file %s", async (_, text, said) => {
		write(text);
		hup();
		await router.printed(/the last good one stays/);
		await router.printed(said);
		expect(await status("fast")).toBe(200);
		expect(await router.metric("router_config_reloads_total", { result: "refused" })).toBe(1);
		write({
			...base,
			models: [
				{ name: "fast", targets: ["dummy"] },
				{ name: "quick", targets: ["dummy"] },
			],
		});
		hup();
		await router.printed(/loaded anew/);
		expect(await status("quick")).toBe(200);
	});

	test("keeps it where the file is gone: without it nothing would be left of its keys", async () => {
		rmSync(file);
		hup();
		await router.printed(/there is no such file/);
		expect(await status("fast")).toBe(200);
	});

	test("takes keys and lets them go at once", async () => {
		const models = [{ name: "fast", targets: ["dummy"] }];
		write({ ...base, models, keys: [{ name: "new", key: "of-the-new-team" }] });
		hup();
		await router.printed(/keys\[new\]\.key: \*{8} \(new\)/);
		expect(router.output()).not.toContain("of-the-new-team");
		expect([await status("fast"), await status("fast", { authorization: "Bearer of-the-new-team" })]).toEqual([
			401, 200,
		]);
	});

	test("says what takes a restart, and takes the rest", async () => {
		write({ ...base, server: { drain: "1s" }, models: [{ name: "quick", targets: ["dummy"] }] });
		hup();
		await router.printed(/take effect after a restart/);
		expect(router.output()).toContain("server.drain: 5s → 1s");
		expect(await status("quick")).toBe(200);
	});

	test("keeps its agents, and calls them by the new settings", async () => {
		const agent = startFakeAgent({ router: router.url, name: "gpu-1", models: ["qwen"] });
		try {
			await until(async () => (await status("local/qwen")) === 200);
			write({
				...base,
				providers: { ...base.providers, local: { timeouts: { total: "9m" } } },
				models: [{ name: "mine", targets: ["local/qwen"] }],
			});
			hup();
			await router.printed(/providers\.local\.timeouts\.total: 9m \(new\)/);
			for (const name of ["local/qwen", "qwen", "mine"]) expect([name, await status(name)]).toEqual([name, 200]);
		} finally {
			await agent.stop();
		}
	});

	test("changes nothing under a running call", async () => {
		write({ ...base, models: [{ name: "fast", targets: ["box/m"] }] });
		hup();
		await router.printed(/loaded anew/);
		const events = goodStream(6);
		upstream.run(begins(events.slice(0, 3)));
		const next = upstream.next();
		const answer = await fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] }),
		});
		const connection = await next;
		write({ models: [{ name: "other", targets: ["dummy"] }] });
		hup();
		await router.printed(/providers\.box\.base_url: \S+ \(gone\)/);
		expect(await status("fast")).toBe(404);
		for (const event of events.slice(3)) await connection.write(event);
		connection.end();
		const text = await answer.text();
		expect(text).toEndWith("data: [DONE]\n\n");
		expect(text).not.toContain('"error"');
	});
});
