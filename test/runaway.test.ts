/** Agents that repeat themselves, as the official clients run them: warned of by default, slowed down or stopped where the rule says so. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { generateText, jsonSchema, stepCountIs, tool } from "ai";
import OpenAI from "openai";
import type { Json, Loose } from "./kit/exchange.ts";
import { googleClient } from "./kit/google-client.ts";
import { type LoopingModel, startLoopingModel } from "./kit/looping-model.ts";
import { CLIENT_KEY, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const ADMIN = "admin-key-of-the-test";
const STOPPED = "key-of-agents-that-are-stopped";
const POLLER = "key-of-the-poller";
/** Rounds of one machine follow at once; those of a poller wait. */
const QUICK = { pause: "10m" };

let model: LoopingModel;
let router: RunningRouter;
/** The key that agents call with. */
let key = CLIENT_KEY;
/** Two that the official clients call: where rounds of a machine follow at once, and where each is after a pause. */
let quick: RunningRouter;
let slow: RunningRouter;
const started: RunningRouter[] = [];
const start = async (runaway: Json, keys: readonly Json[] = [{ name: "agents", key: CLIENT_KEY }]) => {
	const config = { runaway, keys, providers: model.providers, admin: { keys: [{ name: "ops", key: ADMIN }] } };
	router = await startRouter({ config });
	started.push(router);
	return router;
};
beforeAll(async () => {
	model = startLoopingModel();
	const keys = [
		{ name: "agents", key: CLIENT_KEY },
		{ name: "stopped", key: STOPPED, runaway: "stop" },
	];
	quick = await start(QUICK, keys);
	slow = await start({ pause: "1ms" }, keys);
	started.length = 0;
}, 60_000);
beforeEach(() => {
	(model.received as Loose[]).length = 0;
	model.plan = () => ["look", '{"path":"/tmp/a"}'];
});
afterEach(async () => {
	for (const each of started.splice(0)) await each.stop();
});
afterAll(async () => {
	for (const each of [quick, slow, model]) await each.stop();
});

const PARAMETERS = { type: "object", properties: { path: { type: "string" } } } as const;
const runaways = async () => {
	const answer = await fetch(`${router.url}/admin/runaways`, { headers: { authorization: `Bearer ${ADMIN}` } });
	return ((await answer.json()) as { data: Loose[] }).data;
};

/** What a tool gives, by the number of its call, from 0. */
type Tool = (call: number) => string | Promise<string>;
/** Runs until the model is done, ten turns at most. Rejects with what the client throws. */
type Agent = (look: Tool) => Promise<unknown>;

const counted = (look: Tool) => {
	let calls = 0;
	return () => look(calls++);
};
const openai = (maxRetries = 2) => new OpenAI({ baseURL: `${router.url}/v1`, apiKey: key, maxRetries });
const messages = [{ role: "user" as const, content: "Mend it." }];

const AGENTS: Readonly<Record<string, Agent>> = {
	"openai's runTools": (look) => {
		const run = {
			type: "function" as const,
			function: { name: "look", description: "", parameters: PARAMETERS, function: counted(look), parse: JSON.parse },
		};
		return openai()
			.chat.completions.runTools({ model: "box/m", messages, tools: [run] }, { maxChatCompletions: 10 })
			.finalContent();
	},
	"openai's runTools, streamed": (look) => {
		const run = {
			type: "function" as const,
			function: { name: "look", description: "", parameters: PARAMETERS, function: counted(look), parse: JSON.parse },
		};
		return openai()
			.chat.completions.runTools({ model: "box/m", messages, tools: [run], stream: true }, { maxChatCompletions: 10 })
			.finalContent();
	},
	"anthropic's toolRunner": async (look) => {
		const client = new Anthropic({ baseURL: router.url, apiKey: key, maxRetries: 2 });
		const run = betaTool({ name: "look", description: "", inputSchema: PARAMETERS, run: counted(look) });
		return client.beta.messages.toolRunner({
			model: "box/m",
			max_tokens: 100,
			messages,
			tools: [run],
			max_iterations: 10,
		});
	},
	"the AI SDK by responses": (look) => {
		const run = tool({ description: "", inputSchema: jsonSchema(PARAMETERS), execute: counted(look) });
		const provider = createOpenAI({ baseURL: `${router.url}/v1`, apiKey: key });
		return generateText({
			model: provider("box/m"),
			prompt: "Mend it.",
			tools: { look: run },
			stopWhen: stepCountIs(10),
		});
	},
	"google's client": (look) => {
		const run = counted(look);
		const callable = {
			tool: async () => ({
				functionDeclarations: [{ name: "look", description: "", parametersJsonSchema: PARAMETERS }],
			}),
			callTool: async (calls: readonly { id?: string; name?: string }[]) =>
				Promise.all(
					calls.map(async ({ id, name }) => ({
						functionResponse: { ...(id && { id }), ...(name && { name }), response: { output: await run() } },
					})),
				),
		};
		return googleClient(router.url, key).models.generateContent({
			model: "box/m",
			contents: "Mend it.",
			config: { tools: [callable], automaticFunctionCalling: { maximumRemoteCalls: 10 } },
		});
	},
};

