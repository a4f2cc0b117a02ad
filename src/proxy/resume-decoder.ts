/** Reads the stream by which a broken answer goes on, and makes of it the rest of the one that the client is reading. */

import type { SentSoFar, ToolCallDelta } from "../openai/sent-so-far.ts";
import { type SseEvent, SseSplitter, sseData } from "../openai/sse.ts";
import type { Tokens } from "../openai/usage.ts";
import { codePointsIn, movedAnnotations } from "../providers/annotations.ts";
import type { Failure } from "../providers/failure.ts";
import type { CountedTokens, Out, StreamDecoder } from "../providers/provider.ts";
import { bytesOf } from "./decoder-faults.ts";
import type { FollowUp, ResumeSpend } from "./resume-request.ts";

/** Asked again, the model said something else than what its client has read already. */
export const DIVERGED: Failure = {
	// Nothing is wrong with the target: it can't do what this call needs.
	kind: "unsupported",
	isOurs: true,
	message: "gave another answer when it was asked again",
};

/** Thrown inside, caught inside. */
class Diverged extends Error {}

type Delta = Record<string, unknown>;

/** What an event has become, in OpenAI's words alone. */
const asChunks = (out: Out): Out => ({ ...out, bytes: bytesOf(out), lazyBytes: undefined, own: undefined });

interface Choice {
	index?: number;
	delta?: Delta | null;
	text?: string;
	finish_reason?: string | null;
}

interface Chunk {
	choices?: Choice[];
	usage?: Record<string, unknown> | null;
	[field: string]: unknown;
}

/** `inner` reads the target's own stream; what comes out continues `sent`. */
export function resumedDecoder(inner: StreamDecoder, sent: SentSoFar, followUp: FollowUp): StreamDecoder {
	return new ResumedDecoder(inner, sent, followUp);
}

class ResumedDecoder implements StreamDecoder {
	/** Of an answer that is made again. */
	readonly #rest: Rest | undefined;
	/** Tokens that this target got with the prompt, and that are part of the answer. */
	readonly #moved: number;
	readonly #spent: ResumeSpend;
	/** White space that the call left out and the client has already. */
	#space: string;
	/** How much that was. */
	readonly #trimmed: number;

	constructor(
		private readonly inner: StreamDecoder,
		private readonly sent: SentSoFar,
		{ mode, trimmed, spent }: FollowUp,
	) {
		this.#rest = mode === "replay" ? new Rest(sent) : undefined;
		this.#moved = mode === "continue" ? spent.tokens : 0;
		this.#spent = spent;
		this.#space = trimmed;
		this.#trimmed = trimmed.length;
	}

	push(event: SseEvent): Out {
		// As it came it would say anew what its client has.
		const out = asChunks(this.inner.push(event));
		if (out.failure || out.done || out.bytes === "" || event.data === undefined) return this.#counted(out);
		return this.#joined(out, out.bytes ?? event.raw);
	}

