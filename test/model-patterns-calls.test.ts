/** Calls for names that fit one with `*` in `models:`: what the upstream is asked, what is said of it, and what is listed. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { explainCall } from "../src/api/explain-call.ts";
import { listModels, oneModel } from "../src/api/model-queries.ts";
import { ROUTES } from "../src/api/routes.ts";
import { clientError } from "./kit/contract.ts";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, resetsBeforeHeaders } from "./kit/faults.ts";
import { pipeline } from "./kit/pipeline.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const one = startFaultUpstream();
const two = startFaultUpstream();
afterAll(() => {
	one.stop();
	two.stop();
});
const ok = answers(
	"200 OK",
	'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
);
beforeEach(() => {
	one.run(ok);
	two.run(ok);
});

function router(models: Json[], more: Json = {}, cached = false) {
	const providers = {
		one: { type: "openai-compatible", base_url: one.origin },
		two: { type: "openai-compatible", base_url: two.origin },
	};
	return pipeline({ config: { providers, models, ...more }, cached });
}
/** Why a call was refused. */
const refused = async (response: Response) => ({
	status: response.status,
	error: clientError(await response.text()),
});
const call = (model: string, more: Json = {}) => ({ model, messages: [{ role: "user", content: "hi" }], ...more });

describe("a call", () => {
	test("for a name that stands for others is refused before anyone is asked", async () => {
		let asked = 0;
		one.run((connection) => {
			if (connection.request.method === "POST") asked++;
			return ok(connection);
		});
		const made = router([
			{ name: "team/*", targets: ["one/*"] },
			{ name: "all", targets: ["one/m"] },
		]);
		for (const name of ["team/*", "team/a*b", "one/*", "one/m*", "*", "al*", "gpt-*", "dummy/*"]) {
			const { error, status } = await refused(await made.send(call(name)));
			expect([name, status, error.code, asked]).toEqual([name, 404, "model_not_found", 0]);
			expect(error.message).toContain('A "*" stands for other text: ask for a model by its own name.');
		}
	});

	test("of a key goes where its patterns let it, and nowhere else", async () => {
		const made = router(
			[
				{ name: "team/*", targets: ["one/*"] },
				{ name: "boss/*", targets: ["two/*"] },
			],
			{ keys: [{ name: "t", key: "key-of-team", models: ["team/*"] }] },
		);
		const headers = { authorization: "Bearer key-of-team" };
		expect((await made.send(call("team/a"), { headers })).status).toBe(200);
		for (const name of ["boss/a", "one/a", "two/a", "dummy"]) {
			const { status, error } = await refused(await made.send(call(name), { headers }));
			expect([name, status, error.code]).toEqual([name, 403, "model_not_allowed"]);
		}
		const { error } = await refused(await made.send(call("boos/a"), { headers }));
		expect(error.message).not.toContain("boss");
	});

	test("asks the upstream for what the star stands for, and the next target for the same where that fails", async () => {
		one.run(resetsBeforeHeaders);
		const asked: unknown[] = [];
		two.run(async (connection: Connection) => {
			asked.push(JSON.parse(connection.request.body).model);
			await ok(connection);
		});
		const made = router([{ name: "anthropic/*", targets: ["one/*"], fallback: [{ provider: "two", model: "v1-*" }] }]);
		expect((await made.send(call("anthropic/claude-x"))).status).toBe(200);
		expect(asked).toEqual(["v1-claude-x"]);
		const [settled] = await made.settledCalls(1);
		expect(settled).toMatchObject({
			model: "anthropic/claude-x",
			requested: "anthropic/claude-x",
			reason: "models: anthropic/*",
			target: "two/v1-claude-x",
		});
	});

	test("is named in metrics once an upstream has answered for it: clients choose the names", async () => {
		one.run(answers("404 Not Found", '{"error":{"message":"no such model"}}'));
		const made = router([
			{ name: "team/*", targets: ["one/*"] },
			{ name: "any-*", targets: ["one/m"] },
		]);
		await made.send(call("team/a"));
		await made.send(call("any-a"));
		one.run(ok);
		await made.send(call("team/b"));
		await made.send(call("any-b"));
		expect((await made.settledCalls(4)).map(({ model }) => model)).toEqual(["unknown", "any-*", "team/b", "any-*"]);
	});

	test("waits in one queue with all that fit the same entry", async () => {
		const open: Connection[] = [];
		one.run((connection) => void open.push(connection));
		const made = router([{ name: "team/*", targets: ["one/*"], concurrency: 1, queue: 1 }]);
		const first = made.send(call("team/a"));
		await until(() => open.length === 1);
		const second = made.send(call("team/b"));
		await until(() => [...made.context.state.waiting()].some(([, count]) => count === 1));
		expect(Object.fromEntries(made.context.state.waiting())).toEqual({ "team/*": 1 });
		const { status, error } = await refused(await made.send(call("team/c")));
		expect([status, error.code]).toEqual([429, "model_busy"]);
		await ok(open[0]!);
		await until(() => open.length === 2);
		await ok(open[1]!);
		expect((await Promise.all([first, second])).map((answer) => answer.status)).toEqual([200, 200]);
	});

	test("is cached as the entry says, each name for itself", async () => {
		let asked = 0;
		one.run((connection) => {
			asked++;
			return ok(connection);
		});
		const made = router([{ name: "team/*", targets: ["one/*"], cache: { enabled: true } }], {}, true);
		for (const name of ["team/a", "team/a", "team/b", "team/a"]) await (await made.send(call(name))).text();
		expect(asked).toBe(2);
	});
});

