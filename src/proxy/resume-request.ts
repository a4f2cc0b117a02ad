/** How an answer that broke off goes on at another target: the call that asks for the rest. Pure. */
import { answerTokens } from "../accounts/usage/token-estimate.ts";
import { requestOf } from "../dialects/openai-chat.ts";
import type { Call } from "../openai/call.ts";
import { addField, type Edit, fieldsOf } from "../openai/json.ts";
import { ParsedBody } from "../openai/parsed-body.ts";
import type { SentSoFar } from "../openai/sent-so-far.ts";
import type { CountedTokens } from "../providers/provider.ts";
import type { Continuation } from "../vendors.ts";

/** The call that asks for the rest of an answer, and how its answer is to be read. */
export interface FollowUp {
	readonly call: Call;
	/**
	 * `continue`: the answer is the rest. `replay`: it is the whole again, of which what was sent already must be the
	 * beginning.
	 */
	readonly mode: "continue" | "replay";
	/** White space at the end of what was sent that the call leaves out; the answer may begin with it again. */
	readonly trimmed: string;
	/** Tokens of what was sent. */
	readonly spent: ResumeSpend;
}

/** Why an answer can't go on anywhere, a clause behind "it can't go on elsewhere: "; undefined where it can. */
export function obstacleOf(call: Call, sent: SentSoFar): string | undefined {
	const { n, best_of: bestOf, echo, prompt } = call.body().value;
	if ((typeof n === "number" && n > 1) || (typeof bestOf === "number" && bestOf > 1)) return "it has several choices";
	if (Array.isArray(prompt) && prompt.length > 1 && typeof prompt[0] !== "number") return "it has several prompts";
	if (echo === true) return "it echoes its prompt";
	if (sent.isFinished) return "it had finished";
	return sent.obstacle;
}

/**
 * The ways to ask a target for the rest, best first. Continuing needs plain text to go on from: an answer that broke off inside
 * its thinking, a refusal or a tool call is only ever replayed.
 */
export function followUps(call: Call, sent: SentSoFar, capability: Continuation, spent: ResumeSpend): FollowUp[] {
	const replay: FollowUp = { call: inOpenAiWords(call), mode: "replay", trimmed: "", spent };
	const continued = capability === "replay" ? undefined : continuing(call, sent, capability, spent);
	return continued ? [continued, replay] : [replay];
}

/** The rest of an answer is told in chunks of chats. */
const inOpenAiWords = (call: Call): Call => (call.responses ? { ...call, responses: undefined } : call);

function continuing(call: Call, sent: SentSoFar, capability: Continuation, spent: ResumeSpend): FollowUp | undefined {
	if (sent.toolCalls.length > 0 || sent.refusal !== "" || hasGrammar(call)) return undefined;
	const isPrompt = call.operation === "completions";
	// What a text completion goes on from keeps its white space.
	const tokens = isPrompt ? spent.total : spent.tokens;
	// As good as finished: a limit of less than a token can't be asked for, and one more would be too much.
	const body = call.body();
	if (LIMITS.some((name) => Number(body.value[name] ?? Number.POSITIVE_INFINITY) <= tokens)) return undefined;
	const text = isPrompt ? sent.text : sent.content;
	// Chat templates trim what comes last; vendors refuse a prefill that ends with white space.
	const partial = text.trimEnd();
	if (partial === "") return undefined;
	const edits = isPrompt ? promptEdits(body, text) : messageEdits(body, partial, capability);
	if (!edits) return undefined;
	return {
		call: edited(call, [...edits, ...budgetEdits(body, tokens)]),
		mode: "continue",
		trimmed: isPrompt ? "" : text.slice(partial.length),
		spent: { ...spent, tokens },
	};
}

/** A grammar knows nothing of a beginning in the prompt: it would begin a new document. */
function hasGrammar(call: Call): boolean {
	const { value } = call.body();
	const { type = undefined } = (value["response_format"] ?? {}) as { type?: string };
	return (type !== undefined && type !== "text") || GRAMMARS.some((name) => value[name] != null);
}

/** Fields by which vLLM takes one, in the versions before and since 0.12. */
const GRAMMARS = ["structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"];
/** Fields that limit an answer's tokens. */
const LIMITS = ["max_tokens", "max_completion_tokens"];