	flush(): Out {
		const left = asChunks(this.inner.flush?.() ?? {});
		const out = left.usage ? { ...left, usage: this.#usageText(left.usage) } : left;
		return out.bytes ? this.#joined(out, out.bytes) : this.#withKnownIds(this.#counted(out));
	}

	countedTokens(): CountedTokens | undefined {
		const tokens = this.inner.countedTokens?.();
		if (!tokens) return undefined;
		const { input, output, trimmed, reasoning } = tokens;
		const whole = this.#wholeOf(input, output);
		return { ...whole, trimmed: trimmed + this.#moved, reasoning: this.#wholeReasoning(reasoning) };
	}

	end(): Failure | undefined {
		return this.inner.end() ?? (this.#rest && !this.#rest.isCaughtUp ? DIVERGED : undefined);
	}

	#joined(out: Out, text: string): Out {
		try {
			const bytes = this.#rewritten(text);
			return { ...this.#withKnownIds(this.#counted(out)), bytes, delta: out.delta === true && bytes !== "" };
		} catch (thrown) {
			if (thrown instanceof Diverged) return { bytes: "", failure: DIVERGED };
			throw thrown;
		}
	}

	/** One event's text, or several: some decoders make more of one. */
	#rewritten(text: string): string {
		const splitter = new SseSplitter();
		const events = [...splitter.push(Buffer.from(text)), ...splitter.end()];
		return events.map((each) => (each.data === undefined ? each.raw : this.#chunkText(each.data))).join("");
	}

	/** A chunk under the answer's own name. */
	#named(chunk: Chunk): Chunk {
		const { id, created, model } = this.sent.head;
		return { ...chunk, ...(id ? { id } : {}), ...(created ? { created } : {}), ...(model ? { model } : {}) };
	}

	/** The chunk that holds the usage. */
	#usageText(data: string): string {
		const chunk = this.#named(JSON.parse(data) as Chunk);
		return JSON.stringify({ ...chunk, ...(chunk.usage ? { usage: this.#shownUsage(chunk.usage) } : {}) });
	}

	#chunkText(data: string): string {
		const chunk = JSON.parse(data) as Chunk;
		const named = this.#named(chunk);
		if (chunk.usage) named.usage = this.#shownUsage(chunk.usage);
		const choices = (chunk.choices ?? []).flatMap((choice) => this.#choiceLeft(choice));
		if (choices.length === 0 && (chunk.choices?.length ?? 0) > 0) return "";
		return sseData(JSON.stringify({ ...named, ...(chunk.choices ? { choices } : {}) }));
	}

	/** The choice without what the client has; none where nothing is left of it. */
	#choiceLeft(choice: Choice): Choice[] {
		if ((choice.index ?? 0) > 0) throw new Diverged();
		const left: Choice = { ...choice };
		if (typeof choice.text === "string") left.text = this.#rest ? this.#rest.take("text", choice.text) : choice.text;
		if (choice.delta) left.delta = this.#deltaLeft(choice.delta);
		if (choice.finish_reason) this.#rest?.finish();
		const isEmpty = !left.text && Object.keys(left.delta ?? {}).length === 0;
		return isEmpty && !choice.finish_reason ? [] : [left];
	}

	#deltaLeft(delta: Delta): Delta {
		const { role: _, ...left } = delta;
		if (this.#rest) return this.#rest.delta(left);
		// It takes the text for thinking, having seen no end of that: what follows would come in the wrong field.
		if (left["reasoning_content"] || left["reasoning"]) throw new Diverged();
		if (typeof left["content"] === "string") left["content"] = this.#withoutSpace(left["content"]);
		if (left["content"] === "") delete left["content"];
		if (Array.isArray(left["annotations"])) left["annotations"] = movedAnnotations(left["annotations"], this.#before());
		return left;
	}

	/** Code points of the answer that this target was given with the prompt. */
	#before(): number {
		const { content } = this.sent;
		return codePointsIn(content.slice(0, content.length - this.#trimmed));
	}

	#withoutSpace(content: string): string {
		const space = this.#space;
		let at = 0;
		while (at < space.length && content[at] === space[at]) at++;
		this.#space = at === content.length ? space.slice(at) : "";
		return content.slice(at);
	}

	/** What was sent before counts as part of the answer, though this target got it with the prompt. */
	#shownUsage(usage: Record<string, unknown>): Record<string, unknown> {
		const { prompt_tokens: input, completion_tokens: output } = usage;
		if (typeof input !== "number" || typeof output !== "number") return usage;
		const { input: prompt, output: completion } = this.#wholeOf(input, output);
		const isEstimated = this.#moved > 0 && this.#spent.isEstimated;
		const details = usage["completion_tokens_details"] as Record<string, unknown> | null | undefined;
		const { reasoning_tokens: told } = details ?? {};
		const reasoning = this.#wholeReasoning(typeof told === "number" ? told : undefined);
		return {
			...usage,
			...(reasoning === undefined ? {} : { completion_tokens_details: { ...details, reasoning_tokens: reasoning } }),
			prompt_tokens: prompt,
			completion_tokens: completion,
			...("total_tokens" in usage ? { total_tokens: prompt + completion } : {}),
			...(isEstimated ? { estimated: true } : {}),
		};
	}

	/** Tokens of the whole call. Its prompt is what the answer's first upstream was given, as that counted it. */
	#wholeOf(input: number, output: number): { input: number; output: number } {
		if (this.#moved === 0) return { input, output };
		return { input: this.#spent.prompt ?? Math.max(0, input - this.#moved), output: output + this.#moved };
	}

	/** Tokens of reasoning of the whole answer. */
	#wholeReasoning(reasoning: number | undefined): number | undefined {
		const { reasoning: before } = this.#spent;
		return this.#moved === 0 || before === undefined ? reasoning : (reasoning ?? 0) + before;
	}

	/** What later calls will need is asked for by the ids that the client was sent. */
	#withKnownIds(out: Out): Out {
		const ids = this.#rest?.ids;
		if (!out.thinking || !ids) return out;
		return { ...out, thinking: out.thinking.map((each) => ({ ...each, id: ids.get(each.id) ?? each.id })) };
	}

	#counted(out: Out): Out {
		return out.tokens && this.#moved > 0 ? { ...out, tokens: this.#wholeTokens(out.tokens) } : out;
	}

	#wholeTokens(tokens: Tokens): Tokens {
		const reasoning = this.#wholeReasoning(tokens.reasoning);
		const whole = { ...tokens, ...this.#wholeOf(tokens.input, tokens.output), ...(reasoning && { reasoning }) };
		// Of what the rest's prompt had in a cache, some was the answer's beginning.
		if (whole.cached !== undefined) whole.cached = Math.min(whole.cached, whole.input);
		if (this.#spent.isEstimated) whole.uncounted = "both";
		return whole;
	}
}

type Part = "content" | "reasoning" | "refusal" | "text";

/** What of a replayed answer the client has not read yet. Throws Diverged where it is another answer. */
class Rest {
	readonly #ahead: Record<Part, string>;
	readonly #calls: { name: string; arguments: string; id?: string | undefined }[];
	/** By the id of a tool call that is sent again: what the client knows it by. */
	readonly ids = new Map<string, string>();

	constructor(private readonly sent: SentSoFar) {
		this.#ahead = { content: sent.content, reasoning: sent.reasoning, refusal: sent.refusal, text: sent.text };
		this.#calls = sent.toolCalls.map((call) => ({ name: call.name, arguments: call.arguments }));
	}

	/** Everything that was sent has been seen again. */
	get isCaughtUp(): boolean {
		return (
			Object.values(this.#ahead).every((text) => text === "") &&
			this.#calls.every((call) => call.name === "" && call.arguments === "")
		);
	}

	/** An answer that ends before that is another one. */
	finish(): void {
		if (!this.isCaughtUp) throw new Diverged();
	}

	/** What of `text` is new. Nothing may be while anything is still ahead. */
	take(part: Part, text: string): string {
		const [left, ahead] = behind(this.#ahead[part], text);
		this.#ahead[part] = ahead;
		if (left !== "" && !this.isCaughtUp) throw new Diverged();
		return left;
	}

	delta(delta: Delta): Delta {
		const left: Delta = {};
		const taken = new Map<string, string>();
		for (const [key, value] of Object.entries(delta)) {
			const part = PARTS[key];
			if (part && typeof value === "string") {
				// vLLM sends a thought twice, under both of its names.
				const same = taken.get(part + value);
				const news = same ?? this.take(part, value);
				taken.set(part + value, news);
				if (news !== "") left[key] = news;
			} else if (key === "tool_calls" && Array.isArray(value)) {
				const calls = (value as ToolCallDelta[]).flatMap((call) => this.#toolCall(call));
				if (calls.length > 0) left[key] = calls;
			} else if (value !== null && value !== undefined && this.isCaughtUp) left[key] = value;
		}
		return left;
	}

	#toolCall(call: ToolCallDelta): ToolCallDelta[] {
		const { index = 0, function: called } = call;
		const ahead = this.#calls[index];
		if (!ahead) {
			if (!this.isCaughtUp) throw new Diverged();
			return [call];
		}
		const [name, nameAhead] = behind(ahead.name, called?.name ?? "");
		const [args, argumentsAhead] = behind(ahead.arguments, called?.arguments ?? "");
		Object.assign(ahead, { name: nameAhead, arguments: argumentsAhead });
		// Its id the client has already, or was never sent: a call that is sent again has another.
		const { id: sentId } = this.sent.toolCalls[index]!;
		if (sentId) {
			if (call.id) this.ids.set(call.id, sentId);
		} else ahead.id ??= call.id;
		if (name === "" && args === "") return [];
		if (!this.isCaughtUp) throw new Diverged();
		const { id } = ahead;
		ahead.id = "";
		return [{ index, ...(id ? { id } : {}), function: { ...(name ? { name } : {}), arguments: args } }];
	}
}

const PARTS: Readonly<Record<string, Part>> = {
	content: "content",
	reasoning_content: "reasoning",
	reasoning: "reasoning",
	refusal: "refusal",
};

/** What `text` brings beyond `ahead`, and what of `ahead` is left. Throws Diverged where they differ. */
function behind(ahead: string, text: string): [string, string] {
	if (text.length <= ahead.length) {
		if (!ahead.startsWith(text)) throw new Diverged();
		return ["", ahead.slice(text.length)];
	}
	if (!text.startsWith(ahead)) throw new Diverged();
	return [text.slice(ahead.length), ""];
}