describe.each(Object.entries(AGENTS))("%s", (_, agent) => {
	const counts = (action: string) => router.metric("router_runaway_calls_total", { kind: "loop", action });

	test("is stopped at its third round where the rule says so, and does not try again", async () => {
		[router, key] = [quick, STOPPED];
		const before = await counts("stop");
		const error = await agent(() => "no such file").then(
			() => undefined,
			(thrown: Error) => thrown,
		);
		expect(String(error?.message)).toContain("This agent repeats itself");
		expect(model.received).toHaveLength(3);
		expect((await counts("stop")) - before).toBe(1);
		const [found] = await runaways();
		expect(found).toMatchObject({ kind: "loop", key: "stopped", action: "stop", model: "box/m", rounds: 3 });
	});

	test("is warned of by default, and goes on", async () => {
		[router, key] = [quick, CLIENT_KEY];
		const before = await counts("warn");
		await agent(() => "no such file");
		expect(model.received.length).toBeGreaterThan(8);
		expect((await counts("warn")) - before).toBe(model.received.length - 3);
		await router.printed(/An agent repeats itself/);
		const [found] = await runaways();
		expect(found).toMatchObject({ kind: "loop", key: "agents", action: "warn", rounds: model.received.length - 1 });
	});

	test("is none where the tool says something else each time, or is asked something else", async () => {
		[router, key] = [quick, STOPPED];
		await agent((call) => `${call} %`);
		expect(model.received.length).toBeGreaterThan(8);
		(model.received as Loose[]).length = 0;
		model.plan = (call) => ["look", JSON.stringify({ path: `/tmp/${call}` })];
		await agent(() => "no such file");
		expect(model.received.length).toBeGreaterThan(8);
	});

	test("is none where the tool waits before it gives the same again, as pollers do", async () => {
		[router, key] = [slow, STOPPED];
		await agent(async () => {
			await Bun.sleep(20);
			return "still running";
		});
		expect(model.received.length).toBeGreaterThan(8);
		expect(await runaways()).toEqual([]);
	});
});

const result = (id: string) => [
	{
		role: "assistant",
		content: null,
		tool_calls: [{ id, type: "function", function: { name: "look", arguments: "{}" } }],
	},
	{ role: "tool", tool_call_id: id, content: "no such file" },
];
const TOOLS = [{ type: "function", function: { name: "look", parameters: PARAMETERS } }];
const history = (rounds: number) => ({
	model: "box/m",
	tools: TOOLS,
	messages: [...messages, ...Array.from({ length: rounds }, (_, at) => result(`call_${at}`)).flat()],
});
const send = (rounds: number, headers: Record<string, string> = {}) =>
	post(`${router.url}/v1/chat/completions`, history(rounds), headers);

test("equal samples of one history are no circle, however many", async () => {
	await start({ loops: "stop", ...QUICK });
	const answers = await Promise.all(Array.from({ length: 8 }, () => send(2, { "x-session-id": "one" })));
	expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
	expect(answers.map(({ headers }) => headers.get("x-router-runaway"))).toEqual(Array(8).fill(null));
});

