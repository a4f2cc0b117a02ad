/** Runs the choices of one call through an engine, and counts what they use. */
import type { Engine, Job } from "./engine.ts";
import type { Part, Plan } from "./plan.ts";

/** A piece of one choice, as it is said. */
export interface Said {
	readonly choice: number;
	readonly part: Part;
	readonly piece: string;
	/** The choice's last piece. */
	readonly last: boolean;
}

/** One call in the engine. */
export interface Run {
	/** Pieces of all choices, as they come. Throws EngineDead when the engine dies; ends early when aborted. */
	said(): AsyncGenerator<Said>;
	/** Tokens of the prompt, and those of them that the prefix cache had; undefined where nobody is to know. */
	readonly prompt: number;
	readonly cached: number | undefined;
	/** The caller left, or the server stops. */
	abort(): void;
	/** Ended by `abort`, not by itself. */
	readonly aborted: boolean;
}

/** The engine died under a call. */
export class EngineDead extends Error {
	override readonly name = "EngineDead";
}

/** Submits one job per plan. `details`: tell cached tokens. `salt`: the prefix cache is that of this model or adapter. */
export function run(
	engine: Engine,
	prompt: readonly string[],
	plans: readonly Plan[],
	details: boolean,
	salt = "",
): Run {
	const flat = plans.map(({ parts }) => parts.flatMap((part) => part.pieces.map((piece) => ({ part, piece }))));
	const jobs = flat.map((pieces) =>
		engine.submit(
			prompt,
			pieces.map(({ piece }) => piece),
			salt,
		),
	);
	const aborted = () => jobs.some(({ ended }) => ended === "aborted");
	return {
		get aborted() {
			return aborted();
		},
		said: () => merge(engine, jobs, flat),
		prompt: prompt.length,
		get cached() {
			return details ? jobs[0]!.cached : undefined;
		},
		abort: () => {
			for (const job of jobs) engine.abort(job);
		},
	};
}

type Flat = readonly { readonly part: Part; readonly piece: string }[];

async function* merge(engine: Engine, jobs: readonly Job[], flat: readonly Flat[]): AsyncGenerator<Said> {
	const open = new Map(jobs.map((job, choice) => [choice, { job, at: 0, pieces: engine.pieces(job) }]));
	const next = (choice: number) =>
		open
			.get(choice)!
			.pieces.next()
			.then((result) => ({ choice, result }));
	const pending = new Map(jobs.map((_, choice) => [choice, next(choice)]));
	while (pending.size > 0) {
		const { choice, result } = await Promise.race(pending.values());
		const one = open.get(choice)!;
		if (result.done) {
			if (one.job.ended === "dead") throw new EngineDead();
			pending.delete(choice);
			continue;
		}
		const { part, piece } = flat[choice]![one.at++]!;
		yield { choice, part, piece, last: one.at === flat[choice]!.length };
		pending.set(choice, next(choice));
	}
}
