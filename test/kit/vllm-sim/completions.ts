/** `/v1/chat/completions` and `/v1/completions`. */
import { chatAnswer, chatChunk, type Head, roleChunk, textAnswer, textChunk, usageChunk } from "./answers.ts";
import type { Engine } from "./engine.ts";
import { ApiError, engineDead, invalid } from "./errors.ts";
import type { Model } from "./model.ts";
import { type Abilities, type Plan, plan } from "./plan.ts";
import { checkModel, type Json, promptTokens, readPrompts, renderChat, tokenLimit } from "./request.ts";
import { EngineDead, type Run, run, type Said, type Usage } from "./serving.ts";
import { tokenize } from "./tokens.ts";

/** What both endpoints need of the server. */
export interface Site {
	readonly model: Model;
	readonly abilities: Abilities;
	/** `--enable-prompt-tokens-details`, `--enable-force-include-usage`. */
	readonly details: boolean;
	readonly forceUsage: boolean;
	/** The engine with the least to do. Throws when it is dead or full. */
	engine(): Engine;
	/** Told of the end of each choice. */
	finished(reason: string): void;
	/** The engine was found dead by a call. */
	died(): void;
}

/** A chat. */
export async function chat(body: Json, signal: AbortSignal, site: Site): Promise<Response> {
	const name = checkModel(body, site.model);
	const prompt = renderChat(body);
	const tokens = promptTokens(prompt);
	const limit = tokenLimit(body, tokens.length, site.model) ?? site.model.maxLength - tokens.length;
	const choices = choiceCount(body);
	const plans = Array.from({ length: choices }, (_, index) =>
		plan(body, prompt, site.model, { ...site.abilities, limit, index }),
	);
	const head = newHead("chatcmpl-", name);
	const running = run(site.engine(), tokens, plans, site.details);
	if (body["stream"] !== true) {
		const [said] = await whole([running], signal, site, [plans]);
		return Response.json(chatAnswer(head, plans, said!, running.usage(), running.aborted));
	}
	const begun = new Set<number>();
	const seen = new Set<string>();
	return stream(
		[running],
		head,
		body,
		signal,
		site,
		"chat.completion.chunk",
		function* (_, said) {
			if (!begun.has(said.choice)) yield roleChunk(head, said.choice);
			begun.add(said.choice);
			const part = `${said.choice} ${said.part.kind}`;
			yield chatChunk(head, said, plans[said.choice]!, !seen.has(part));
			seen.add(part);
		},
		[plans],
	);
}

/** A completion of one prompt or several. */
export async function completion(body: Json, signal: AbortSignal, site: Site): Promise<Response> {
	const name = checkModel(body, site.model);
	const choices = choiceCount(body);
	const calls = readPrompts(body).map((text) => {
		const tokens = tokenize(text);
		const limit = tokenLimit({ max_tokens: 16, ...body }, tokens.length, site.model)!;
		const prompt = { text, partial: undefined };
		const able = { ...site.abilities, reasoning: false, limit };
		const plain = { ...body, tools: undefined, tool_choice: "none" };
		return {
			tokens,
			plans: Array.from({ length: choices }, (_, index) => plan(plain, prompt, site.model, { ...able, index })),
		};
	});
	const head = newHead("cmpl-", name);
	const runs = calls.map(({ tokens, plans }) => run(site.engine(), tokens, plans, site.details));
	const plans = calls.map((call) => call.plans);
	if (body["stream"] !== true) {
		const said = await whole(runs, signal, site, plans);
		const texts = plans.flatMap((of, at) =>
			of.map((one, choice) => ({
				plan: one,
				aborted: runs[at]!.aborted,
				text: said[at]!.filter((piece) => piece.choice === choice)
					.map(({ piece }) => piece)
					.join(""),
			})),
		);
		return Response.json(textAnswer(head, texts, total(runs)));
	}
	return stream(
		runs,
		head,
		body,
		signal,
		site,
		"text_completion",
		function* (at, said) {
			yield textChunk(head, at * choices + said.choice, said, plans[at]![said.choice]!);
		},
		plans,
	);
}

async function whole(
	runs: readonly Run[],
	signal: AbortSignal,
	site: Site,
	plans: readonly (readonly Plan[])[],
): Promise<Said[][]> {
	const abort = () => {
		for (const one of runs) one.abort();
	};
	signal.addEventListener("abort", abort, { once: true });
	try {
		return await Promise.all(
			runs.map(async (one, at) => {
				const said: Said[] = [];
				for await (const piece of one.said()) {
					said.push(piece);
					if (piece.last) site.finished(plans[at]![piece.choice]!.finish);
				}
				return said;
			}),
		);
	} catch (error) {
		if (!(error instanceof EngineDead)) throw error;
		site.died();
		throw engineDead();
	} finally {
		signal.removeEventListener("abort", abort);
	}
}

function stream(
	runs: readonly Run[],
	head: Head,
	body: Json,
	signal: AbortSignal,
	site: Site,
	object: string,
	chunks: (run: number, said: Said) => Iterable<Json>,
	plans: readonly (readonly Plan[])[],
): Response {
	const options = (body["stream_options"] ?? {}) as Json;
	const wanted = options["include_usage"] === true || site.forceUsage;
	const running = options["continuous_usage_stats"] === true && wanted;
	const abort = () => {
		for (const one of runs) one.abort();
	};
	signal.addEventListener("abort", abort, { once: true });
	async function* events(): AsyncGenerator<string> {
		try {
			for (const [at, one] of runs.entries()) {
				for await (const said of one.said()) {
					if (said.last) site.finished(plans[at]![said.choice]!.finish);
					for (const chunk of chunks(at, said)) {
						yield event(running ? { ...chunk, usage: one.usage() } : wanted ? { ...chunk, usage: null } : chunk);
					}
				}
			}
			// An aborted call ends without a reason, and without usage.
			if (wanted && !runs.some((one) => one.aborted)) yield event(usageChunk(head, object, total(runs)));
		} catch (error) {
			if (!(error instanceof EngineDead)) throw error;
			site.died();
			yield event(engineDead().body);
		}
		yield "data: [DONE]\n\n";
	}
	const source = events();
	const bytes = new TextEncoder();
	const text = new ReadableStream<Uint8Array>({
		async pull(controller) {
			const { value, done } = await source.next();
			if (done) controller.close();
			else controller.enqueue(bytes.encode(value));
		},
		cancel: abort,
	});
	return new Response(text, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
}

const event = (payload: unknown) => `data: ${JSON.stringify(payload)}\n\n`;

function total(runs: readonly Run[]): Usage {
	const all = runs.map((one) => one.usage());
	const sum = (key: "prompt_tokens" | "total_tokens" | "completion_tokens") =>
		all.reduce((before, usage) => before + usage[key], 0);
	return {
		prompt_tokens: sum("prompt_tokens"),
		total_tokens: sum("total_tokens"),
		completion_tokens: sum("completion_tokens"),
		prompt_tokens_details: all[0]!.prompt_tokens_details,
	};
}

function choiceCount(body: Json): number {
	const n = body["n"] ?? 1;
	if (!Number.isInteger(n)) throw invalid(["body", "n"], "Input should be a valid integer", "int_type", n);
	if ((n as number) < 1) throw new ApiError(400, `n must be at least 1, got ${n}.`, "n");
	return n as number;
}

const newHead = (prefix: string, model: string): Head => ({
	id: prefix + crypto.randomUUID().replaceAll("-", ""),
	created: Math.floor(Date.now() / 1000),
	model,
});
