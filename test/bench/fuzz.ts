/**
 * Fuzzes the JSON bodies of the router's API: `bun test/bench/fuzz.ts [--seconds 300] [--seed N] [--source]`. Against the compiled
 * binary unless `--source`; with FUZZ_WORKERS (1) above 1 against one from source with so many worker threads, of which one ends every ten
 * seconds (`worker-ends.ts`), and all of whose calls must be in the ledger. Two callers, each with a secret text of its own in all that it sends, in front of an upstream that
 * repeats what it was sent: no crash, no hang, no answer with the other's secret, and every refusal of its wire's shape. Exits 1 at
 * the first of these, with the body that did it.
 */
import { parseArgs } from "node:util";
import { mutated } from "../kit/mutations.ts";
import { type Random, random } from "../kit/random.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";
import { ENDED_WORKERS, isEnded, settledRows, WorkerEnds } from "./worker-ends.ts";

const { values: flags } = parseArgs({
	options: {
		seconds: { type: "string", default: "300" },
		seed: { type: "string", default: String(Date.now() % 1e9) },
		source: { type: "boolean" },
	},
});
const SECONDS = Number(flags.seconds);
const CALLERS = 8;
const WORKERS = Number(process.env["FUZZ_WORKERS"] ?? 1);
/** Nothing here takes longer, ms: the upstream answers at once. */
const HANG_MS = 20_000;
const GOOGLES = "/v1beta/models/echo/m:generateContent";
const PATHS = [
	...["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/route", "/admin/keys"],
	...["/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/v1/responses/compact", GOOGLES, "/api/chat"],
];
const SECRETS = ["violet-otter-8841", "amber-heron-2210"] as const;

/** Repeats its caller's body in every answer. */
const upstream = Bun.serve({
	port: 0,
	hostname: "127.0.0.1",
	async fetch(request) {
		const content = await request.text();
		const isStream = /"stream"\s*:\s*true/.test(content);
		const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
		if (!isStream) {
			const message = { role: "assistant", content };
			return Response.json({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }], usage });
		}
		const chunk = (choices: object[], rest = {}) => `data: ${JSON.stringify({ id: "x", choices, ...rest })}\n\n`;
		const text =
			chunk([{ index: 0, delta: { content } }]) +
			chunk([{ index: 0, delta: {}, finish_reason: "stop" }]) +
			chunk([], { usage }) +
			"data: [DONE]\n\n";
		return new Response(text, { headers: { "content-type": "text/event-stream" } });
	},
});

function bodies(secret: string): string[] {
	const content = `my secret is ${secret}`;
	const chat = { model: "echo/m", messages: [{ role: "user", content }] };
	return [
		chat,
		{ ...chat, stream: true, stream_options: { include_usage: true }, user: secret },
		{
			...chat,
			messages: [
				{ role: "system", content: "be brief" },
				{ role: "user", content: [{ type: "text", text: content }] },
			],
		},
		{ model: "echo/m", prompt: content, max_tokens: 5 },
		{ model: "echo/m", input: [content, "b"] },
		{ name: secret, models: ["a*"], rpm: 5, budget: { usd: 1, per: "day" } },
		{ ...chat, max_tokens: 5, system: [{ type: "text", text: "be brief", cache_control: { type: "ephemeral" } }] },
		{ model: "echo/m", input: [{ role: "user", content: [{ type: "input_text", text: content }] }], store: false },
		{ contents: [{ role: "user", parts: [{ text: content }] }], generationConfig: { maxOutputTokens: 5 } },
	].map((body) => JSON.stringify(body));
}

type Body = Readonly<Record<string, unknown>> & { readonly error?: Readonly<Record<string, unknown>> };

/** Whether a refusal is one for the clients of its path. */
function isRefusal(path: string, body: Body): boolean {
	const { error } = body;
	if (path.startsWith("/api/")) return typeof error === "string";
	if (typeof error?.["message"] !== "string") return false;
	if (path === GOOGLES) return typeof error["code"] === "number" && typeof error["status"] === "string";
	if (path.startsWith("/v1/messages")) return body["type"] === "error" && typeof error["type"] === "string";
	return typeof error["type"] === "string" && "code" in error && "param" in error;
}

/** What is wrong with an answer; undefined where nothing is. */
function wrong(path: string, status: number, type: string, text: string, other: string): string | undefined {
	if (text.includes(other)) return "it holds the other caller's secret";
	if (status === 200) return undefined;
	if (status < 400 || status > 599 || status === 500) return `its status is ${status}`;
	if (!type.startsWith("application/json")) return `its type is ${type}`;
	return isRefusal(path, JSON.parse(text) as Body) ? undefined : "it is no error of its wire's shape";
}

