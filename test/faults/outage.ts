/** An upstream that is away for a while and comes back: a call a second all the while. */
import type { Json } from "../kit/exchange.ts";
import { startFaultUpstream } from "../kit/fault-upstream.ts";
import { neverAnswers, resetsBeforeHeaders } from "../kit/faults.ts";
import type { Send } from "./play.ts";
import { good } from "./rows.ts";

/** How it is away: it resets every connection, or takes every request and says nothing. */
export type Away = "resets" | "hangs";

/** What came of it. Times in s. */
export interface Outage {
	readonly calls: number;
	readonly complete: number;
	/** Requests that the upstream saw while it was away. */
	readonly attempts: number;
	/** From one of the requests that found out whether it was back to the next, at least. */
	readonly probesApart: number;
	/** From its return to the first call that it answered; undefined where there was none. */
	readonly backAfter: number | undefined;
	/** The slowest call. */
	readonly slowest: number;
}

/** How long it is away, and how long it is looked at, s. */
export const AWAY_S = 60;
const WATCHED_S = 100;
/** By then five attempts have failed, or five calls have found it late, and its breaker is open: what comes later finds out whether it is back. */
const OPEN_AFTER_S = { resets: 2.5, hangs: 15 };

/** Starts the upstreams; `play` after the router. */
export function outage(second: number, away: Away) {
	const state = { isAway: true, seen: [] as number[] };
	const gone = startFaultUpstream((connection) => {
		if (!state.isAway) return good(connection);
		state.seen.push(performance.now() / second);
		return (away === "resets" ? resetsBeforeHeaders : neverAnswers)(connection);
	});
	const other = startFaultUpstream(good);
	const name = `outage-${away}`;
	const config: Json = {
		providers: {
			[name]: { type: "vllm", base_url: gone.origin },
			[`${name}-other`]: { type: "vllm", base_url: other.origin },
		},
		models: [{ name, policy: "order", targets: [`${name}/m`, `${name}-other/m`] }],
	};
	return {
		config,
		async play(send: Send): Promise<Outage> {
			const startedAt = performance.now();
			const at = () => (performance.now() - startedAt) / second;
			const timer = setTimeout(() => {
				state.isAway = false;
			}, AWAY_S * second);
			let complete = 0;
			let slowest = 0;
			let backAfter: number | undefined;
			const call = async () => {
				const sentAt = at();
				const answer = await send({ model: name, messages: [{ role: "user", content: "hi" }], stream: true }, {});
				if ((await answer.text()).endsWith("data: [DONE]\n\n")) complete++;
				slowest = Math.max(slowest, at() - sentAt);
				if (answer.headers.get("x-router-provider") === name && !state.isAway) backAfter ??= at() - AWAY_S;
			};
			const calls: Promise<void>[] = [];
			while (at() < WATCHED_S) {
				calls.push(call());
				await Bun.sleep(Math.max(0, calls.length * second - (performance.now() - startedAt)));
			}
			await Promise.all(calls);
			clearTimeout(timer);
			return {
				calls: calls.length,
				complete,
				attempts: state.seen.length,
				probesApart: apart(state.seen, startedAt / second + OPEN_AFTER_S[away]),
				backAfter,
				slowest,
			};
		},
		stop() {
			gone.stop();
			other.stop();
		},
	};
}

function apart(seen: readonly number[], from: number): number {
	const late = seen.filter((time) => time >= from);
	return Math.min(...late.slice(1).map((time, index) => time - late[index]!));
}
