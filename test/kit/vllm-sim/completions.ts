/** `/v1/chat/completions` and `/v1/completions`. */

import { random } from "../random.ts";
import { modelBy } from "./adapters.ts";
import { chatAnswer, chatChunk, type Head, roleChunk, textAnswer, textChunk, usageChunk } from "./answers.ts";
import { Counts } from "./counts.ts";
import type { Engine } from "./engine.ts";
import { ApiError, engineDead, invalid } from "./errors.ts";
import type { Model } from "./model.ts";
import { type Abilities, type Plan, plan } from "./plan.ts";
import { checkModel, type Json, promptTokens, readPrompts, renderChat, tokenLimit } from "./request.ts";
import { EngineDead, type Run, run, type Said } from "./serving.ts";

/** What both endpoints need of the server. */
export interface Site {
	readonly model: Model;
	readonly abilities: Abilities;
	/** `--enable-prompt-tokens-details`, `--enable-force-include-usage`. */
	readonly details: boolean;
	readonly forceUsage: boolean;
	/** Tokens that go out in one chunk of a stream at most: vLLM packs as many as have come while it was busy. */
	readonly pack: number;
	/** `--trust-request-chat-template`. */
	readonly trustsTemplates: boolean;
	/** `--sse-keep-alive-interval`: a stream that is silent for so long, ms, gets a comment; 0 never. */
	readonly keepAliveMs: number;
	/** The engine with the least to do. Throws when it is dead or full. */
	engine(prompt: string): Engine;
	/** Told of the end of each choice. */
	finished(reason: string): void;
	/** The engine was found dead by a call. */
	died(): void;
}

/** A chat. */
export async function chat(body: Json, signal: AbortSignal, site: Site): Promise<Response> {
	const name = checkModel(body, site.model);
	const model = modelBy(name, site.model);
	const template = body["chat_template"] ?? (body["chat_template_kwargs"] as Json | undefined)?.["chat_template"];
	if (template != null && !site.trustsTemplates) {
		throw new ApiError(
			400,
			"Chat template is passed with request, but --trust-request-chat-template is not set. Refused request with untrusted chat template.",
		);
	}
	const prompt = renderChat(body);
	const tokens = promptTokens(prompt);
	const limit = tokenLimit(body, tokens.length, site.model) ?? site.model.maxLength - tokens.length;
	const choices = choiceCount(body);
	const plans = Array.from({ length: choices }, (_, index) =>
		plan(body, prompt, model, { ...site.abilities, limit, index }),
	);
	const head = newHead("chatcmpl-", name);
	const running = run(site.engine(prompt.text), tokens, plans, site.details, model.root);
	const counts = new Counts([running], site.abilities.reasoning);
	if (body["stream"] !== true) {
		const [said] = await whole([running], signal, site, [plans], counts);
		return Response.json(chatAnswer(head, plans, said!, counts.total(), running.aborted));
	}
	const begun = new Map<number, Set<string>>();
	return stream(
		[running],
		head,
		body,
		signal,
		site,
		"chat.completion.chunk",
		// A role goes out before the first token is counted.
		(_, choice) => {
			begun.set(choice, new Set());
			return roleChunk(head, choice);
		},
		(_, choice, pieces) => {
			const chunk = chatChunk(head, pieces, plans[choice]!, begun.get(choice)!);
			for (const { part } of pieces) begun.get(choice)!.add(part.kind);
			return chunk;
		},
		[plans],
		counts,
	);
}