test("the answer to a circle's call says so, and the list names its session and nothing that was said", async () => {
	await start(QUICK);
	const said: (string | null)[] = [];
	for (const rounds of [1, 2, 3, 4])
		said.push((await send(rounds, { "x-session-id": "ses_1" })).headers.get("x-router-runaway"));
	expect(said).toEqual([null, null, "loop; rounds=3; action=warn", "loop; rounds=4; action=warn"]);
	const streamed = await post(
		`${router.url}/v1/chat/completions`,
		{ ...history(5), stream: true },
		{ "x-session-id": "ses_1" },
	);
	expect(streamed.headers.get("x-router-runaway")).toBe("loop; rounds=5; action=warn");
	const text = JSON.stringify(await runaways());
	expect(text).toContain('"session":"ses_1"');
	expect(text + router.output()).not.toContain("no such file");
});

test("a name or an id of a call that is no text makes no fault of the router's, twice in a history", async () => {
	await start(QUICK);
	const odd = { toString: 1, valueOf: 1 };
	const round = [
		{ role: "assistant", content: null, function_call: { name: odd, arguments: "{}" } },
		{ role: "function", name: "look", content: "no" },
	];
	const chat = { model: "box/m", tools: TOOLS, messages: [...messages, ...round, ...round] };
	const shell = [
		{ type: "local_shell_call", call_id: odd, action: { type: "exec", command: ["ls"], arguments: "{}" } },
		{ type: "local_shell_call_output", call_id: "c", output: "no" },
	];
	const input = [{ role: "user", content: "Mend it." }, ...shell, ...shell];
	const look = { type: "function", name: "look", parameters: PARAMETERS };
	const response = { model: "box/m", input, tools: [look] };
	const statuses = [
		(await post(`${router.url}/v1/chat/completions`, chat)).status,
		(await post(`${router.url}/v1/responses`, response)).status,
	];
	expect(statuses).toEqual([200, 200]);
	expect(router.output()).not.toContain("the router");
});

test("a key's own rule counts before the router's, and another key's circle is its own", async () => {
	const keys = [
		{ name: "agents", key: CLIENT_KEY, runaway: "stop" },
		{ name: "poller", key: POLLER, runaway: "off" },
	];
	await start({ loops: "warn", ...QUICK }, keys);
	const poller = { authorization: `Bearer ${POLLER}` };
	for (const rounds of [1, 2, 3, 4]) expect((await send(rounds, poller)).headers.get("x-router-runaway")).toBeNull();
	expect([(await send(2)).status, (await send(3)).status]).toEqual([200, 400]);
});

test("one that is slowed down waits before its call is made, and still gets its answer", async () => {
	await start({ loops: "slow", ...QUICK });
	await send(2);
	const slowed = await send(3);
	expect([slowed.status, slowed.headers.get("x-router-runaway")]).toEqual([200, "loop; rounds=3; action=slow"]);
	const seconds = await router.metric("router_request_duration_seconds_sum");
	expect(seconds).toBeGreaterThan(1);
	// What it waited for is none of the router's own time.
	expect(Number(slowed.headers.get("x-router-overhead-ms")) / 1_000).toBeLessThan(seconds - 0.9);
});

test("one that is slowed down takes no place of other calls while it waits", async () => {
	await start({ loops: "slow", ...QUICK }, [{ name: "agents", key: CLIENT_KEY, concurrency: 1, rpm: 100 }]);
	await send(2);
	const slowed = send(3);
	await until(
		async () => (await router.metric("router_runaway_calls_total", { kind: "loop", action: "slow" })) === 1,
		"a call that waits",
	);
	expect((await send(1)).status).toBe(200);
	const { status, headers } = await slowed;
	expect([status, headers.get("x-router-runaway")]).toEqual([200, "loop; rounds=3; action=slow"]);
	expect(headers.get("x-ratelimit-limit-requests")).toBe("100");
});

test("rounds, and what is done, are as the configuration says; nonsense is refused by name", async () => {
	await start({ loops: "stop", rounds: 5, ...QUICK });
	const statuses: number[] = [];
	for (const rounds of [2, 3, 4, 5]) statuses.push((await send(rounds)).status);
	expect(statuses).toEqual([200, 200, 200, 400]);
	await router.stop();
	const refused = await startRouter({ config: { runaway: { loops: "kill" } } }).then(
		() => "started",
		(error: Error) => error.message,
	);
	expect(refused).toContain("runaway.loops");
});
