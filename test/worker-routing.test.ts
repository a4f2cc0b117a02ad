/** A router of several worker threads chooses targets by what all of them know. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { until } from "./kit/until.ts";
import { callOnce, outcomesOf, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const whole = answers(
	"200 OK",
	JSON.stringify({
		id: "x",
		choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
		usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 },
	}),
);
const broken = answers("500 Internal Server Error", '{"error":{"message":"no"}}');
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

function started(script = whole) {
	const upstream = startFaultUpstream(script);
	stops.push(() => upstream.stop());
	return upstream;
}
const provider = ({ origin }: { readonly origin: string }) => ({ type: "vllm", base_url: origin });
async function here(config: Json, server: Json = {}) {
	const router = await startHere(twoWorkers(config, server));
	stops.push(() => router.stop());
	return router;
}
/** Who answers a call over a connection of its own. */
async function providerOf(url: string, content: string, headers: Record<string, string> = {}) {
	const answer = await callOnce(url, { model: "m", messages: [{ role: "user", content }] }, headers);
	await answer.text();
	expect(answer.status).toBe(200);
	return answer.headers.get("x-router-provider");
}
async function metric(url: string, name: string): Promise<number> {
	const text = await (await fetch(`${url}/metrics`)).text();
	return Number(
		text
			.split("\n")
			.find((line) => line.startsWith(`${name} `))
			?.split(" ")
			.at(-1),
	);
}
const balanced = () => ({
	providers: { one: provider(started()), two: provider(started()), three: provider(started()) },
	models: [{ name: "m", targets: ["one/m", "two/m", "three/m"] }],
});

describe("over any connection", () => {
	test("the turns of a session go to one replica", async () => {
		const { url } = await here(balanced());
		for (const session of ["a", "b", "c", "d"]) {
			const seen = new Set<string | null>();
			for (let turn = 0; turn < 12; turn++) {
				seen.add(await providerOf(url, `${session} ${turn}`, { "x-session-id": session }));
			}
			expect(seen.size).toBe(1);
		}
	});

	test.each([1, 2])(
		"with %i workers a key's session is not another key's of the same name",
		async (workers) => {
			const keys = ["first", "other"].map((name) => ({ name, key: `sk-${name}-0123456789` }));
			const { url } = await here({ ...balanced(), keys }, { workers });
			const headers = (key: string) => ({ "x-session-id": "one", authorization: `Bearer sk-${key}-0123456789` });
			const explained = async (key: string): Promise<Loose> => {
				const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "hi" }] });
				const asked = { method: "POST", headers: { ...headers(key), "content-type": "application/json" }, body };
				return (await fetch(`${url}/v1/route`, asked)).json() as Promise<Loose>;
			};
			const stays = ({ candidates }: Loose) =>
				candidates.find(({ reason }: Loose) => reason === "has the session's last calls")?.id;
			const home = await providerOf(url, "hi", headers("first"));
			expect(stays(await explained("first"))).toBe(`${home}/m`);
			expect(stays(await explained("other"))).toBeUndefined();
			// Another key's calls of the same name leave it where it is, wherever they go.
			for (let turn = 0; turn < 6; turn++) await providerOf(url, `${turn}`, headers("other"));
			expect(await providerOf(url, "and then", headers("first"))).toBe(home);
		},
		60_000,
	);

	test("a prompt goes to the replica that has its beginning in the cache", async () => {
		const { url } = await here(balanced());
		for (const letter of ["a", "b", "c", "d"]) {
			const seen = new Set<string | null>();
			for (let turn = 0; turn < 12; turn++) seen.add(await providerOf(url, `${letter.repeat(4_000)} ${turn}`));
			expect(seen.size).toBe(1);
		}
	});

	test("five failures in a row take a target out of use, once", async () => {
		const failing = [1, 2, 3].map((number) => ({ name: `bad-${number}`, upstream: started(broken) }));
		const { url } = await here({
			providers: {
				good: provider(started()),
				...Object.fromEntries(failing.map(({ name, upstream }) => [name, provider(upstream)])),
			},
			models: failing.map(({ name }) => ({ name, policy: "order", targets: [`${name}/m`], fallback: ["good/m"] })),
		});
		const openings = () => metric(url, "router_breaker_opened_total");
		for (const [before, { name, upstream }] of failing.entries()) {
			while (upstream.received.length < 5) {
				expect(await openings()).toBe(before);
				const answer = await callOnce(url, { model: name });
				await answer.text();
				expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "good"]);
			}
			expect(await openings()).toBe(before + 1);
		}
	});
});

test("calls at an agent that a worker had which died are no longer counted there", async () => {
	using recorded = recordWorkers();
	const router = await here({});
	const release = Promise.withResolvers<undefined>();
	const agent = startFakeAgent({ router: router.url, before: () => release.promise });
	stops.push(() => agent.stop());
	await until(() => agent.secrets.length > 0, "the registration");
	const held = outcomesOf(router.url, 24, { model: "qwen" });
	await until(() => agent.authorizations.length === 24, "all calls at the agent");
	recorded.workers[0]!.worker.terminate();
	await until(() => router.log().includes("has taken the place"), "another worker");
	const { data } = (await (await fetch(`${router.url}/agents`)).json()) as { data: Loose[] };
	release.resolve(undefined);
	const outcomes = await held;
	const survived = outcomes.filter((outcome) => outcome === 200).length;
	expect(survived).toBeWithin(1, 24);
	expect(data[0]).toMatchObject({ models: [{ name: "qwen", in_flight: survived }] });
});