/** The prompt with what it led to behind it; undefined for prompts that are no text. */
function promptEdits(body: ParsedBody, sent: string): Edit[] | undefined {
	const { prompt, suffix } = body.value;
	const field = body.field("prompt");
	if (typeof prompt !== "string" || !field || suffix) return undefined;
	return [{ start: field.start, end: field.end, insert: JSON.stringify(prompt + sent) }];
}

/** The messages with the partial answer as the last; undefined where the caller itself ends with an assistant's words. */
function messageEdits(body: ParsedBody, partial: string, capability: Continuation): Edit[] | undefined {
	const messages = body.value["messages"] as { role?: string }[] | undefined;
	const field = body.field("messages");
	if (!messages || !field || messages.at(-1)?.role === "assistant") return undefined;
	const end = field.end - 1;
	const insert = `,${JSON.stringify({ role: "assistant", content: partial })}`;
	const edits: Edit[] = [{ start: end, end, insert }];
	if (capability === "continue_final_message") {
		edits.push(...setField(body, "add_generation_prompt", "false"));
		edits.push(...setField(body, "continue_final_message", "true"));
	}
	return edits;
}

/** The tokens that are left of the caller's limit. */
function budgetEdits(body: ParsedBody, spent: number): Edit[] {
	return LIMITS.flatMap((name) => {
		const limit = body.at(name);
		return typeof limit === "number" ? setField(body, name, String(limit - spent)) : [];
	});
}

function setField(body: ParsedBody, name: string, json: string): Edit[] {
	const field = body.field(name);
	if (field) return [{ start: field.start, end: field.end, insert: json }];
	return [addField(body.bytes.indexOf("{"), body.fields.length === 0, name, json)];
}

function edited(call: Call, edits: readonly Edit[]): Call {
	const raw = Buffer.concat(call.body().edited(edits)).toString();
	const { facts, body } = requestOf(call.operation, ParsedBody.of(raw, fieldsOf(raw), JSON.parse(raw)));
	return { ...call, facts, body, prefills: undefined, native: undefined, responses: undefined };
}

/** Tokens that the client has been sent. */
export interface ResumeSpend {
	/** Of the prompt, as the answer's first upstream counted it; undefined where it has not. */
	readonly prompt: number | undefined;
	/**
	 * Of the answer, but for the white space at its end: the call for the rest leaves that out, so that it is made, and counted, once
	 * more.
	 */
	readonly tokens: number;
	/** With that white space. */
	readonly total: number;
	/** Of the answer, those that are reasoning; undefined where none are known. */
	readonly reasoning?: number | undefined;
	/** Some of it was not counted but estimated from its length. */
	readonly isEstimated: boolean;
	/** What of the answer that was. */
	readonly sent: Pick<SentSoFar, "characters" | "bytes" | "deltas">;
}

/** Characters that a chunk of one token has on average, at most. Latin text has 4 to 5 a token. */
const A_TOKEN = 6;
/** Further tokens a byte beyond the first of a character, as characters: see `accounts/usage/token-estimate.ts`. */
const EXTRA_BYTE = 1.4;

/**
 * Tokens of what was sent.
 * @param counted as the upstream that broke counts the whole answer up to there; undefined where it does not
 * @param before what had been sent when the answer broke last
 */
export function resumeSpend(
	sent: SentSoFar,
	counted: CountedTokens | undefined,
	before: ResumeSpend | undefined,
): ResumeSpend {
	const prompt = before?.prompt ?? counted?.input;
	if (before && sent.characters === before.sent.characters) return { ...before, prompt };
	if (counted) {
		const isEstimated = before?.isEstimated ?? false;
		const { trimmed: tokens, output: total, reasoning = before?.reasoning } = counted;
		return { prompt, tokens, total, reasoning, isEstimated, sent };
	}
	const { characters, bytes, deltas } = before?.sent ?? { characters: 0, bytes: 0, deltas: 0 };
	const more = sent.characters - characters;
	const length = more + (sent.bytes - bytes - more) * EXTRA_BYTE;
	const chunks = sent.deltas - deltas;
	// Most upstreams send a token a chunk; where they pack several, chunks are longer than a token is.
	const isPacked = length > chunks * A_TOKEN;
	const all = (before?.total ?? 0) + (isPacked ? Math.max(chunks, answerTokens(length)) : chunks);
	const tokens = Math.max(0, all - sent.trailingSpaces);
	const thought = Math.min(tokens, Math.round(answerTokens(sent.reasoning.length)));
	const reasoning = before?.reasoning ?? (thought > 0 ? thought : undefined);
	return { prompt, tokens, total: all, reasoning, isEstimated: true, sent };
}
