/** Routes and calls for tests of the plan: targets without providers, and a clock that the test winds. */
import type { ModelConfig } from "../../src/config/schema.ts";
import type { Provider } from "../../src/providers/provider.ts";
import { promptOf } from "../../src/routing/affinity.ts";
import { historyIn } from "../../src/routing/history.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { type Plan, plan } from "../../src/routing/plan.ts";
import type { Needs } from "../../src/routing/requirements.ts";
import type { Policy, Route, RouteTarget } from "../../src/routing/route.ts";
import type { RoutingState } from "../../src/routing/target-state.ts";

/** A target of this id. */
export function target(id: string, over: Partial<RouteTarget> = {}): RouteTarget {
	const provider = { name: id.slice(0, id.indexOf("/")) } as Provider;
	return { id, provider, model: id.slice(id.indexOf("/") + 1), ...over };
}

/** A local replica. */
export const replica = (id: string, over: Partial<RouteTarget> = {}) =>
	target(id, { kind: "local", isReplica: true, ...over });

/** A route over these targets, each with its place where none is given. */
export function route(
	targets: readonly RouteTarget[],
	{ policy = "balanced", max_wait }: { policy?: Policy; max_wait?: number } = {},
): Route {
	const alias: ModelConfig = { name: "m", targets: ["x"], policy, ...(max_wait !== undefined && { max_wait }) };
	return { targets: targets.map((each, place) => ({ position: place, ...each })), reason: "test", label: "m", alias };
}

/** A call with this prompt. */
export function call(text = "hello", over: Partial<Needs> = {}): Needs {
	const prompt = promptOf("", [text]);
	return {
		operation: "chat",
		isStream: true,
		features: [],
		characters: text.length,
		leastTokens: text.length / 8,
		tokens: text.length / 4,
		maxTokens: undefined,
		session: undefined,
		conversation: () => 0,
		history: () => historyIn([text]),
		prompt: () => prompt,
		...over,
	};
}

/** A state whose time the test sets. */
export class Clock {
	now = 0;
	readonly state: RoutingState;

	constructor(state: (time: () => number) => RoutingState = (time) => new LocalRoutingState(time)) {
		this.state = state(() => this.now);
	}

	/** The plan at this time. */
	plan(needs: Needs, way: Route, random: () => number = () => 0): Plan {
		return plan(needs, way, this.state, this.now, random);
	}

	/** Its targets' ids, in order. */
	ids(needs: Needs, way: Route, random?: () => number): string[] {
		return this.plan(needs, way, random).targets.map(({ id }) => id);
	}

	/** A streamed attempt that gave its first token after so long, and ended well then. */
	served(id: string, ms: number, needs: Needs = call()): void {
		const attempt = this.state.opened(id, true, { prompt: needs.prompt(), session: needs.session });
		this.now += ms;
		attempt.firstToken();
		attempt.closed({});
	}

	/** So many attempts that the target failed at. */
	failed(id: string, count: number): void {
		for (let at = 0; at < count; at++) this.state.opened(id, true).closed({ failure: "transport" });
	}
}
