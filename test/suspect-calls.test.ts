/** What a call meets at whose attempt an engine died: when it waits, when it is refused, what others meet meanwhile. */
import { afterEach, describe, expect, test } from "bun:test";
import { callText } from "../src/cli/admin-tables.ts";
import { Suspects } from "../src/proxy/suspects.ts";
import { shownCall } from "../src/server/admin/call-view.ts";
import type { LedgerCall } from "../src/store/ledger-batch.ts";
import type { Pipeline } from "./kit/pipeline.ts";
import { codeOf, fleet, say, stopEngines } from "./kit/scripted-engines.ts";
import { until } from "./kit/until.ts";

afterEach(stopEngines);

describe("a call at whose attempt the engine died", () => {
	test("is refused with a Retry-After where its time is up first, and is not sent to the last one that is well", async () => {
		const { router, engines } = fleet(2);
		const [first, second] = engines;
		const call = say(router, "x", { headers: { "x-router-timeout-ms": "1500" } });
		await until(() => first!.held.length === 1);
		first!.die();
		const answer = await call;
		expect([answer.status, answer.headers.get("retry-after"), await codeOf(answer)]).toEqual([
			503,
			"30",
			"engine_died",
		]);
		expect(second!.held).toEqual([]);
		expect(router.settled[0]).toMatchObject({ status: 503, error: "engine_died", attempts: 1 });
	});

	test("waits for its only engine, runs there alone, and others wait until it has its answer", async () => {
		const { router, engines } = fleet(1);
		const engine = engines[0]!;
		const suspect = say(router, "x");
		await until(() => engine.held.length === 1);
		engine.die();
		await until(() => engine.asked > 0, "a question how it is");
		const fresh = say(router, "y");
		engine.restart();
		const alone = await engine.next("x");
		await until(() => router.started === 2);
		expect(engine.held).toEqual([]);
		alone.answer();
		expect((await suspect).status).toBe(200);
		(await engine.next("y")).answer();
		expect((await fresh).status).toBe(200);
	});

	test("is tried once more, and refused when that engine dies, too; in other names of the model and as a stream as well", async () => {
		const { router, engines } = fleet(3, { models: [{ name: "other", targets: ["box2/model"] }] });
		const call = say(router, "x");
		await until(() => engines[0]!.held.length === 1);
		engines[0]!.die();
		await until(() => engines[1]!.held.length === 1);
		engines[1]!.die();
		const answer = await call;
		expect([answer.status, await codeOf(answer)]).toEqual([422, "poisonous_request"]);
		const retries = [
			...[{ stream: true }, { stream: false }, { temperature: 0.1, seed: 7, max_tokens: 50, user: "u" }],
			...[{ stop: ["x"] }, { stop_token_ids: [7], include_stop_str_in_output: true }, { reasoning_effort: "low" }],
			...[{ parallel_tool_calls: false }, { verbosity: "low", return_token_ids: true }],
		];
		for (const retry of retries) {
			const again = await say(router, "x", { ...retry, model: "other" });
			expect([again.status, await codeOf(again)]).toEqual([422, "poisonous_request"]);
		}
		expect(engines[2]!.held).toEqual([]);
		expect(router.settled[1]).toMatchObject({ status: 422, attempts: 0 });
		expect(router.settled[1]!.reason).toMatch(/^refused: an engine died of it twice \(req_[\w-]+\)$/);
		const format = { type: "json_schema", json_schema: { name: "s", schema: { type: "object" } } };
		for (const other of [
			...[{}, { logprobs: true }, { n: 2 }, { response_format: format }, { logit_bias: { 7: 1 } }],
			{ chat_template_kwargs: { enable_thinking: false } },
		]) {
			const content = Object.keys(other).length > 0 ? "x" : "y";
			const another = say(router, content, other);
			(await engines[2]!.next(content)).answer();
			expect((await another).status).toBe(200);
		}
	});

	test("is not remembered where poisonous_requests is 0s", async () => {
		const { router, engines } = fleet(3);
		router.context.state.suspects.refuseMs = 0;
		const call = say(router, "x");
		await until(() => engines[0]!.held.length === 1);
		engines[0]!.die();
		await until(() => engines[1]!.held.length === 1);
		engines[1]!.die();
		expect((await call).status).toBe(422);
		const again = say(router, "x");
		(await engines[2]!.next("x")).answer();
		expect((await again).status).toBe(200);
	});

	test("goes to the vendor that its model has, and so does one that is refused", async () => {
		const { router, engines } = fleet(2, { fallback: ["dummy"] });
		const call = say(router, "x");
		await until(() => engines[0]!.held.length === 1);
		engines[0]!.die();
		const answer = await call;
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "dummy"]);
		expect(engines[1]!.held).toEqual([]);
	});

	test("whose client leaves gives its turn to the next", async () => {
		const { router, engines } = fleet(1);
		const engine = engines[0]!;
		const client = new AbortController();
		const older = say(router, "x");
		await until(() => engine.held.length === 1);
		const newer = say(router, "y", { signal: client.signal });
		await until(() => engine.held.length === 2);
		engine.die();
		await until(() => engine.asked > 0);
		client.abort();
		expect((await newer).status).toBe(499);
		engine.restart();
		(await engine.next("x")).answer();
		expect((await older).status).toBe(200);
	});

	test("is free once another one was found to be the cause, and goes where an engine serves", async () => {
		const { router, engines } = fleet(2);
		const [first, second] = engines;
		const innocent = say(router, "x", { stream: true });
		const cause = say(router, "y");
		await until(() => first!.held.length === 2, "both at one engine");
		first!.die();
		await until(() => first!.asked > 0);
		first!.restart();
		// The last to come is tried first.
		const alone = await first!.next("y");
		expect(first!.held).toEqual([]);
		first!.die();
		alone.answer(true);
		expect((await cause).status).toBe(422);
		(await second!.next("x")).answer();
		expect((await innocent).status).toBe(200);
	});
});

