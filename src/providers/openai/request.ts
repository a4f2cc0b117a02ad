/** A call's request to an upstream that speaks OpenAI: the client's own bytes, with the few edits that the upstream needs. */

import { type Call, nativeFor } from "../../openai/call.ts";
import { addField, type Edit, fieldNamed, fieldsOf } from "../../openai/json.ts";
import { OPERATIONS, type Operation } from "../../openai/operations.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import type { RequestField } from "../../openai/request-scan.ts";
import { REPLICA_HEADER } from "../../protocol/agent.ts";
import type { DefaultFields } from "../../vendors.ts";
import { type Addition, CHAT_COMPLETIONS, CHAT_TOOLS, OLDER_NAME } from "../failure.ts";
import { type EncodeOptions, NO_INPUTS, type Provider, type RequestInputs } from "../provider.ts";
import { addressMissing, type Upstream } from "../registry.ts";
import { requestHeaders } from "../request-headers.ts";
import { passedRequest } from "./passed-request.ts";
import { responsesRequest } from "./responses-request.ts";
import { refusesSigned, type ThoughtTerms, thoughtEdits } from "./signed-thoughts.ts";
import { askedBody } from "./unasked-fields.ts";

/** The encoder of one upstream. */
export function requestEncoder(upstream: Upstream): Provider["encode"] {
	const { state, baseUrl, row } = upstream;
	const defaults = upstream.keepsSystemPrompt ? undefined : row.defaults;
	const headersFor = requestHeaders(upstream);
	const isVllm = row.continuation === "continue_final_message";
	const urls = Object.fromEntries(
		Object.entries(OPERATIONS).map(([operation, { path }]) => [operation, `${baseUrl}${path}`]),
	) as Record<Operation, string>;
	return (call, { model, replica }, inputs = NO_INPUTS, options) => {
		if (state !== "ready" || baseUrl === undefined) throw addressMissing(upstream);
		if (call.passed) return passedRequest(baseUrl, headersFor(call), call, model, replica);
		const omit = options?.omit;
		const isChat = upstream.responses !== undefined && call.operation === "chat";
		if (isChat && (call.responses || omit?.has(CHAT_COMPLETIONS) || omit?.has(CHAT_TOOLS))) {
			const asked = responsesRequest({ upstream, call, model, headers: headersFor(call), inputs, options });
			if (asked) return asked;
		}
		const countsChunks = options?.countsChunks && row.countsChunks;
		// What clients of other wires send unasked, a server may be asked without.
		const isTranslated = call.dialect !== undefined && call.dialect.id !== "openai-chat";
		const asked = isTranslated
			? askedBody(bodyFor(call, model, row), omit, {
					policy: options?.unsupported ?? upstream.unsupported,
					continues: call.prefills === true && isVllm,
					isThoughtless: call.isThoughtless === true && isVllm,
				})
			: undefined;
		const body = asked?.body ?? call.body();
		const { edits, added } = editsFor(
			body,
			call,
			model,
			defaults?.[call.operation as keyof typeof defaults],
			countsChunks,
			omit,
		);
		if (!asked) nameLimit(body, omit, edits, added);
		if (isChat && upstream.responses.isOpenAi) for (const name of AT_RESPONSES) if (!omit?.has(name)) added.push(name);
		if (mayHoldThoughts(body)) edits.push(...thoughtEdits(body, termsOf(row, model, inputs, omit), added));
		const headers = headersFor(call);
		if (replica !== undefined) headers[REPLICA_HEADER] = String(replica);
		return {
			url: urls[call.operation],
			stream: call.stream,
			added: asked ? [...added, ...asked.added] : added,
			dropped: asked && named([...(call.leftOut?.() ?? []), ...asked.dropped]),
			body: body.edited(edits),
			headers,
		};
	};
}

/** OpenAI may take a chat, or one with tools, as a response alone. */
const AT_RESPONSES: readonly Addition[] = [CHAT_COMPLETIONS, CHAT_TOOLS];

/** Levels of a list of messages that are texts: nothing is signed there. */
const LEVELS_OF_TEXTS = 2;

const mayHoldThoughts = (body: ParsedBody): boolean => (body.field("messages")?.levels ?? 0) > LEVELS_OF_TEXTS;

const termsOf = (
	{ signs }: Upstream["row"],
	model: string,
	inputs: RequestInputs,
	omit: EncodeOptions["omit"],
): ThoughtTerms => ({
	signs: refusesSigned(omit) ? undefined : signs,
	model,
	inputs,
	hasStored: inputs !== NO_INPUTS,
});

const NEWER_NAME = "max_completion_tokens";

/** Most chat clients give the limit of an answer its older name, which OpenAI's newer models refuse: they are told the same number by the newer one. */
function nameLimit(body: ParsedBody, omit: EncodeOptions["omit"], edits: Edit[], added: Addition[]): void {
	let older: RequestField | undefined;
	for (const field of body.fields) {
		if (field.key === NEWER_NAME) return;
		if (field.key === "max_tokens") older = field;
	}
	if (!older) return;
	if (omit?.has(OLDER_NAME)) edits.push({ start: older.keyStart, end: older.start, insert: `"${NEWER_NAME}":` });
	else added.push(OLDER_NAME);
}

