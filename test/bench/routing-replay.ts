/**
 * How far a replay is from what really happens: the same calls twice through real routers, live under one policy and under another, before three simulated
 * engines with prices of their own; then the first run's ledger replayed by the second's policy. Simulated time passes `speed` times as fast.
 */
import { join } from "node:path";
import type { Policy } from "../../src/routing/route.ts";
import { recordedCall } from "../../src/server/replay/recorded-call.ts";
import { RecordedTraffic } from "../../src/server/replay/recorded-traffic.ts";
import { changeOf, type ReplayReport, replayReport } from "../../src/server/replay/report.ts";
import { replayTraffic } from "../../src/server/replay/simulation.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { random } from "../kit/random.ts";
import { startRouter } from "../kit/router.ts";
import { startSim } from "../kit/vllm-sim-process.ts";
import { words } from "./routing-workloads.ts";

/** Calls a second of simulated time. */
const RATE = 3;
/** The ledger is written twice a second. */
const LEDGER_MS = 2_000;

/** What the engine behind a target is: how fast, and USD a million tokens. The first is the owner's own. */
const ENGINES = [
	{ name: "own", speed: 1, price: { input: 0.2, output: 0.6 } },
	{ name: "writer", speed: 0.6, price: { input: 0.4, output: 0.3 } },
	{ name: "reader", speed: 0.8, price: { input: 0.1, output: 1 } },
] as const;

/** One call that a client makes. */
interface PlannedCall {
	/** From the beginning, ms. */
	readonly at: number;
	readonly content: string;
	readonly maxTokens: number;
}

/** How near a replay came. */
export interface ReplayOutcome {
	readonly was: Policy;
	readonly tried: Policy;
	/** Share of calls at the same target as in the run that really was so. */
	readonly sameTargets: number;
	/** Of the replay, in relation to that run. */
	readonly cost: number;
	readonly medianWait: number;
	/** What the replay says of its own error. */
	readonly stated: ReplayReport["error"];
	readonly calls: number;
	readonly moved: number;
}

/** What is promised. */
export const REPLAY_LIMITS = { sameTargets: 0.95, cost: 0.05, medianWait: 0.25 } as const;

/** Runs the calls under both policies. @param seconds of simulated time */
export async function replayOutcomes(
	seconds: number,
	speed: number,
	source: "source" | "binary",
	policies: readonly [Policy, Policy] = ["fastest", "cheapest"],
): Promise<ReplayOutcome[]> {
	const calls = callsOf(seconds);
	const [one, other] = [
		await liveTraffic(policies[0], calls, speed, source),
		await liveTraffic(policies[1], calls, speed, source),
	];
	return [outcomeOf(one, other, policies), outcomeOf(other, one, [policies[1], policies[0]])];
}

function outcomeOf(
	live: RecordedTraffic,
	really: RecordedTraffic,
	[was, tried]: readonly [Policy, Policy],
): ReplayOutcome {
	const report = replayReport(live, { policy: tried });
	const then = replayReport(really, {});
	// A call is known by its user: its id is another one in each run.
	const targets = new Map(really.calls.map(({ user, target }) => [user, target]));
	const replayed = replayTraffic(live, { policy: tried, isAsked: () => true });
	const same = replayed.filter(({ call, target }) => targets.get(call.user) === target).length;
	return {
		...{ was, tried, sameTargets: same / replayed.length, stated: report.error },
		...{ calls: report.calls.decided, moved: report.calls.moved },
		cost: changeOf({ live: then.cost_usd.live, replay: report.cost_usd.replay }) ?? Number.NaN,
		medianWait: changeOf({ live: then.wait_ms.median.live, replay: report.wait_ms.median.replay }) ?? Number.NaN,
	};
}

/** Twelve applications with a system prompt each, questions of 200 to 3,200 tokens, and answers of 50 to 800 at most. */
function callsOf(seconds: number): PlannedCall[] {
	const { below, pick } = random(19);
	const systems = Array.from({ length: 12 }, (_, app) => `application ${app} `.repeat(pick([50, 150, 300])));
	let at = 0;
	return Array.from({ length: Math.round(seconds * RATE) }, () => {
		at += (-Math.log((1 + below(1e6)) / (1e6 + 1)) / RATE) * 1000;
		const question = words(below, 200 + below(pick([400, 3_000])));
		return { at, content: pick(systems) + question, maxTokens: pick([50, 200, 800]) };
	});
}