async function caller(router: RunningRouter, which: 0 | 1, rng: Random, until: number, counts: Map<number, number>) {
	const mine = bodies(SECRETS[which]);
	while (performance.now() < until) {
		const body = mutated(rng, rng.pick(mine));
		const path = rng.pick(PATHS);
		let status = 0;
		let text = "";
		let problem: string | undefined;
		const startedAt = performance.now();
		try {
			const answer = await fetch(router.url + path, {
				method: "POST",
				headers: {
					"content-type": "application/json",
					// Not an admin's: what is made there would be seen by both.
					authorization: `Bearer key-of-caller-${which}`,
				},
				body,
				signal: AbortSignal.timeout(HANG_MS),
			});
			({ status } = answer);
			text = await answer.text();
			// What Bun answers in the place of a thread that is about to end.
			if (status === 503 && text === "" && ends?.wasUnder(startedAt)) {
				resets++;
				empty++;
				continue;
			}
			problem = wrong(path, status, answer.headers.get("content-type") ?? "", text, SECRETS[which === 0 ? 1 : 0]);
		} catch (error) {
			if (ends?.wasUnder(startedAt)) {
				resets++;
				continue;
			}
			problem = `no answer: ${(error as Error).message}`;
		}
		if (problem)
			throw new Error(`${path} ${problem}\nsent: ${JSON.stringify(body)}\ngot: ${status} ${text.slice(0, 2000)}`);
		counts.set(status, (counts.get(status) ?? 0) + 1);
	}
}

const router = await startRouter({
	source: flags.source ? "source" : "binary",
	...(WORKERS > 1 ? { command: ENDED_WORKERS } : {}),
	config: {
		server: { workers: WORKERS },
		keys: [0, 1].map((which) => ({ name: `caller-${which}`, key: `key-of-caller-${which}`, tpm: 1e9, rpm: 1e9 })),
		admin: { keys: [{ name: "ops", key: "key-of-the-admin" }] },
		providers: { echo: { type: "openai-compatible", base_url: `http://127.0.0.1:${upstream.port}` } },
		// That another worker has begun is said at this level.
		log: { level: WORKERS > 1 ? "info" : "warn" },
	},
});
console.log(`seed ${flags.seed}, ${SECONDS} s, ${CALLERS} callers, ${router.url}`);
/** The ends of workers, where there are several, and the calls that broke off with them. */
const ends = WORKERS > 1 ? new WorkerEnds(router) : undefined;
let resets = 0;
/** Those of them that had an empty 503. */
let empty = 0;
const counts = new Map<number, number>();
const until = performance.now() + SECONDS * 1000;
const before = await router.rss();
try {
	await Promise.all([
		ends?.run(() => performance.now() > until),
		...Array.from({ length: CALLERS }, (_, at) =>
			caller(router, at % 2 === 0 ? 0 : 1, random(Number(flags.seed) + at), until, counts),
		),
	]);
	await router.idle();
	const crashes = await router.metric("router_crashes_total");
	if (crashes > 0) throw new Error(`${crashes} exceptions that no call caught:\n${router.output().slice(-3000)}`);
	if (ends) {
		const { rows, counted } = await settledRows(router);
		const [ended, left] = [rows.filter(isEnded).length, rows.filter(({ status }) => status === 499).length];
		console.log(
			`${ends.count} workers ended: ${resets} requests broke off (${empty} by an empty 503), ${ended} rows say so, of ${rows.length}`,
		);
		if (rows.length !== counted) throw new Error(`${rows.length} rows, and ${counted} calls in /metrics`);
		if (ended > resets) throw new Error(`${ended} calls ended with their worker, and ${resets} clients saw that`);
		if (left > 0) throw new Error(`${left} calls broke off at workers that had not ended`);
	}
	const calls = [...counts.values()].reduce((sum, count) => sum + count, 0);
	const statuses = [...counts].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
	const [from, to] = [before, await router.rss()].map((bytes) => Math.round(bytes / 1e6));
	console.log(`${calls} calls, none wrong (${statuses.join(", ")}); RSS ${from} → ${to} MB`);
} catch (error) {
	console.error((error as Error).message);
	process.exitCode = 1;
} finally {
	await router.stop();
	await upstream.stop(true);
}
