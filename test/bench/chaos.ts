/**
 * `make chaos`: load over four simulated vLLM replicas while a script kills, freezes, hangs, slows, restarts and cuts them at random, a third of the
 * calls each of OpenAI's chats, of Anthropic's messages and of OpenAI's responses. Every answer is compared with the one that it must be. Exits 1 where a call failed, or its answer was cut short, too long or wrong, or its tokens were counted otherwise. The replicas pack
 * one to eight tokens into a chunk, as vLLM does where it is busy.
 *
 *     bun test/bench/chaos.ts [--source]
 *
 * CHAOS_MINUTES (10), CHAOS_CLIENTS (12) and CHAOS_SEED (1) set how long, how many at once, and which misfortunes. At each moment one
 * replica at least is left alone, but for cuts. With CHAOS_WORKERS (1) above 1 the router, from source, has so many worker threads, and every ten
 * seconds one of them ends (`worker-ends.ts`). With CHAOS_AGENTS (0) above 0 the load runs over so many agents instead, whose models' containers,
 * processes and ways suffer, and whose model is rolled meanwhile (`chaos-agents.ts`); with CHAOS_ROUTERS (1) above 1 through so many routers of one
 * Redis, which agents find behind one address.
 */
import { FAILURES } from "../../src/providers/failure.ts";
import { type Balancer, startBalancer } from "../kit/balancer.ts";
import { random } from "../kit/random.ts";
import { startRedis } from "../kit/redis.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";
import { ChaosAgents } from "./chaos-agents.ts";
import { type CallOutcome, type ChaosCall, callOf, DIALECTS, followUp, outcomeOf } from "./chaos-calls.ts";
import type { ChaosDialect } from "./chaos-dialects.ts";
import type { ChaosFleet } from "./chaos-fleet.ts";
import { ChaosReplicas } from "./chaos-replicas.ts";
import { callBooks, ENDED_WORKERS, type MadeCall, WorkerEnds } from "./worker-ends.ts";

/** Of the whole time is spent without misfortune, before; as much for the replicas by themselves. */
const CALM_S = 15;
/** Longest and shortest pause between two misfortunes, ms. */
const PAUSE_MS = [200, 2200] as const;

const number = (name: string, otherwise: number) => {
	const value = Number(process.env[name] ?? otherwise);
	if (!(value > 0) && value !== otherwise) throw new Error(`chaos: ${name} must be a number above 0`);
	return value;
};
const minutes = number("CHAOS_MINUTES", 10);
const clients = number("CHAOS_CLIENTS", 12);
const seed = number("CHAOS_SEED", 1);
const workers = number("CHAOS_WORKERS", 1);
const agents = number("CHAOS_AGENTS", 0);
const count = number("CHAOS_ROUTERS", 1);
if (count > 1 && workers > 1)
	throw new Error("chaos: CHAOS_WORKERS ends workers of one router: leave out CHAOS_ROUTERS");
const source = process.argv.includes("--source") ? "source" : "binary";
/** The ends of workers, where there are several; and the calls of which they have to give an account. */
let ends: WorkerEnds | undefined;
const made: MadeCall[] = [];

/** What befell the fleet, and when: said of a call that went wrong. */
const events: { readonly at: number; readonly what: string }[] = [];
const note = (what: string) => events.push({ at: performance.now(), what });
const time = (ms: number) => `${ms < 0 ? "-" : "+"}${Math.abs(ms / 1000).toFixed(2)} s`;

/** What a while of load gave. */
class Tally {
	calls = 0;
	readonly verdicts = new Map<CallOutcome, number>();
	/** To the first event, of streams, ms. */
	readonly first: number[] = [];
	/** What the router says it took itself, ms. */
	readonly overhead: number[] = [];
	/** The first calls that went wrong, by their users, and what befell the fleet meanwhile. */
	readonly examples = new Map<string, string[]>();
	wrongs = 0;
	/** Calls that broke off with their worker, and are none of these; their clients made others. */
	resets = 0;
	/** Calls of each dialect, and those of them that took several attempts. */
	readonly dialects = new Map<ChaosDialect, { calls: number; again: number }>();
	/** The longest that a client heard nothing inside a stream, ms. */
	longestGapMs = 0;

	count(verdict: CallOutcome): number {
		return this.verdicts.get(verdict) ?? 0;
	}

	add(
		user: string,
		call: ChaosCall,
		[verdict, what]: readonly [CallOutcome, string?],
		startedAt: number,
		attempts = 1,
	): void {
		this.calls++;
		const of = this.dialects.get(call.dialect) ?? { calls: 0, again: 0 };
		this.dialects.set(call.dialect, { calls: of.calls + 1, again: of.again + (attempts > 1 ? 1 : 0) });
		this.verdicts.set(verdict, this.count(verdict) + 1);
		if (verdict === "ok" || verdict === "refused" || this.wrongs++ >= 20) return;
		const ms = Math.round(performance.now() - startedAt);
		const befell = events.filter(({ at }) => at > startedAt - 3000);
		this.examples.set(user, [
			`${verdict}, ${call.kind}, after ${ms} ms: ${what}`,
			...befell.map((each) => `    ${time(each.at - startedAt)} ${each.what}`),
		]);
	}
}