/** A completion of one prompt or several. */
export async function completion(body: Json, signal: AbortSignal, site: Site): Promise<Response> {
	const name = checkModel(body, site.model);
	const model = modelBy(name, site.model);
	const choices = choiceCount(body);
	const calls = readPrompts(body).map(({ text, tokens }) => {
		const limit = tokenLimit({ max_tokens: 16, ...body }, tokens.length, site.model)!;
		const prompt = { text, partial: undefined };
		const able = { ...site.abilities, reasoning: false, isChained: true, limit };
		const plain = { ...body, tools: undefined, tool_choice: "none" };
		return {
			text,
			tokens,
			plans: Array.from({ length: choices }, (_, index) => plan(plain, prompt, model, { ...able, index })),
		};
	});
	const head = newHead("cmpl-", name);
	const runs = calls.map(({ text, tokens, plans }) => run(site.engine(text), tokens, plans, site.details, model.root));
	const plans = calls.map((call) => call.plans);
	const counts = new Counts(runs, false);
	if (body["stream"] !== true) {
		const said = await whole(runs, signal, site, plans, counts);
		const texts = plans.flatMap((of, at) =>
			of.map((one, choice) => ({
				plan: one,
				aborted: runs[at]!.aborted,
				text: said[at]!.filter((piece) => piece.choice === choice)
					.map(({ piece }) => piece)
					.join(""),
			})),
		);
		return Response.json(textAnswer(head, texts, counts.total()));
	}
	return stream(
		runs,
		head,
		body,
		signal,
		site,
		"text_completion",
		undefined,
		(at, choice, pieces) => textChunk(head, at * choices + choice, pieces, plans[at]![choice]!),
		plans,
		counts,
	);
}

async function whole(
	runs: readonly Run[],
	signal: AbortSignal,
	site: Site,
	plans: readonly (readonly Plan[])[],
	counts: Counts,
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
					counts.add(at, piece.choice, [piece]);
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
	begin: ((run: number, choice: number) => Json) | undefined,
	chunk: (run: number, choice: number, pieces: readonly Said[]) => Json,
	plans: readonly (readonly Plan[])[],
	counts: Counts,
): Response {
	const options = (body["stream_options"] ?? {}) as Json;
	const wanted = options["include_usage"] === true || site.forceUsage;
	const running = site.forceUsage || (options["continuous_usage_stats"] === true && wanted);
	const abort = () => {
		for (const one of runs) one.abort();
	};
	signal.addEventListener("abort", abort, { once: true });
	const draw = random(Number(Bun.hash(head.id) & 0xffff_ffffn));
	const told = (at: number, choice: number, json: Json) =>
		event(running ? { ...json, usage: counts.running(at, choice) } : json);
	async function* events(): AsyncGenerator<string> {
		try {
			for (const [at, one] of runs.entries()) {
				const waiting = new Map<number, { pieces: Said[]; due: number }>();
				for await (const said of one.said()) {
					const { choice, last } = said;
					if (!waiting.has(choice)) {
						// Nothing is held back of a first token.
						waiting.set(choice, { pieces: [], due: 1 });
						if (begin) yield told(at, choice, begin(at, choice));
					}
					const held = waiting.get(choice)!;
					held.pieces.push(said);
					if (held.pieces.length < held.due && !last) continue;
					if (last) site.finished(plans[at]![choice]!.finish);
					const pieces = held.pieces.splice(0);
					held.due = 1 + draw.below(site.pack);
					counts.add(at, choice, pieces);
					yield told(at, choice, chunk(at, choice, pieces));
				}
			}
			// An aborted call ends without a reason, and without usage.
			if (wanted && !runs.some((one) => one.aborted)) yield event(usageChunk(head, object, counts.total()));
		} catch (error) {
			if (!(error instanceof EngineDead)) throw error;
			site.died();
			yield event(engineDead().body);
		}
		yield "data: [DONE]\n\n";
	}
	const source = events();
	let coming: Promise<IteratorResult<string>> | undefined;
	/** The next event; undefined where it takes longer. */
	const soon = async (ms: number): Promise<IteratorResult<string> | undefined> => {
		coming ??= source.next();
		const late = ms > 0 ? Bun.sleep(ms).then(() => undefined) : coming;
		const next = await Promise.race([coming, late]);
		if (next) coming = undefined;
		return next;
	};
	const bytes = new TextEncoder();
	const text = new ReadableStream<Uint8Array>({
		async pull(controller) {
			const { value, done } = (await soon(site.keepAliveMs)) ?? { value: ": keep-alive\n\n", done: false };
			if (done) controller.close();
			else controller.enqueue(bytes.encode(value));
		},
		cancel: abort,
	});
	return new Response(text, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
}

const event = (payload: unknown) => `data: ${JSON.stringify(payload)}\n\n`;

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
