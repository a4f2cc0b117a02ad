/** What `plan` costs with 100 replicas that remember 10,000 blocks each, and what its snapshot for the ledger does: `make bench-routing` prints it. */
import type { Provider } from "../../src/providers/provider.ts";
import { BLOCK, NO_BLOCKS, promptOf } from "../../src/routing/affinity.ts";
import { historyIn } from "../../src/routing/history.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { plan } from "../../src/routing/plan.ts";
import { snapshotOf } from "../../src/routing/plan-snapshot.ts";
import type { Needs } from "../../src/routing/requirements.ts";
import type { Route, RouteTarget } from "../../src/routing/route.ts";
import { random } from "../kit/random.ts";
import { HASH } from "../kit/snapshot-hash.ts";
import { median } from "./measure.ts";

const TARGETS = 100;
const BLOCKS = 10_000;
/** 16,384 characters: 4,000 tokens. */
const PROMPT_BLOCKS = 64;
const BATCHES = 21;
const BATCH = 1_000;

/** One kind of prompt, and what its plan took. */
export interface PlanCost {
	readonly name: string;
	readonly micros: number;
}

/**
 * Measures it for prompts that no replica knows, that some know in part and that all know whole.
 * @param isReported what they know their agents report, besides what they were given
 */
export function planCosts(isReported = false): PlanCost[] {
	const { below } = random(7);
	const state = new LocalRoutingState(() => 0);
	const targets = Array.from({ length: TARGETS }, (_, at): RouteTarget => {
		const id = `local/gpu-${at}/m`;
		return { id, provider: {} as Provider, model: "m", tier: "targets", kind: "local", position: 0, isReplica: true };
	});
	const route: Route = { targets, reason: "agents", label: "m" };
	const shared = text(below, PROMPT_BLOCKS);
	const partly = text(below, PROMPT_BLOCKS);
	const give = (id: string, content: string) => {
		const prompt = promptOf("", [content]);
		state.opened(id, true, { prompt }).closed({});
		if (isReported) state.reported(id, { isAll: false, added: prompt.blocks, removed: NO_BLOCKS });
	};
	for (const [at, { id }] of targets.entries()) {
		for (let block = 0; block < BLOCKS; block += 100) give(id, text(below, 100));
		give(id, shared);
		if (at % 3 === 0) give(id, partly.slice(0, below(PROMPT_BLOCKS) * BLOCK));
	}
	const cost = (name: string, content: string): PlanCost => {
		const needs = needsOf(content);
		const micros = microsOf(() => plan(needs, route, state, 0, Math.random));
		return { name: isReported ? `${name}, as agents report` : name, micros };
	};
	return [
		cost("a prompt that none knows", text(below, PROMPT_BLOCKS)),
		cost("one that a third knows in part", partly),
		cost("one that all know", shared),
	];
}

/** What the snapshot of a plan costs, besides the plan: of four vendors, and of eight replicas and a prompt of 16,384 characters. */
export function snapshotCosts(): PlanCost[] {
	const { below } = random(7);
	const needs = needsOf(text(below, PROMPT_BLOCKS));
	const state = new LocalRoutingState(() => 0);
	const costOf = (name: string, count: number, facts: Partial<RouteTarget>): PlanCost => {
		const targets = Array.from({ length: count }, (_, position): RouteTarget => {
			return { id: `a${position}/m`, provider: {} as Provider, model: "m", tier: "targets", position, ...facts };
		});
		const made = plan(needs, { targets, reason: "models: m", label: "m" }, state, 0, Math.random);
		return { name, micros: microsOf(() => snapshotOf(made, 8, undefined, HASH)) };
	};
	return [
		costOf("four vendors", 4, { kind: "cloud", price: { input: 0.25, output: 2, cached: 0.025 } }),
		costOf("eight replicas", 8, { kind: "local", isReplica: true, price: { input: 0, output: 0 } }),
	];
}

/** CPU time of one, µs: other processes use this machine, too. */
function microsOf(once: () => unknown): number {
	for (let at = 0; at < BATCH * 4; at++) once();
	const batches = Array.from({ length: BATCHES }, () => {
		const before = process.cpuUsage();
		for (let at = 0; at < BATCH; at++) once();
		const { user, system } = process.cpuUsage(before);
		return (user + system) / BATCH;
	});
	return median(batches);
}

function needsOf(content: string): Needs {
	const prompt = promptOf("", [content]);
	const { characters } = prompt;
	return {
		operation: "chat",
		isStream: true,
		features: [],
		characters,
		leastTokens: characters / 8,
		tokens: characters / 4,
		maxTokens: undefined,
		session: undefined,
		conversation: () => 0,
		history: () => historyIn([content]),
		prompt: () => prompt,
	};
}

function text(below: (limit: number) => number, blocks: number): string {
	let content = "";
	for (let at = 0; at < blocks; at++) content += String(below(2 ** 31)).padEnd(BLOCK, "abcdefghij");
	return content;
}