/** The suspects of a router, on a clock that the test sets forward. */
function clocked(router: Pipeline) {
	let passedMs = 0;
	let kept = 0;
	class Watched extends Suspects {
		override isReserved(...asked: Parameters<Suspects["isReserved"]>): boolean {
			const isReserved = super.isReserved(...asked);
			if (isReserved) kept++;
			return isReserved;
		}
	}
	const suspects = new Watched(() => performance.now() + passedMs);
	Object.assign(router.context.state, { suspects });
	return {
		suspects,
		/** A call has been kept from an engine. */
		keeps: () => until(() => kept > 0, "a call that is kept from an engine"),
		passes: (ms: number) => {
			passedMs += ms;
		},
	};
}

describe("an engine that does not come back", () => {
	test("is waited for by the call that may be the cause for two minutes, and then it is told when to call again", async () => {
		const { router, engines } = fleet(1);
		const { passes } = clocked(router);
		const call = say(router, "x");
		await until(() => engines[0]!.held.length === 1);
		engines[0]!.die();
		await until(() => engines[0]!.asked > 0, "a question how it is");
		passes(120_000);
		const answer = await call;
		expect([answer.status, answer.headers.get("retry-after"), await codeOf(answer)]).toEqual([
			503,
			"30",
			"engine_died",
		]);
		// Made again it is told so at once, unless the engine has come back.
		expect((await say(router, "x")).status).toBe(503);
		engines[0]!.restart();
		const again = say(router, "x");
		(await engines[0]!.next("x")).answer();
		expect((await again).status).toBe(200);
	});

	test("holds no other call for longer than half a minute: that is told what it would be told without a suspected one", async () => {
		const { router, engines } = fleet(1);
		const { passes, keeps } = clocked(router);
		const client = new AbortController();
		const suspect = say(router, "x", { signal: client.signal });
		await until(() => engines[0]!.held.length === 1);
		engines[0]!.die();
		await until(() => engines[0]!.asked > 0, "a question how it is");
		const waiting = say(router, "y");
		await keeps();
		await engines[0]!.stop();
		passes(30_000);
		expect((await waiting).status).toBe(502);
		expect((await say(router, "z")).status).toBe(502);
		client.abort();
		expect((await suspect).status).toBe(499);
	});
});

test("a call that is kept from an engine goes there once that was long enough, also where the suspected one has not had its turn", async () => {
	const { router, engines } = fleet(1);
	const { suspects, passes, keeps } = clocked(router);
	const turn = suspects.enter("model", performance.now());
	suspects.waitFor(turn, ["box0/model"]);
	const call = say(router, "y");
	await keeps();
	passes(30_000);
	(await engines[0]!.next("y")).answer();
	expect((await call).status).toBe(200);
	suspects.leave(turn);
});

test("a call that reaches the dead engine only later goes elsewhere like any other", async () => {
	const { router, engines } = fleet(2);
	engines[0]!.die();
	const early = say(router, "x", { headers: { "x-router-timeout-ms": "500" } });
	expect((await early).status).toBe(503);
	const late = say(router, "y");
	(await engines[1]!.next("y")).answer();
	expect((await late).status).toBe(200);
	expect(router.attempts.map(({ target, failure }) => [target, failure])).toEqual([
		["box0/model", "engine_died"],
		["box1/model", undefined],
	]);
});

test("router why says of a refused call which requests engines died of", () => {
	const details = {
		operation: "chat",
		route: "refused: an engine died of it twice (req_1, req_2)",
		error: "poisonous_request",
	};
	const call = { id: "req_3", at: 0, key: "", team: "", user: "", model: "m", provider: "none", status: 422 };
	const shown = shownCall({ ...call, details: JSON.stringify({ ...details, ms: 1 }) } as unknown as LedgerCall, []);
	expect(shown.refusal).toBe(details.route);
	expect(callText(shown)).toContain(
		"422 poisonous_request in 1 ms\nrefused: an engine died of it twice (req_1, req_2)\n",
	);
});
