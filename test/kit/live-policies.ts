/**
 * A router that is live in simulated time, before an engine of its own and two vendors: what its ledger has of calls under a policy. The plan, the state and
 * the rows are the router's; how long targets take is this file's, and no replay's.
 */
import { batchOf, EndUsers } from "../../src/accounts/usage/ledger-rows.ts";
import type { Price } from "../../src/accounts/usage/price-book.ts";
import { chargeFor } from "../../src/accounts/usage/rates.ts";
import { explain } from "../../src/routing/explain.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { plan } from "../../src/routing/plan.ts";
import { snapshotOf } from "../../src/routing/plan-snapshot.ts";
import type { Policy, RouteTarget } from "../../src/routing/route.ts";
import type { LedgerCall } from "../../src/store/ledger-batch.ts";
import type { AttemptClosed, CallSettled } from "../../src/telemetry/events.ts";
import { settled } from "./ledger.ts";
import { type Random, random } from "./random.ts";
import { call, replica, route, target } from "./routes.ts";
import { SimulatedTime } from "./simulated-time.ts";
import { HASH } from "./snapshot-hash.ts";

/** A run. */
export interface LiveRun {
	readonly policy: Policy;
	readonly minutes: number;
	/** Of whom chance is in what targets take; calls are the same in every run. */
	readonly seed: number;
	/** Calls a second. */
	readonly rate?: number;
	readonly targets?: readonly RouteTarget[];
	/** A share of calls that are no streams. */
	readonly wholes?: number;
	/** Engines fail every so manyth call there. */
	readonly failsEach?: number;
}

/** Unix time of the first call, ms. */
export const BEGAN = Date.UTC(2026, 7, 1, 9);
/** Characters a token. */
const PER_TOKEN = 4;

const ENGINE_PRICE: Price = { input: 0.2, output: 0.6 };
/** An engine of one's own, a vendor whose answers are dear, and one whose prompts are. */
export const TARGETS: readonly RouteTarget[] = [
	replica("own/m", { price: ENGINE_PRICE }),
	target("writer/m", { price: { input: 0.4, output: 0.3 }, kind: "cloud" }),
	target("reader/m", { price: { input: 0.1, output: 1 }, kind: "cloud" }),
];
/** Of two engines that are equals. */
export const ENGINES: readonly RouteTarget[] = [0, 1].map((at) => replica(`own${at}/m`, { price: ENGINE_PRICE }));

/** What a target takes: prompts one after the other or beside each other, with a spread that is the run's own. */
class Served {
	#freeAt = 0;
	#decoding = 0;
	readonly #had = new Set<string>();

	constructor(
		private readonly id: string,
		private readonly chance: Random,
	) {}

	/** When the first token and the last one are there, ms. */
	take(app: string, system: number, tokens: number, output: number, now: number): { first: number; last: number } {
		const spread = Math.exp(0.25 * this.#normal());
		if (!this.id.startsWith("own")) {
			const [base, each] = this.id.startsWith("writer") ? [420, 11] : [260, 17];
			const first = now + (base + tokens * 0.03) * spread;
			return { first, last: first + output * each * Math.exp(0.1 * this.#normal()) };
		}
		const computed = this.#had.has(app) ? tokens - system : tokens;
		this.#had.add(app);
		const begun = Math.max(now, this.#freeAt);
		this.#freeAt = begun + (12 + computed * 0.1) * (1 + 0.03 * this.#decoding) * Math.exp(0.05 * this.#normal());
		return { first: this.#freeAt, last: this.#freeAt + output * (7 + 0.2 * this.#decoding) };
	}

	decodes(change: number): void {
		this.#decoding += change;
	}

	#normal(): number {
		const uniform = () => (1 + this.chance.below(1e6)) / (1e6 + 1);
		return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
	}
}

/** Has the router answer calls for so long: their rows in the ledger. */
export async function liveRows(run: LiveRun): Promise<LedgerCall[]> {
	const { policy, minutes, seed, rate = 6, targets = TARGETS, wholes = 0, failsEach = Number.POSITIVE_INFINITY } = run;
	const time = new SimulatedTime();
	const state = new LocalRoutingState(() => time.now);
	const chance = random(seed);
	const asks = random(77);
	const servers = new Map(targets.map(({ id }) => [id, new Served(id, chance)]));
	const way = route(targets, { policy, max_wait: 600 });
	const calls: CallSettled[] = [];
	const times: number[] = [];
	const attempts: AttemptClosed[] = [];
	const systems = Array.from({ length: 12 }, (_, app) => `application ${app} `.repeat(asks.pick([200, 400, 600])));
	const count = Math.round(minutes * 60 * rate);
	let at = 0;
	let left = count;
	for (let nth = 0; nth < count; nth++) {
		at += (-Math.log((1 + asks.below(1e6)) / (1e6 + 1)) / rate) * 1000;
		const app = asks.below(systems.length);
		const question = `${nth} ${"q".repeat(100 + asks.below(asks.pick([400, 12_000])))}`;
		const [maxTokens, output, isStream] = [
			asks.pick([50, 200, 800]),
			20 + asks.below(120),
			asks.below(1e3) >= wholes * 1e3,
		];
		const id = callId(at, nth);
		const began = at;
		const open = (failed: readonly string[]): void => {
			const needs = call(systems[app]! + question, { maxTokens, isStream });
			const made = plan(needs, way, state, time.now, () => chance.below(1e6) / 1e6);
			const { id: to, model, provider, price } = made.targets.find((each) => !failed.includes(each.id))!;
			const decision = explain({ model: "m", needs, route: way, plan: made, now: time.now }, 8);
			const snapshot = snapshotOf(made, 8, undefined, HASH);
			const attempt = state.opened(to, isStream, made.work);
			const from = time.now;
			const tokens = { input: Math.ceil(needs.tokens), output };
			const closed = {
				callId: id,
				number: failed.length + 1,
				provider: provider.name,
				target: to,
				beganMs: from - began,
			};
			if (nth % failsEach === failsEach - 1 && failed.length === 0) {
				return void time.after(30, () => {
					attempt.closed({ failure: "overloaded", status: 503 });
					attempts.push({ ...closed, failure: "overloaded", status: 503, ms: 30 });
					open([to]);
				});
			}
			const server = servers.get(to)!;
			const { first, last } = server.take(String(app), systems[app]!.length / PER_TOKEN, tokens.input, output, from);
			time.after(first - from, () => {
				server.decodes(1);
				if (isStream) attempt.firstToken();
			});
			time.after(last - from, () => {
				server.decodes(-1);
				attempt.closed({ status: 200, tokens: output });
				attempts.push({ ...closed, status: 200, ms: last - from });
				const firstTokenMs = isStream ? first - began : undefined;
				const bill = { source: "prices", isEstimated: false, price } as const;
				const ran = { provider: provider.name, target: to, attempts: failed.length + 1, stream: isStream };
				const rest = {
					tokens,
					bill,
					decision,
					snapshot,
					firstTokenMs,
					ms: last - began,
					cost: chargeFor(price!, tokens),
				};
				calls.push(settled({ id, model, requested: model, ...ran, ...rest }));
				times.push(Math.round(BEGAN + time.now));
				left--;
			});
		};
		time.after(at, () => open([]));
	}
	await time.run(() => left === 0);
	return [...batchOf(calls, times, attempts, new EndUsers()).calls];
}

/** The id of a call that came so many ms after the first. */
function callId(at: number, nth: number): string {
	const hex = Math.floor(BEGAN + at)
		.toString(16)
		.padStart(12, "0");
	return `req_${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${nth.toString(16).padStart(12, "0")}`;
}