/**
 * A call under which two engines died is refused, since nobody can tell that neither has died of it: that is no failure where the script has let
 * two die while it was under way.
 */
function isDueRefusal(status: number, text: string, startedAt: number): boolean {
	const deaths = events.filter(({ at, what }) => at >= startedAt && what.endsWith(": engine dies"));
	return status === 422 && text.includes("An engine died of this call twice") && deaths.length >= 2;
}

/** What a stream says of its attempts behind its end, and an answer in a header. */
const SUMMARY = /^: router \{.*"attempts":(\d+)/m;

/** Makes a call. @returns the one that a client makes with its answer */
async function send(origin: string, model: string, call: ChaosCall, tally: Tally): Promise<ChaosCall | undefined> {
	const startedAt = performance.now();
	const user = `call-${made.length}`;
	const at = made.push({ user, came: "answer" }) - 1;
	const broken = () => {
		made[at] = { user, came: "reset" };
		tally.resets++;
		return undefined;
	};
	try {
		const answer = await fetch(origin + call.path, {
			method: "POST",
			headers: { "content-type": "application/json", "x-chaos-user": user },
			body: JSON.stringify({ ...call.body, model }),
		});
		const overhead = answer.headers.get("x-router-overhead-ms");
		if (overhead !== null) tally.overhead.push(Number(overhead));
		const decoder = new TextDecoder();
		let text = "";
		let lastAt = startedAt;
		for await (const bytes of answer.body ?? []) {
			const now = performance.now();
			if (text === "" && call.body.stream) tally.first.push(now - startedAt);
			else tally.longestGapMs = Math.max(tally.longestGapMs, now - lastAt);
			lastAt = now;
			text += decoder.decode(bytes, { stream: true });
		}
		const outcome: readonly [CallOutcome, string?] = isDueRefusal(answer.status, text, startedAt)
			? ["refused"]
			: outcomeOf(call, answer.status, text);
		// Cut short; or Bun's own answer in the place of a thread that is about to end.
		const isBroken = outcome[0] === "truncated" || (answer.status === 503 && text === "");
		if (isBroken && ends?.wasUnder(startedAt)) return broken();
		const attempts = SUMMARY.exec(text)?.[1] ?? answer.headers.get("x-router-attempts") ?? 1;
		tally.add(user, call, outcome, startedAt, Number(attempts));
		return outcome[0] === "ok" ? followUp(call, text) : undefined;
	} catch (error) {
		if (ends?.wasUnder(startedAt)) return broken();
		tally.add(user, call, ["failed", String(error)], startedAt);
		return undefined;
	}
}

/** Load until `isOver`, over these in turn. */
async function load(
	origins: readonly string[],
	model: string,
	isOver: () => boolean,
	from: number,
	dialects: readonly ChaosDialect[] = DIALECTS,
): Promise<Tally> {
	const tally = new Tally();
	let n = from;
	const draw = random(seed + from);
	await Promise.all(
		Array.from({ length: clients }, async () => {
			while (!isOver()) {
				const origin = origins[n % origins.length]!;
				let call: ChaosCall | undefined = callOf(n++, draw, dialects);
				while (call) {
					call = await send(origin, model, call, tally);
					await Bun.sleep(draw.below(100));
				}
			}
		}),
	);
	return tally;
}

/** Misfortune until `isOver`; resolves when all that was done is undone. */
async function misfortune(fleet: ChaosFleet, isOver: () => boolean): Promise<Map<string, number>> {
	const draw = random(seed);
	const done = new Map<string, number>();
	const running = new Set<Promise<unknown>>();
	while (!isOver()) {
		await Bun.sleep(PAUSE_MS[0] + draw.below(PAUSE_MS[1] - PAUSE_MS[0]));
		const mishap = await fleet.befall(draw);
		if (!mishap) continue;
		const { who, what, over } = mishap;
		done.set(what, (done.get(what) ?? 0) + 1);
		note(`${who}: ${what}`);
		const suffering = over.then((wasDone) => {
			note(`${who}: well again after ${what}`);
			if (!wasDone) done.set(what, done.get(what)! - 1);
		});
		const settled = suffering.finally(() => running.delete(settled));
		running.add(settled);
	}
	fleet.end();
	await Promise.all(running);
	return done;
}

const after = (seconds: number) => {
	const endsAt = performance.now() + seconds * 1000;
	return () => performance.now() > endsAt;
};
const percentile = (values: readonly number[], share: number) =>
	values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
const ms = (values: readonly number[], share: number) => `${percentile(values, share).toFixed(1)} ms`;
const times = (name: string, { first }: Tally) =>
	console.log(`time to first token, ${name}: p50 ${ms(first, 0.5)}, p99 ${ms(first, 0.99)} (${first.length} streams)`);

const fleet: ChaosFleet = agents > 0 ? await ChaosAgents.start(agents, source) : await ChaosReplicas.start();
const redis = count > 1 ? await startRedis() : undefined;
const routers: RunningRouter[] = [];
let balancer: Balancer | undefined;

const startOne = () =>
	startRouter({
		source,
		...(workers > 1 ? { command: ENDED_WORKERS } : {}),
		// That another worker has begun is said at this level.
		env: { LOG_LEVEL: workers > 1 ? "info" : "error" },
		config: {
			server: { workers },
			usage: { user_headers: ["x-chaos-user"] },
			// A place that a worker's end does not give back is missed soon.
			limits: { models: { chaos: { concurrency: 3 * clients } } },
			...(redis && { redis: { url: redis.url, prefix: "chaos" } }),
			...fleet.config,
			models: [
				{
					name: "chaos",
					targets: fleet.targets,
					// A tenth of the defaults, as are the times for which the replicas are away.
					timeouts: { first_token: "3s", stall: "3s" },
				},
			],
		},
	});
/** A counter's value, of all routers. */
const metric = async (name: string, labels?: Record<string, string>) =>
	(await Promise.all(routers.map((router) => router.metric(`router_${name}_total`, labels)))).reduce((a, b) => a + b);

try {
	for (let at = 0; at < count; at++) routers.push(await startOne());
	const origins = routers.map(({ url }) => url);
	balancer = await startBalancer(origins);
	await fleet.join(routers, balancer.url, note);
	if (fleet.direct.length > 0)
		times("the sims alone", await load(fleet.direct, "m", after(CALM_S), 1_000_000, ["chat"]));
	made.length = 0;
	if (workers > 1) ends = new WorkerEnds(routers[0]!, note);
	const calm = await load(origins, "chaos", after(CALM_S), 2_000_000);
	times("through the router, calm", calm);
	const isOver = after(minutes * 60);
	const [tally, mishaps] = await Promise.all([
		load(origins, "chaos", isOver, 0),
		misfortune(fleet, isOver),
		ends?.run(isOver),
	]);
	times("through the router, chaos", tally);
	console.log(
		`router's own time a call: calm p50 ${ms(calm.overhead, 0.5)}, p99 ${ms(calm.overhead, 0.99)}; ` +
			`chaos p50 ${ms(tally.overhead, 0.5)}, p99 ${ms(tally.overhead, 0.99)}`,
	);
	console.log(`longest silence inside an answer: ${(tally.longestGapMs / 1000).toFixed(1)} s`);
	const shares = [...tally.dialects].map(
		([name, { calls, again }]) => `${name} ${calls} (${again} of several attempts)`,
	);
	console.log(`calls: ${shares.join(", ")}`);
	console.log([...mishaps].map(([mishap, count]) => `${mishap} ${count}`).join(", "));
	const [attempts, failures, retries, refused, failovers, resumes] = await Promise.all(
		["attempts", "upstream_failures", "retries", "retries_refused", "failovers", "resumes"].map((name) => metric(name)),
	);
	console.log(
		`attempts ${attempts}, of them failed ${failures}; retries ${retries}, refused for want of budget ${refused}; ` +
			`failovers ${failovers}, resumes ${resumes}`,
	);
	const kinds = await Promise.all(
		Object.keys(FAILURES).map(async (kind) => [kind, await metric("upstream_failures", { kind })] as const),
	);
	console.log(
		`failures by kind: ${kinds.flatMap(([kind, count]) => (count > 0 ? `${kind} ${count}` : [])).join(", ")}`,
	);
	const wrongs = (["failed", "truncated", "longer", "wrong", "miscounted"] as const).map((verdict) =>
		tally.count(verdict),
	);
	const [failed, truncated, longer, wrong, miscounted] = wrongs;
	console.log(
		`${minutes} minutes, ${clients} clients, seed ${seed}${count > 1 ? `, ${count} routers` : ""}: ${tally.calls} calls, ${failed} failed, ${truncated} truncated, ` +
			`${longer} longer than max_tokens, ${wrong} wrong, ${miscounted} with another count of tokens; ` +
			`${tally.count("refused")} refused since two engines had died under them`,
	);
	if (fleet.summary !== undefined) console.log(fleet.summary);
	const { rows, ended, unread, problems, detailsOf } = await callBooks(routers, made);
	console.log(`${made.length} calls, ${rows} rows, ${problems.length} of them wrong`);
	if (ends)
		console.log(
			`${workers} workers, of which ${ends.count} ended: ${tally.resets} calls broke off with them (${unread} unread, ${ended} rows say so)`,
		);
	for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
	if (problems.length > 0) process.exitCode = 1;
	for (const [user, example] of [...calm.examples, ...tally.examples]) {
		for (const line of example) console.log(`  ${line}`);
		console.log(`    the ledger: ${detailsOf(user)}`);
	}
	if (wrongs.some((count) => count > 0) || calm.examples.size > 0) process.exitCode = 1;
} finally {
	balancer?.stop();
	await Promise.all([...routers.map((router) => router.stop()), fleet.stop()]);
	await redis?.stop();
}
