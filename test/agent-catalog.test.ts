/** The names an agent answers to while its vLLM has not said what it serves, and after. */
import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { AgentCatalog } from "../src/agent/agent-catalog.ts";
import { agentPlan } from "../src/agent/agent-plan.ts";
import { RouterError } from "../src/errors.ts";
import { responseAnswer } from "../src/proxy/net/transport.ts";
import { catalogEntries } from "../src/server/role-plan.ts";
import { configOf } from "./kit/pipeline.ts";

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const NONE = { names: () => [], find: () => undefined, defaultModel: () => undefined };

/** An agent's catalog beside a vLLM that serves `models`; none of them is one that does not answer. */
function agent() {
	const vllm = { models: [] as string[], asked: 0 };
	const config = configOf({ agent: { vllm_url: "http://user:secret@gpu:8001" } });
	const sources = { of: () => ({ from: "default" }) as const };
	const entries = catalogEntries(agentPlan({ config, sources }, {}).upstreams, config, {}).map((entry) => {
		const send = async () => {
			vllm.asked += 1;
			if (vllm.models.length === 0) throw new Error("refused");
			return responseAnswer(Response.json({ data: vllm.models.map((id) => ({ id })) }));
		};
		return { ...entry, provider: { ...entry.provider, transport: { ...entry.provider.transport, send } } };
	});
	return { vllm, catalog: new AgentCatalog(entries, NONE) };
}
/** Lets `ms` pass, and what is under way come to its end. */
async function pass(ms: number): Promise<void> {
	jest.advanceTimersByTime(ms);
	for (let turn = 0; turn < 20; turn++) await Promise.resolve();
	await new Promise((resolve) => setImmediate(resolve));
}
function refusal(resolve: () => unknown): RouterError {
	try {
		resolve();
	} catch (error) {
		if (error instanceof RouterError) return error;
		throw error;
	}
	throw new Error("it was resolved");
}

test.each(["local", "local-any"])("%s is refused while nobody knows what vLLM serves, and vLLM asked", async (name) => {
	const { vllm, catalog } = agent();
	const error = refusal(() => catalog.resolve(name));
	expect([error.errorCode, error.message]).toEqual([
		"upstream_unreachable",
		"vLLM at http://gpu:8001 has not said what it serves: is it running?",
	]);
	await pass(0);
	expect(vllm.asked).toBe(1);
	vllm.models = ["served"];
	await pass(1);
	refusal(() => catalog.resolve(name));
	await pass(0);
	expect(catalog.resolve(name).targets[0]?.model).toBe("served");
});

test("other names go to vLLM all the same", () => {
	const { catalog } = agent();
	expect(catalog.resolve("local/x").targets[0]?.model).toBe("x");
	expect(catalog.resolve("dummy").reason).toBe("built in");
});

test("a catalog that is only made, as a check does, asks nothing", async () => {
	const { vllm } = agent();
	await pass(60_000);
	expect(vllm.asked).toBe(0);
});

test("watching asks every 2 s until vLLM has said what it serves, every 30 s after, and no more once it has ended", async () => {
	const { vllm, catalog } = agent();
	const end = catalog.watch();
	await pass(0);
	await pass(2000);
	expect(vllm.asked).toBe(2);
	vllm.models = ["first"];
	await pass(2000);
	expect(catalog.find("local")?.targets[0]?.model).toBe("first");
	vllm.models = ["second"];
	// One more look sees that it is known.
	await pass(2000);
	expect(vllm.asked).toBe(4);
	await pass(29_000);
	expect(vllm.asked).toBe(4);
	await pass(1000);
	expect(vllm.asked).toBe(5);
	expect(catalog.find("local")?.targets[0]?.model).toBe("second");
	end();
	await pass(300_000);
	expect(vllm.asked).toBe(5);
});
