/** The line that vLLM logs every ten seconds in which it did something. */
import type { Engine } from "./engine.ts";
import { api } from "./log.ts";

const EVERY_MS = 10_000;

/** Starts logging. */
export function logStatistics(engines: readonly Engine[]): void {
	let before = engines.map(snapshot);
	setInterval(() => {
		const now = engines.map(snapshot);
		for (const [at, engine] of engines.entries()) {
			const [prompt, generated] = [now[at]!.prompt - before[at]!.prompt, now[at]!.generated - before[at]!.generated];
			if (prompt + generated + engine.running.length === 0) continue;
			const rate = (tokens: number) => (tokens / (EVERY_MS / 1000)).toFixed(1);
			const percent = (part: number) => (part * 100).toFixed(1);
			const { hits, queries } = engine.counters;
			api(
				"loggers.py:248",
				`Engine ${String(at).padStart(3, "0")}: Avg prompt throughput: ${rate(prompt)} tokens/s, Avg generation throughput: ${rate(generated)} tokens/s, Running: ${engine.running.length} reqs, Waiting: ${engine.waiting.length} reqs, GPU KV cache usage: ${percent(engine.cache.usage)}%, Prefix cache hit rate: ${percent(queries ? hits / queries : 0)}%`,
			);
		}
		before = now;
	}, EVERY_MS).unref();
}

const snapshot = ({ counters }: Engine) => ({ prompt: counters.promptTokens, generated: counters.generated });
