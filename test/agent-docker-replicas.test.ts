/**
 * Replicas of a model on a real Docker Engine, behind a router: one container after the other is killed under load, and every call is whole,
 * byte for byte. ROUTER_TEST_KILLS sets how many are killed with each number of replicas (3).
 */
import { expect } from "bun:test";
import type { ModelView } from "../src/agent/models/model-view.ts";
import { type ChaosCall, callOf, outcomeOf } from "./bench/chaos-calls.ts";
import { type AgentHost, modelOf, startAgentHost } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";
import { random } from "./kit/random.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("docker");

const KILLS = Number(process.env["ROUTER_TEST_KILLS"] ?? 3);
const CLIENTS = 8;
const NAME = "m";
const ARGS = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3"];

/** Which replica of the agent gave the answer that began the stream, or gave the whole one. */
const replicaOf = (headers: Headers) => headers.get("x-router-replica");

describe.each([
	["two processes", 2],
	["two processes", 3],
	["one process", 2],
] as const)("in %s, a model of %d replicas", (how, replicas) => {
	let host: AgentHost;
	let router: Pick<RunningRouter, "url" | "stop">;
	let agent: Pick<RunningRouter, "url" | "output">;
	let stops: (() => unknown)[] = [];

	beforeAll(async () => {
		host = await startAgentHost({ sim: { SIM_SPEED: "1", SIM_PACK: "8" } });
		stops.push(() => host.stop());
		const models = [{ model: "Qwen/Qwen3-0.6B", name: NAME, gpus: 0, replicas, args: ARGS }];
		const config = { cache: { enabled: false }, models: [{ name: "chaos", targets: [`local/${NAME}`] }] };
		if (how === "one process") {
			const both = await host.agent({ args: ["--standalone"], env: { AGENT_PORT: "0" }, models, config });
			const listening = (role: string) =>
				new RegExp(`${role} \\S+ listening on (http://[\\w.:]+)`).exec(both.output())![1]!;
			router = { url: listening("router"), stop: both.stop };
			agent = { url: listening("agent"), output: () => both.output() };
		} else {
			router = await startRouter({ config });
			const own = await host.agent({ models, agent: { router: router.url } });
			stops.push(() => own.stop());
			agent = own;
		}
		stops.push(() => router.stop());
		await allReady();
	}, 90_000);
	afterAll(async () => {
		for (const stop of stops.reverse()) await stop();
		stops = [];
	}, 60_000);

	/** What the agent says of its replicas once all are ready. */
	async function allReady(): Promise<ModelView["replicas"]> {
		let seen: ModelView["replicas"] = [];
		await until(async () => {
			const { data } = (await (await fetch(`${router.url}/agents`)).json()) as {
				data: { models: { replicas?: { state: string }[] }[] }[];
			};
			const known = data[0]?.models[0]?.replicas ?? [];
			seen = (await modelOf(agent, NAME)).replicas;
			return [known, seen].every((all) => all.length === replicas && all.every(({ state }) => state === "ready"));
		}, "all replicas to be ready");
		return seen;
	}

	/** Streams that went on elsewhere, at the router: in one process the agent has metrics of its own. */
	async function resumed(): Promise<number> {
		const text = await (await fetch(`${router.url}/metrics`)).text();
		return [...text.matchAll(/^router_resumes_total\{[^}]*\} (\d+)/gm)].reduce(
			(sum, [, count]) => sum + Number(count),
			0,
		);
	}
	const call = ({ path, body }: ChaosCall) => post(router.url + path, { ...body });

	test("is shared out by chats: each stays at its own replica, and none gets them all", async () => {
		const chats = Array.from({ length: 4 }, (_, chat) => [{ role: "user", content: `Chat ${chat}. `.repeat(300) }]);
		const seen = chats.map(() => new Set<string | null>());
		for (let turn = 0; turn < 4; turn++) {
			const answers = await Promise.all(
				chats.map((messages) =>
					post(`${router.url}/v1/chat/completions`, { model: "chaos", messages, stream: true, max_tokens: 20 }),
				),
			);
			for (const [chat, { status, headers }] of answers.entries()) {
				expect(status).toBe(200);
				seen[chat]!.add(replicaOf(headers));
				chats[chat]!.push({ role: "assistant", content: "Go on." }, { role: "user", content: "More." });
			}
		}
		expect(seen.map(({ size }) => size)).toEqual([1, 1, 1, 1]);
		expect(new Set(seen.flatMap((each) => [...each])).size).toBeGreaterThan(1);
	}, 60_000);

	test(
		"loses one container after the other, and no call: each is whole, byte for byte",
		async () => {
			const draw = random(replicas);
			const wrong: string[] = [];
			let isOver = false;
			let calls = 0;
			const worker = async () => {
				while (!isOver) {
					const each = callOf(calls++, draw);
					const { status, text } = await call(each);
					const [outcome, what] = outcomeOf(each, status, text);
					if (outcome !== "ok") wrong.push(`${each.kind}: ${outcome}: ${what}`);
				}
			};
			const workers = Array.from({ length: CLIENTS }, worker);
			try {
				for (let kill = 0; kill < KILLS; kill++) {
					await allReady();
					const number = kill % replicas;
					let container = "";
					// Calls run there.
					await until(async () => {
						const view = (await modelOf(agent, NAME)).replicas[number]!;
						container = view.container ?? "";
						return view.running > 1;
					}, "calls at the replica");
					await host.engine.docker("kill", container);
					await until(async () => {
						const { container: next, state } = (await modelOf(agent, NAME)).replicas[number]!;
						return next !== undefined && next !== container && state === "ready";
					}, "the replica to be there again");
				}
			} finally {
				isOver = true;
				await Promise.all(workers);
			}
			console.log(
				`${how}, ${replicas} replicas: ${KILLS} kills, ${calls} calls, ${wrong.length} not whole, ` +
					`${await resumed()} resumed`,
			);
			expect(wrong).toEqual([]);
			expect(await resumed()).toBeGreaterThan(0);
			const { data } = (await (await fetch(`${router.url}/agents`)).json()) as { data: { state: string }[] };
			expect(data.map(({ state }) => state)).toEqual(["fresh"]);
		},
		120_000 + KILLS * 20_000,
	);

	test("loses all containers at once, and no call: those that ran go on, the others wait, for the first that is back", async () => {
		const before = (await allReady()).map(({ container }) => container!);
		const draw = random(7);
		// Long enough to be still under way when the containers are gone.
		const streams: ChaosCall[] = [];
		for (let n = 0; streams.length < 6; n++) {
			const each = callOf(n, draw);
			if (each.kind === "long text" || each.kind === "completion") streams.push(each);
		}
		let begun = 0;
		const running = streams.map((each) => {
			let isFirst = true;
			return post(router.url + each.path, { ...each.body }, {}, (text) => {
				if (isFirst && text.includes("data: {")) {
					begun++;
					isFirst = false;
				}
			});
		});
		await until(() => begun === streams.length, "all to have begun");
		await host.engine.docker("kill", ...before);
		const whole = { ...streams[0]!, body: { ...streams[0]!.body, stream: false, stream_options: undefined } };
		const [late, ...answers] = await Promise.all([call(whole), ...running]);
		const outcomes = answers.map(({ status, text }, at) => outcomeOf(streams[at]!, status, text));
		expect(outcomes).toEqual(streams.map(() => ["ok"]));
		expect(late.status).toBe(200);
	}, 60_000);
});
