/** Targets that a call is not sent to when it is their turn: the explanation before, the header of the call and the ledger behind say so alike. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import { explainCall } from "../src/api/explain-call.ts";
import { ROUTES } from "../src/api/routes.ts";
import { callText } from "../src/cli/admin-tables.ts";
import { explanationText } from "../src/cli/explain-command.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { fingerprintOf } from "../src/openai/call-facts.ts";
import { type Explanation, withSkipped } from "../src/routing/explain.ts";
import { shownCall } from "../src/server/admin/call-view.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const box = startFaultUpstream();
afterAll(() => box.stop());
beforeEach(() =>
	box.run(
		answers("200 OK", '{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'),
	),
);

const CLAUDE = "anthropic/claude-sonnet-4-6";
const BOX = "box/qwen";
const WHY = `The upstream of this model can't take "seed"`;

function router(models: Json[] = [{ name: "m", policy: "order", targets: [CLAUDE, BOX] }]) {
	const providers = {
		anthropic: { api_key: "k", base_url: box.origin },
		box: { type: "openai-compatible", base_url: box.origin },
		xai: { api_key: "k", base_url: box.origin },
	};
	return pipeline({ config: { providers, models } });
}
const asking = (model: string, more: Json = {}): Json => ({
	model,
	messages: [{ role: "user", content: "hi" }],
	...more,
});
const explained = (made: Pipeline, body: Json) => {
	const headers = { "content-type": "application/json" };
	return explainCall(
		made.context,
		new Request("http://localhost/v1/route", { method: "POST", headers, body: JSON.stringify(body) }),
		ROUTES,
	);
};
const rows = ({ candidates }: Pick<Explanation, "candidates">) =>
	candidates.map(({ id, rank, reason }) => [rank, id, reason.split(":")[0]]);
/** The call as `GET /admin/calls/{id}` shows it. */
async function past(made: Pipeline) {
	const [call] = await made.settledCalls(1);
	const attempts = made.attempts;
	const { calls } = batchOf([call!], [Date.UTC(2026, 0, 1)], attempts, new EndUsers());
	return shownCall(calls[0]!, []);
}
const SKIPPED = [
	[1, BOX, "the only one"],
	[undefined, CLAUDE, WHY],
];

