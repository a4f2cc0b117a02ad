/** Gemini's streams (`streamGenerateContent?alt=sse`), as OpenAI's: each event becomes its chunks at once, but for the last. */
import { bytePart } from "../../openai/byte-part.ts";
import { type Call, formFor } from "../../openai/call.ts";
import { parseBounded } from "../../openai/json.ts";
import type { SseEvent } from "../../openai/sse.ts";
import { type EventFrame, eventFrame } from "../../openai/text-chunks.ts";
import type { Tokens } from "../../openai/usage.ts";
import { ChatChunks, chatUsage, type FinishReason, now } from "../chat-answer.ts";
import { type Failure, NO_CHOICE, TRUNCATED } from "../failure.ts";
import { UnnamedText, unnamedText } from "../message-marks.ts";
import type { Out, PassedEvents, StoredThinking, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import { clientName } from "./function-names.ts";
import { Sources } from "./grounding.ts";
import { jsonAnswer } from "./json-answer.ts";
import { logprobsOf } from "./logprobs.ts";
import {
	type AnswerRules,
	answerRules,
	blocked,
	callId,
	candidateFinish,
	type GeminiCandidate,
	type GenerateResponse,
	generatedTier,
	generatedTokens,
	imageOf,
	isGenerated,
	type ResponsePart,
	signatureExtra,
} from "./response.ts";
import { TextEvents } from "./text-events.ts";

/** What is known of one candidate. */
interface Choice {
	calls: number;
	/** Any piece may bring one; only the last counts, and that it was the last is known at the end. */
	finishReason: string | undefined;
	/** Its text, where that may begin with a name and goes on as it comes. */
	readonly unnamed: UnnamedText | undefined;
	/** An answer that came as a call, kept until it is known that no call of the caller's own comes. */
	answer: string | undefined;
	/** All of its text so far, and the sources of that, which are said at its end. */
	text: string;
	/** What of it has passed unread, as JSON without its quotes. */
	unread: Buffer[];
	sources: Sources | undefined;
}

/** What a piece of an answer becomes. */
interface Piece {
	bytes: string;
	delta: boolean;
	held: boolean;
	finish: boolean | undefined;
	failure: Failure | undefined;
	readonly thinking: StoredThinking[];
}

/** Reads one stream. */
export class GenerateDecoder implements StreamDecoder {
	readonly #upstream: Upstream;
	readonly #call: Call;
	readonly #chunks = new ChatChunks(now());
	readonly #choices = new Map<number, Choice>();
	readonly #rules: AnswerRules;
	/** Its client reads what Google sends, counts included. */
	readonly #isAsItCame: boolean;
	#responseId = "";
	#tier: string | undefined;
	/** The last counts that came, and what they say, once that was asked. */
	#usage: unknown;
	#tokens: Tokens | undefined;
	readonly #texts = new TextEvents();
	/** Around texts that pass unread. */
	#frame: EventFrame | undefined;
	readonly #frameOf = (): EventFrame => {
		this.#frame ??= eventFrame(this.#chunks.textFrame());
		return this.#frame;
	};
	/** Each piece has the finish reason `STOP`, as models before 2.0 do it: only the end of the stream says which piece was the last. */
	#finishesAlways = false;

	/** @param rules those of the call's request, unless the client has written that itself */
	constructor(upstream: Upstream, call: Call, model = call.facts.model, rules?: AnswerRules) {
		this.#upstream = upstream;
		this.#call = call;
		this.#rules = rules ?? answerRules(formFor(call, "gemini").body().value, model);
		this.#isAsItCame = rules !== undefined;
	}

	/** Writes the chunks: none before the first event. */
	get chunks(): ChatChunks {
		return this.#chunks;
	}

	passThrough(chunk: Buffer, from: number): PassedEvents | undefined {
		const choice = this.#choices.size === 1 ? this.#choices.get(0) : undefined;
		// A name may stand before its text, and a form is held until the end.
		if (!choice || choice.unnamed || choice.finishReason !== undefined || this.#rules.json) return undefined;
		const texts = this.#texts;
		const length = texts.read(chunk, from, !this.#isAsItCame) - from;
		if (length === 0) return undefined;
		// Whose sources are said as they came needs no text to say them in.
		if (!this.#isAsItCame) choice.unread.push(texts.textsIn(chunk));
		const own = this.#isAsItCame ? bytePart(chunk, from, from + length) : undefined;
		return { bytes: texts.written(chunk, from, this.#frameOf, own), length, events: texts.events };
	}

	passedTokens(): Tokens | undefined {
		return this.#countPassed() ? this.#counted() : undefined;
	}

	/** Whether what passed unread has counts that were not read yet. */
	#countPassed(): boolean {
		const counts = this.#texts.takeCounts();
		const usage = counts === undefined ? undefined : parse(counts)?.usageMetadata;
		if (usage) this.#count(usage);
		return usage !== undefined;
	}

	#count(usage: unknown): void {
		this.#usage = usage;
		this.#tokens = undefined;
	}

	#counted(): Tokens {
		this.#tokens ??= generatedTokens(this.#usage);
		return this.#tokens;
	}

	push(event: SseEvent): Out {
		return this.read(event).out;
	}

	/** The same with what was read; undefined where that is no answer. */
	read({ data, raw }: SseEvent): { readonly out: Out; readonly response?: GenerateResponse } {
		if (data === undefined) return { out: { bytes: "" } };
		const response = parse(data);
		if (!response) return { out: { bytes: "", dropped: true } };
		return { out: this.#outOf(response, raw), response };
	}

	/** @param event its text */
	#outOf(response: GenerateResponse, event: string): Out {
		if (response.error) return { bytes: "", failure: this.#failed(response) };
		// Counts are those of the whole answer so far.
		if (response.usageMetadata) {
			this.#count(response.usageMetadata);
			this.#texts.takeCounts();
		} else this.#countPassed();
		const tokens = this.#usage === undefined ? undefined : this.#counted();
		const refused = blocked(response);
		if (refused) return { bytes: "", failure: refused, tokens };
		if (!this.#chunks.hasBegun || response.candidates?.[0]?.finishReason) this.#begin(response);
		const words = this.#isAsItCame ? wordsIn(response) : undefined;
		if (words !== undefined) {
			const out = this.#readWords(words, response.candidates![0]!, tokens);
			this.#texts.learn(event, response);
			return out;
		}
		const piece: Piece = { bytes: "", delta: false, held: false, finish: undefined, failure: undefined, thinking: [] };
		for (const [position, candidate] of (response.candidates ?? []).entries()) {
			this.#read(candidate, candidate.index ?? position, piece);
		}
		this.#texts.learn(event, response);
		return piece.failure ? { bytes: "", failure: piece.failure, tokens } : { ...piece, tokens };
	}

	/** Sets what all chunks share; the tier may be said at the end alone. */
	#begin({ responseId, modelVersion, usageMetadata }: GenerateResponse): void {
		const tier = this.#tier ?? generatedTier(usageMetadata);
		if (this.#chunks.hasBegun && tier === this.#tier) return;
		this.#tier = tier;
		this.#frame = undefined;
		this.#responseId ||= responseId || crypto.randomUUID();
		this.#chunks.begin(this.#responseId, modelVersion ?? this.#call.facts.model, tier);
	}

	/** What brings nothing but words of the first candidate, for a client that reads what Google sends: in OpenAI's words, where somebody asks for those. */
	#readWords(words: string, candidate: GeminiCandidate, tokens: Tokens | undefined): Out {
		const before = this.#choices.get(0);
		const choice = before ?? this.#begun(0);
		if (words !== "") choice.text = textIn(choice) + words;
		const finish = this.#finishOf(choice, candidate);
		const chunks = this.#chunks;
		const lazyBytes = () => (before ? "" : chunks.role()) + (words === "" ? "" : chunks.text(words));
		return { lazyBytes, delta: words !== "", finish, tokens };
	}

	#begun(index: number): Choice {
		const { names, json } = this.#rules;
		const choice: Choice = {
			calls: 0,
			finishReason: undefined,
			unnamed: names.length > 0 && !json ? new UnnamedText(names) : undefined,
			answer: undefined,
			text: "",
			unread: [],
			sources: undefined,
		};
		this.#choices.set(index, choice);
		return choice;
	}

	/** Notes how a candidate has ended. Whether that is the end, or none after all; undefined where it says nothing of it. */
	#finishOf(choice: Choice, { content, finishReason }: GeminiCandidate): boolean | undefined {
		if (choice.finishReason !== undefined && content?.parts?.length) this.#finishesAlways = true;
		choice.finishReason = finishReason ?? choice.finishReason;
		if (this.#finishesAlways) return false;
		return finishReason ? true : undefined;
	}

	#read(candidate: GeminiCandidate, index: number, piece: Piece): void {
		let choice = this.#choices.get(index);
		if (!choice) {
			choice = this.#begun(index);
			piece.bytes += this.#chunks.role(index);
		}
		const parts = candidate.content?.parts ?? [];
		for (const part of parts) this.#readPart(part, index, choice, piece);
		const logprobs = logprobsOf(candidate.logprobsResult);
		if (logprobs) piece.bytes += this.#chunks.delta("{}", index, JSON.stringify(logprobs));
		if (candidate.citationMetadata || candidate.groundingMetadata) {
			choice.sources ??= new Sources();
			choice.sources.add(candidate);
		}
		piece.finish = this.#finishOf(choice, candidate) ?? piece.finish;
	}

	#readPart(part: ResponsePart, index: number, choice: Choice, piece: Piece): void {
		const { text, thought, functionCall, inlineData, thoughtSignature: signature } = part;
		const { json } = this.#rules;
		if (json && functionCall?.name === json.name) {
			const read = jsonAnswer(json, functionCall.args);
			if (typeof read === "string") choice.answer ??= read;
			else piece.failure ??= read;
			return;
		}
		if (functionCall) {
			if (this.#rules.isSoleCall && choice.calls > 0) return;
			piece.bytes += this.#held(choice, index);
			const id = callId(functionCall, this.#responseId, index, choice.calls);
			const args = JSON.stringify(functionCall.args ?? {});
			const extra = signature ? signatureExtra(signature) : {};
			if (signature) piece.thinking.push({ id, value: signature });
			const name = clientName(functionCall.name ?? "", this.#rules.tools);
			piece.bytes += this.#chunks.call(choice.calls++, id, name, args, extra, index);
			piece.delta = true;
			return;
		}
		if (inlineData) {
			if (thought) return;
			piece.bytes += this.#held(choice, index);
			piece.bytes += this.#chunks.delta(JSON.stringify({ images: [imageOf(inlineData, signature)] }), index);
			piece.delta = true;
			return;
		}
		if (text && !thought) choice.text = textIn(choice) + text;
		const said = !text || thought || !choice.unnamed ? text : choice.unnamed.push(text);
		// Whether it stays is known at the end.
		if (said && json && !thought) piece.held = true;
		else if (said) {
			piece.bytes += thought ? this.#chunks.reasoning(said, index) : this.#chunks.text(said, index);
			piece.delta = true;
		}
		if (signature) piece.bytes += this.#chunks.delta(JSON.stringify(signatureExtra(signature)), index);
	}

	/** Text that might have been a name. */
	#held({ unnamed }: Choice, index: number): string {
		const held = unnamed?.end();
		return held ? this.#chunks.text(held, index) : "";
	}

	#failed(response: GenerateResponse): Failure {
		const error = readErrorObject({ error: response.error }) ?? { isOurs: true, message: "failed" };
		// CANCELLED: not by the caller, whose stream it is.
		const status = error.status === 499 ? 500 : (error.status ?? 500);
		return failureOf(this.#upstream, status, error);
	}

	end(): Failure | undefined {
		if (this.#choices.size === 0) return NO_CHOICE;
		for (const { finishReason } of this.#choices.values()) if (finishReason === undefined) return TRUNCATED;
		return undefined;
	}

	flush(): Out {
		this.#countPassed();
		const tokens = this.#counted();
		for (const { finishReason = "", calls } of this.#choices.values()) {
			const reason = candidateFinish(finishReason, calls > 0);
			if (typeof reason !== "string") return { bytes: "", failure: reason, tokens };
		}
		// Google's events have said how much it was.
		if (this.#isAsItCame) return { lazyBytes: () => this.#endings(), tokens };
		const asked = formFor(this.#call, "gemini").body().value.stream_options?.include_usage === true;
		const bytes = this.#endings();
		return { bytes, usage: asked ? this.#chunks.usage(chatUsage(tokens)) : undefined, tokens };
	}

	/** What ends each candidate, all of which have ended well. */
	#endings(): string {
		let bytes = "";
		for (const [index, choice] of this.#choices) {
			bytes += this.#held(choice, index);
			const said = choice.sources || this.#rules.json ? unnamedText(textIn(choice), this.#rules.names) : "";
			const answer = this.#rules.json && choice.calls === 0 ? (choice.answer ?? said) : "";
			if (answer !== "") bytes += this.#chunks.text(answer, index);
			const annotations = choice.sources?.annotations(choice.text, said);
			if (annotations?.length) bytes += this.#chunks.delta(JSON.stringify({ annotations }), index);
			bytes += this.#chunks.finish(candidateFinish(choice.finishReason ?? "", choice.calls > 0) as FinishReason, index);
		}
		return bytes;
	}
}

/** What a part may have besides its words, or a candidate, where those are not all. */
const BESIDE_WORDS = ["thought", "thoughtSignature", "functionCall", "inlineData"] as const;

/** The words of the first candidate where the answer's piece brings nothing else that OpenAI's words have a form for, "" where it has none; undefined of any other. */
function wordsIn({ candidates }: GenerateResponse): string | undefined {
	const [candidate, other] = candidates ?? [];
	if (!candidate || other || (candidate.index ?? 0) !== 0) return undefined;
	if (candidate.logprobsResult || candidate.citationMetadata || candidate.groundingMetadata) return undefined;
	const [part, more] = candidate.content?.parts ?? [];
	if (more || (part && BESIDE_WORDS.some((name) => part[name] != null))) return undefined;
	return part?.text ?? "";
}

/** All of a choice's text so far. */
function textIn(choice: Choice): string {
	if (choice.unread.length === 0) return choice.text;
	choice.text += JSON.parse(`"${Buffer.concat(choice.unread)}"`) as string;
	choice.unread = [];
	return choice.text;
}

function parse(json: string): GenerateResponse | undefined {
	try {
		const response = parseBounded(json);
		return isGenerated(response) ? response : undefined;
	} catch {
		return undefined;
	}
}