/** The ledger of one run. */
async function liveTraffic(
	policy: Policy,
	calls: readonly PlannedCall[],
	speed: number,
	source: "source" | "binary",
): Promise<RecordedTraffic> {
	const sims = await Promise.all(
		ENGINES.map((engine) =>
			startSim({
				args: ["--served-model-name", "m", "--max-model-len", "16384"],
				env: { SIM_SPEED: String(speed * engine.speed), SIM_ANSWER_TOKENS: "24" },
			}),
		),
	);
	const typeOf = (at: number) => (at === 0 ? "vllm" : "openai-compatible");
	const config = {
		server: { workers: 1 },
		providers: Object.fromEntries(
			ENGINES.map(({ name }, at) => [name, { type: typeOf(at), base_url: `${sims[at]!.origin}/v1` }]),
		),
		models: [
			{
				name: "m",
				policy,
				max_wait: `${Math.max(1, Math.round(1_000 / speed))}ms`,
				targets: ENGINES.map(({ name }) => `${name}/m`),
			},
		],
		prices: Object.fromEntries(ENGINES.map(({ name, price }) => [`${name}/*`, price])),
	};
	const router = await startRouter({ source, config, env: { LOG_LEVEL: "error" } });
	try {
		const asked = performance.now();
		await Promise.all(
			calls.map(async ({ at, content, maxTokens }, nth) => {
				await Bun.sleep(Math.max(0, at / speed - (performance.now() - asked)));
				const messages = [{ role: "user", content }];
				const body = { model: "m", messages, max_tokens: maxTokens, user: `call-${nth}`, stream: true };
				const answer = await fetch(`${router.url}/v1/chat/completions`, {
					method: "POST",
					headers: { "content-type": "application/json" },
					body: JSON.stringify(body),
				});
				await answer.text();
			}),
		);
		await router.idle();
		await Bun.sleep(LEDGER_MS);
		const store = sqliteStore(join(router.directory, "data"), (problem) => {
			throw new Error(problem);
		});
		try {
			const { calls: rows } = store.ledger.search({}, { from: "req_", before: "req_~", limit: 1e6, rows: 1e6 });
			return new RecordedTraffic(rows.flatMap((row) => recordedCall(row) ?? []));
		} finally {
			store.close();
		}
	} finally {
		await Promise.all([router.stop(), ...sims.map((sim) => sim.stop())]);
	}
}

/** As text, with what was promised. */
export function replayText(outcomes: readonly ReplayOutcome[]): { readonly text: string; readonly isKept: boolean } {
	const percent = (share: number | null) => (share === null ? "–" : `${(share * 100).toFixed(1)} %`);
	const isNear = ({ sameTargets, cost, medianWait }: ReplayOutcome) =>
		sameTargets >= REPLAY_LIMITS.sameTargets &&
		Math.abs(cost) <= REPLAY_LIMITS.cost &&
		Math.abs(medianWait) <= REPLAY_LIMITS.medianWait;
	const lines = outcomes.map((outcome) => {
		const { was, tried, calls, moved, sameTargets, cost, medianWait, stated } = outcome;
		const found = `targets equal for ${percent(sameTargets)}, cost ${percent(cost)}, median wait ${percent(medianWait)} off what it really was`;
		const told = `it says of itself ${percent(stated.same_targets)}, ${percent(stated.cost)}, ${percent(stated.median_wait)}`;
		return `replay of ${was} by ${tried}, ${calls} calls, ${moved} elsewhere: ${found}; ${told}`;
	});
	// The other way round nothing is promised: who is fastest at a moment is chance.
	const isKept = isNear(outcomes[0]!);
	const limits = `targets ≥ ${percent(REPLAY_LIMITS.sameTargets)}, cost within ${percent(REPLAY_LIMITS.cost)}, median wait within ${percent(REPLAY_LIMITS.medianWait)}`;
	return { text: [...lines, `${isKept ? "ok" : "BROKEN"}: ${limits}`, ""].join("\n"), isKept };
}
