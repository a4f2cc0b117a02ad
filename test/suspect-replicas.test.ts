/** A call that an agent's engine died of, made again while that one is started; and one that dies as soon as it is back. */
import { afterEach, expect, test } from "bun:test";
import type { ModelReport, ModelState } from "../src/protocol/agent.ts";
import { type FakeAgent, type FakeCall, startFakeAgent } from "./kit/fake-agent.ts";
import { deathsOf } from "./kit/killed-engines.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const HEADER = "x-router-replica";
const qwen = (...states: ModelState[]): ModelReport => ({
	name: "qwen",
	state: states.includes("ready") ? "ready" : "starting",
	load: "always",
	...(states.length > 1 && { replicas: states.map((state, replica) => ({ replica, state })) }),
});
const died = () => Response.json({ error: { message: "its engine died", code: "engine_died" } }, { status: 503 });

/** A call that has come to the agent, and is not answered. */
interface Held {
	readonly replica: string | null;
	readonly content: string;
	/** Without a response: as the agent answers anything. */
	answer(response?: Response): void;
}

const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
	for (const each of running.splice(0)) await each.stop();
});

/** A router whose only agent holds the calls of this model. */
async function held(model: ModelReport) {
	const router = await startRouter({ config: { cache: { enabled: false } } });
	const calls: Held[] = [];
	const agent = startFakeAgent({
		router: router.url,
		models: [model],
		before(body: FakeCall, headers) {
			const { promise, resolve } = Promise.withResolvers<Response | undefined>();
			const { content } = body.messages[0]!;
			calls.push({ replica: headers.get(HEADER), content, answer: resolve });
			return promise;
		},
	});
	running.push(agent, router);
	await until(() => agent.link?.state.state === "joined");
	const next = async (content: string) => {
		await until(() => calls.some((each) => each.content === content), `a call of ${content}`);
		return calls.splice(
			calls.findIndex((each) => each.content === content),
			1,
		)[0]!;
	};
	return { router, agent, next };
}

async function say({ url }: RunningRouter, content: string, signal?: AbortSignal) {
	const messages = [{ role: "user", content }];
	const answer = await fetch(`${url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ model: "local/qwen", messages }),
		...(signal && { signal }),
	});
	const { error } = (await answer.json()) as { error?: { code?: string } };
	return [answer.status, error?.code];
}

/** The agent says this of its model, and the router has heard it. */
async function reports(router: RunningRouter, agent: FakeAgent, model: ModelReport) {
	agent.report.models = [model];
	agent.link!.changed();
	await until(async () => {
		const { data } = (await (await fetch(`${router.url}/agents`)).json()) as { data: { models: ModelReport[] }[] };
		const [known] = data[0]!.models;
		const states = (each: ModelReport) => JSON.stringify([each.state, each.replicas?.map(({ state }) => state)]);
		return states(known!) === states(model);
	}, "the report");
}

/** Kills what it runs at, and leaves before it is tried there again. Resolves with the replica. */
async function killAndLeave({ router, next }: Awaited<ReturnType<typeof held>>, content: string) {
	const client = new AbortController();
	const left = say(router, content, client.signal).catch(() => "left");
	const first = await next(content);
	first.answer(died());
	await next(content);
	client.abort();
	expect(await left).toBe("left");
	return Number(first.replica);
}

test("a call made again while the replica that died of it is no target waits for that one, and runs there", async () => {
	const setup = await held(qwen("ready", "ready"));
	const { router, agent, next } = setup;
	const lost = await killAndLeave(setup, "x");
	await reports(router, agent, lost === 0 ? qwen("starting", "ready") : qwen("ready", "starting"));
	const again = say(router, "x");
	const trial = await next("x");
	expect(trial.replica).toBe(String(lost));
	trial.answer();
	expect(await again).toEqual([200, undefined]);
});

test("so does one made again while none of the replicas is ready", async () => {
	const setup = await held(qwen("ready", "ready"));
	const { router, agent, next } = setup;
	const lost = await killAndLeave(setup, "x");
	await reports(router, agent, qwen("starting", "starting"));
	const again = say(router, "x");
	const trial = await next("x");
	expect(trial.replica).toBe(String(lost));
	trial.answer(died());
	expect(await again).toEqual([422, "poisonous_request"]);
});

test("a call that an engine dies of as soon as its agent says that it is back may be the cause, and is counted", async () => {
	const setup = await held(qwen("ready"));
	const { router, agent, next } = setup;
	await killAndLeave(setup, "x");
	await reports(router, agent, qwen("starting"));
	await reports(router, agent, qwen("ready"));
	const call = say(router, "y");
	(await next("y")).answer(died());
	(await next("y")).answer(died());
	expect(await call).toEqual([422, "poisonous_request"]);
	expect(await deathsOf(router)).toEqual([3]);
});