/** What a translated call is made of: with what Claude alone has a form for, where the server passes that on. */
export const bodyFor = (call: Call, model: string, { signs }: Upstream["row"]): ParsedBody =>
	(signs === "details" && CLAUDE.test(model) ? nativeFor(call, "anthropic")?.marked?.() : undefined) ?? call.body();

const CLAUDE = /claude/i;

/** Undefined for no names. */
const named = (names: readonly string[]): readonly string[] | undefined => (names.length > 0 ? names : undefined);

/** Names with nothing to escape, which most are: `JSON.stringify` is dear for those. */
const PLAIN = /^[\w.:/@-]+$/;

/** The edits of a call's text, and what of them the router adds to what it says. */
interface RequestEdits {
	readonly edits: Edit[];
	/** Fields that the router adds of its own accord. */
	readonly added: Addition[];
}

/** `stream_options.include_usage`. */
export const STREAM_OPTIONS: Addition = "stream_options";
/** `stream_options.continuous_usage_stats`, of vLLM: the tokens so far, with each chunk. */
export const CONTINUOUS_USAGE: Addition = "continuous_usage_stats";

/**
 * `model` where the upstream calls it something else; `stream_options.include_usage` on streams, since settling needs the
 * usage; the tokens so far with each chunk where `countsChunks` says so;
 * and the row's defaults. A field the client set is never changed but for these.
 */
function editsFor(
	body: ParsedBody,
	{ stream: isStream, facts }: Pick<Call, "stream" | "facts">,
	model: string,
	defaults: DefaultFields | undefined,
	countsChunks = false,
	omit?: EncodeOptions["omit"],
): RequestEdits {
	const edits: Edit[] = [];
	const added: Addition[] = [];
	if (facts.model !== model) {
		const field = body.field("model")!;
		edits.push({
			start: field.start,
			end: field.end,
			insert: PLAIN.test(model) ? `"${model}"` : JSON.stringify(model),
		});
	}
	if (isStream) addStreamOptions(body, countsChunks, omit, edits, added);
	if (!defaults) return { edits, added };
	for (const [name, values] of Object.entries(defaults)) {
		if (omit?.has(name)) continue;
		const present = body.at(name);
		const isSet = (key: string) => typeof present === "object" && present !== null && key in present;
		const missing = Object.entries(values).filter(([key]) => !isSet(key));
		if (missing.length === 0) continue;
		edits.push(...setInside(body, name, missing));
		added.push(name);
	}
	return { edits, added };
}

function addStreamOptions(
	body: ParsedBody,
	countsChunks: boolean,
	omit: EncodeOptions["omit"],
	edits: Edit[],
	added: Addition[],
): void {
	const options = body.at("stream_options") as RequestBody["stream_options"];
	const asksUsage = options?.include_usage === true;
	if (omit?.has(STREAM_OPTIONS) && !asksUsage) return;
	const asksCounts = countsChunks && !omit?.has(CONTINUOUS_USAGE) && options?.continuous_usage_stats !== true;
	if (!asksUsage) added.push(STREAM_OPTIONS);
	if (asksCounts) added.push(CONTINUOUS_USAGE);
	if (asksUsage && !asksCounts) return;
	edits.push(...setInside(body, "stream_options", asksCounts ? (asksUsage ? COUNTS : USAGE_AND_COUNTS) : USAGE));
}

type Entries = readonly (readonly [name: string, value: unknown])[];

const USAGE: Entries = [["include_usage", true]];
const COUNTS: Entries = [["continuous_usage_stats", true]];
const USAGE_AND_COUNTS: Entries = [...USAGE, ...COUNTS];

/** The edits that make `name: { key: value, … }` true, whether `name` is there, null, or not there at all. */
function setInside(body: ParsedBody, name: string, values: Entries): Edit[] {
	const { bytes, fields } = body;
	const field = body.field(name);
	const whole = () => `{${values.map(([key, value]) => `"${key}":${JSON.stringify(value)}`).join(",")}}`;
	if (!field) return [addField(bytes.indexOf(OPEN_BRACE), fields.length === 0, name, whole())];
	const { start, end } = field;
	// Of names in ASCII alone something is asked: a character a byte, so that the places are those of the bytes.
	const inner = bytes[start] === OPEN_BRACE ? fieldsOf(bytes.toString("latin1", start, end)) : [];
	if (inner.length === 0) return [{ start, end, insert: whole() }];
	return values.map(([key, value]) => {
		const json = JSON.stringify(value);
		const old = fieldNamed(inner, key);
		if (!old) return addField(start, false, key, json);
		return { start: start + old.start, end: start + old.end, insert: json };
	});
}

const OPEN_BRACE = 123;
