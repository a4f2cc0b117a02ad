/** Routers that keep limits together in a real Redis, for the tests of what they let in. */
import type { LimitDecision, Reservation } from "../../src/accounts/limits/limiter.ts";
import { RedisLimiter } from "../../src/accounts/limits/redis-limiter.ts";
import { SlidingWindowLimiter } from "../../src/accounts/limits/sliding-window.ts";
import type { Needing } from "./needing.ts";
import { type RedisServer, startRedis } from "./redis.ts";
import { type Connected, connectRedis } from "./shared-redis.ts";

/** Two routers of one Redis. */
export interface LimitingRouters<Router> {
	readonly server: RedisServer;
	readonly routers: readonly [Router, Router];
	/** Resolves once Redis has done all that the routers sent before. */
	done(): Promise<unknown>;
}

/** What a router's limiter is made of: what it has spent itself, which the others have not heard of yet. */
export type Spent = (key: string, period: string) => number;

/** A connected router's limiter. @param spent nothing unless told */
export const limiterOf = (
	{ redis }: Connected,
	index: number,
	spent: Spent = () => 0,
	options: ConstructorParameters<typeof RedisLimiter>[4] = {},
): RedisLimiter =>
	new RedisLimiter(
		redis,
		new SlidingWindowLimiter(),
		`router-${index}`,
		{ replica: `replica-${index}`, spent },
		options,
	);

/** Starts Redis with the file's first test, and has two routers connect to it, empty, before each. */
export function limitingRouters<Router>(
	{ afterAll, afterEach, beforeAll, beforeEach }: Needing,
	make: (connected: Connected, index: number) => Router,
): LimitingRouters<Router> {
	let server: RedisServer;
	let connected: Connected[];
	let routers: [Router, Router];
	beforeAll(async () => {
		server = await startRedis();
	});
	afterAll(() => server.stop());
	beforeEach(async () => {
		await server.empty();
		// The deadline is not what is tested here, and the machine may be busy.
		connected = [0, 1].map(() => connectRedis(server.url, { timeoutMs: 5000 }));
		await Promise.all(connected.map((each) => each.up()));
		routers = [make(connected[0]!, 0), make(connected[1]!, 1)];
	});
	afterEach(() => {
		for (const each of connected) each.close();
	});
	return {
		get server() {
			return server;
		},
		get routers() {
			return routers;
		},
		done: () => Promise.all(connected.map(({ redis }) => redis.run((client) => client.ping()))),
	};
}

/** What a decision reserved. Throws where it refused. */
export function reservationOf(decision: LimitDecision): Reservation {
	if (!decision.isAllowed) throw new Error("it was refused");
	return decision.reservation;
}

/** When a refused call may come again, ms. Throws where it was let in. */
export function retryOf(decision: LimitDecision): number {
	if (decision.isAllowed) throw new Error("it was let in");
	return decision.retryAfterMs;
}
