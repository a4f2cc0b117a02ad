/** An upstream that is away for a while and comes back: a call a second all the while. */
import type { Json } from "../kit/exchange.ts";
import { startFaultUpstream } from "../kit/fault-upstream.ts";
import { resetsBeforeHeaders } from "../kit/faults.ts";
import type { Send } from "./play.ts";
import { good } from "./rows.ts";

/** What came of it. */
export interface Outage {
	readonly calls: number;
	readonly complete: number;
	/** Requests that the upstream saw while it was away. */
	readonly attempts: number;
	/** From its return to the first call that it answered, s; undefined where there was none. */
	readonly backAfter: number | undefined;
}

/** How long it is away, and how long it is looked at, s. */
export const AWAY_S = 60;
const WATCHED_S = 100;

/** Starts the upstreams; `play` after the router. */
export function outage(second: number) {
	const state = { isAway: true, seen: 0 };
	const gone = startFaultUpstream((connection) => {
		if (!state.isAway) return good(connection);
		state.seen++;
		return resetsBeforeHeaders(connection);
	});
	const other = startFaultUpstream(good);
	const config: Json = {
		providers: {
			outage: { type: "vllm", base_url: gone.origin },
			"outage-other": { type: "vllm", base_url: other.origin },
		},
		models: [{ name: "outage", policy: "order", targets: ["outage/m", "outage-other/m"] }],
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
			let backAfter: number | undefined;
			let calls = 0;
			for (; at() < WATCHED_S; calls++) {
				const answer = await send({ model: "outage", messages: [{ role: "user", content: "hi" }], stream: true }, {});
				if ((await answer.text()).endsWith("data: [DONE]\n\n")) complete++;
				if (answer.headers.get("x-router-provider") === "outage") backAfter ??= at() - AWAY_S;
				await Bun.sleep(Math.max(0, (calls + 1) * second - (performance.now() - startedAt)));
			}
			clearTimeout(timer);
			return { calls, complete, attempts: state.seen, backAfter };
		},
		stop() {
			gone.stop();
			other.stop();
		},
	};
}