describe("the list of models", () => {
	const list = (...models: string[]) =>
		answers("200 OK", JSON.stringify({ object: "list", data: models.map((id) => ({ id, object: "model" })) }), {
			"content-type": "application/json",
		});
	const request = () => new Request("http://localhost/v1/models");
	const models = [
		{ name: "anthropic/*", targets: ["one/claude-*"], fallback: ["two/*"] },
		{ name: "anthropic/exact", targets: ["dummy"] },
		{ name: "any-*", targets: ["one/m"] },
	];

	test("has what upstreams list under every name that leads there, and no name with a star", async () => {
		one.run(list("claude-x", "exact", "m"));
		two.run(list("exact", "y"));
		const made = router(models);
		const { data } = await listModels(made.context, request());
		expect(data.map(({ id }) => id).sort()).toEqual([
			"anthropic/exact",
			"anthropic/x",
			"anthropic/y",
			"dummy",
			"one/claude-x",
			"one/exact",
			"one/m",
			"two/exact",
			"two/y",
		]);
	});

	test("knows one by its name, and hints at others", async () => {
		one.run(list("claude-sonnet"));
		const made = router(models);
		expect(await oneModel(made.context, request(), "anthropic/sonnet")).toMatchObject({ id: "anthropic/sonnet" });
		const { error } = await refused(await made.send(call("antropic/sonnet")));
		expect(error.message).toContain('Did you mean "anthropic/sonnet"');
		expect(oneModel(made.context, request(), "anthropic/*")).rejects.toThrow("There is no model");
	});
});

test("`router explain` says by which entry, and where it would go", async () => {
	const made = router([{ name: "anthropic/*", targets: ["one/*"], fallback: ["two/*"] }]);
	const request = new Request("http://localhost/v1/route", {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ model: "anthropic/claude-x" }),
	});
	const { model, route, candidates } = await explainCall(made.context, request, ROUTES);
	expect([model, route]).toEqual(["anthropic/claude-x", "models: anthropic/*"]);
	expect(candidates.map(({ id }) => id)).toEqual(["one/claude-x", "two/claude-x"]);
});

test("a reload puts others in their place, for calls that come from then on", async () => {
	const configured = (name: string) => ({ models: [{ name, targets: ["dummy/*"] }] });
	const running = await startRouter({ config: configured("team/*") });
	try {
		const status = async (model: string) => {
			const body = JSON.stringify(call(model));
			const headers = { "content-type": "application/json" };
			const answer = await fetch(`${running.url}/v1/chat/completions`, { method: "POST", headers, body });
			await answer.body?.cancel();
			return answer.status;
		};
		expect([await status("team/a"), await status("crew/a")]).toEqual([200, 404]);
		writeFileSync(join(running.directory, "router.yaml"), JSON.stringify(configured("crew/*")));
		await running.printed(/loaded anew/);
		expect([await status("team/a"), await status("crew/a")]).toEqual([404, 200]);
	} finally {
		await running.stop();
	}
}, 60_000);