describe("a target that has no form for a field of the call", () => {
	test("is told by `router explain`, below those that are tried", async () => {
		const answer = await explained(router(), asking("m", { seed: 7 }));
		expect(rows(answer)).toEqual(SKIPPED as never);
		expect(explanationText(answer)).toMatch(/^– +anthropic\/claude-sonnet-4-6 .*can't take "seed"/m);
	});

	test("is told by the call's header", async () => {
		const answer = await router().send(asking("m", { seed: 7 }), { headers: { "x-router-explain": "1" } });
		expect(rows(JSON.parse(answer.headers.get("x-router-explain")!))).toEqual(SKIPPED as never);
	});

	test("is told by `router why`", async () => {
		const made = router();
		expect((await made.send(asking("m", { seed: 7 }))).status).toBe(200);
		const shown = await past(made);
		expect(rows(shown.decision as Explanation)).toEqual(SKIPPED as never);
		expect(callText(shown)).toMatch(/^– +anthropic\/claude-sonnet-4-6 .*can't take "seed"/m);
		expect(shown.skipped).toEqual([{ target: CLAUDE, reason: expect.stringContaining(WHY) }]);
	});

	test.each(["order", "balanced", "cheapest", "fastest"])(
		"leaves the others the reasons that they have in `router explain` (%s)",
		async (policy) => {
			const targets = [CLAUDE, "anthropic/claude-opus-4-6", BOX, "xai/grok"];
			const made = router([{ name: "m", policy, targets, fallback: ["xai/grok-mini"] }]);
			const before = await explained(made, asking("m", { seed: 7 }));
			const plain = await explained(made, asking("m"));
			const skips = before.candidates.filter(({ rank }) => rank === undefined);
			expect(skips).toHaveLength(2);
			const after = withSkipped(
				plain,
				skips.map(({ id, reason }) => ({ target: id, reason })),
			);
			expect([after[0]!.id, after[0]!.reason]).toEqual([before.candidates[0]!.id, before.candidates[0]!.reason]);
		},
	);

	test("is told by `router why` where it is the only one, which has no table", async () => {
		const made = router();
		expect((await made.send(asking(CLAUDE, { seed: 7 }))).status).toBe(400);
		const shown = await past(made);
		expect(callText(shown)).toContain(`not sent to ${CLAUDE}: ${WHY}`);
		expect(rows(shown.decision as Explanation)).toEqual([[undefined, CLAUDE, WHY]]);
	});

	test("is kept in few words, and of the first such targets, whatever the client calls its fields", async () => {
		const made = router([
			{ name: "m", policy: "order", targets: [...Array(20).keys()].map((at) => `${CLAUDE}-${at}`) },
		]);
		const schema = { type: "object", properties: { ["p".repeat(100_000)]: { patternProperties: {} } } };
		const tools = [{ type: "function", function: { name: "f", strict: true, parameters: schema } }];
		expect((await made.send(asking("m", { tools }))).status).toBe(400);
		const { skipped = [] } = (await made.settledCalls(1))[0]!;
		expect(skipped).toHaveLength(8);
		for (const { reason } of skipped) expect(reason.length).toBeLessThanOrEqual(301);
	});

	test("is a target like others where the field is left out", async () => {
		const made = router([{ name: "m", policy: "order", targets: [CLAUDE, BOX], unsupported: "drop" }]);
		expect(rows(await explained(made, asking("m", { seed: 7 })))).toEqual([
			[1, CLAUDE, "first in order"],
			[2, BOX, "later in order"],
		]);
	});

	test.each([
		["no other target is left", asking(CLAUDE, { seed: 7 }), [undefined, CLAUDE, WHY]],
		[
			"the last message is the assistant's",
			{
				...asking(CLAUDE),
				messages: [
					{ role: "user", content: "a" },
					{ role: "assistant", content: "b" },
				],
			},
			[undefined, CLAUDE, `The upstream of this model can't take "messages[1].role"`],
		],
	] as const)("also where %s", async (_, body, row) => {
		expect(rows(await explained(router(), body as Json))).toEqual([row as never]);
	});

	test("nothing of the kind is said of a call that every target takes", async () => {
		const made = router();
		expect(rows(await explained(made, asking("m")))).toEqual([
			[1, CLAUDE, "first in order"],
			[2, BOX, "later in order"],
		]);
		await made.send(asking("m"));
		expect((await past(made)).skipped).toBeUndefined();
	});
});

describe("a call that two engines died of", () => {
	const LOCAL = "box/qwen";
	const VENDOR = "xai/grok";
	/** With so many deaths of this call behind it. */
	function withDeaths(targets: string[], body: Json, engines: string[], refuseMs?: number) {
		const providers = { box: { type: "vllm", base_url: box.origin }, xai: { api_key: "k", base_url: box.origin } };
		const made = pipeline({ config: { providers, models: [{ name: "m", policy: "order", targets }] } });
		const { facts } = parseRequest("chat", JSON.stringify(body));
		const fingerprint = fingerprintOf("chat", facts, "qwen");
		const { suspects } = made.context.state;
		if (refuseMs !== undefined) suspects.refuseMs = refuseMs;
		for (const [at, engine] of engines.entries()) {
			const startedAt = performance.now();
			const what = {
				engine,
				startedAt,
				fingerprint,
				model: "qwen",
				call: `req_${at}`,
				hasTokens: false,
				wasWell: true,
			};
			suspects.died({ ...what, turn: undefined });
		}
		expect(suspects.stateOf(fingerprint)).toBe(engines.length > 1 ? "refused" : "suspect");
		return made;
	}
	const convicted = (targets: string[], called: Json, refuseMs?: number) =>
		withDeaths(targets, called, ["box/qwen", "box2/qwen"], refuseMs);
	const body = asking("m");
	const REFUSED = "refused: an engine died of it twice (req_0, req_1)";
	const reasons = ({ candidates }: Explanation) => candidates.map(({ rank, id, reason }) => [rank, id, reason]);

	test("is refused in `router explain --file`, as it would be", async () => {
		const made = convicted([LOCAL], body);
		expect(reasons(await explained(made, body))).toEqual([[undefined, LOCAL, REFUSED]]);
		const answer = await made.send(body);
		expect(answer.status).toBe(422);
		expect((await past(made)).refusal).toBe(REFUSED);
	});

	test("still goes to a vendor there", async () => {
		expect(reasons(await explained(convicted([LOCAL, VENDOR], body), body))).toEqual([
			[1, VENDOR, "the only one"],
			[undefined, LOCAL, REFUSED],
		]);
	});

	test("is said to be suspected while an engine died of it once", async () => {
		const made = withDeaths([LOCAL, VENDOR], body, ["box/qwen"]);
		const answer = await explained(made, body);
		expect(answer.suspicion).toStartWith("suspected, since an engine died while it had no token yet (req_0): ");
		expect(explanationText(answer)).toContain(`tokens\n${answer.suspicion}\n`);
		expect(reasons(answer).map(([rank, id]) => [rank, id])).toEqual([
			[1, LOCAL],
			[2, VENDOR],
		]);
		const other = { ...body, messages: [{ role: "user", content: "hello" }] };
		expect((await explained(made, other)).suspicion).toBeUndefined();
	});

	test("says nothing of another call", async () => {
		const made = convicted([LOCAL], body);
		const other = { ...body, messages: [{ role: "user", content: "hello" }] };
		expect(reasons(await explained(made, other))).toEqual([[1, LOCAL, "the only one"]]);
	});

	test("is none any more once it is no longer refused", async () => {
		expect(reasons(await explained(convicted([LOCAL], body, 0), body))).toEqual([[1, LOCAL, "the only one"]]);
	});
});
