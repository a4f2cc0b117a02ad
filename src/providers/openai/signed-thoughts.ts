/**
 * What models have thought, in a conversation that goes to a server which speaks OpenAI: what another vendor has signed is taken out, and what this
 * one has signed is put back where its client has dropped it. All else of the messages stays as the client has sent it.
 */
import { type Edit, type Field, fieldNamed, fieldsOf, itemsOf } from "../../openai/json.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import { addDetail, isGooglesOwn, signerOf } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import type { SignedThoughts } from "../../vendors.ts";
import type { Addition } from "../failure.ts";
import type { EncodeOptions, RequestInputs, StoredThinking } from "../provider.ts";

type Json = Readonly<Record<string, unknown>>;

/** What decides about the thoughts of a conversation. */
export interface ThoughtTerms {
	/** In which form the server signs what its models think; undefined: in none. */
	readonly signs: SignedThoughts | undefined;
	/** What it calls the model. */
	readonly model: string;
	readonly inputs: RequestInputs;
	/** Something may have been kept of what this server has answered. */
	readonly hasStored: boolean;
}

const NONE: readonly Edit[] = [];
const SIGNED = ["reasoning_details", "extra_content", "reasoning_encrypted"] as const;
const SIGNED_KEYS = SIGNED.map((name) => Buffer.from(`"${name}"`));
const WORDS = ["reasoning", "reasoning_content"] as const;
const CALLS_KEY = Buffer.from('"tool_calls"');

/** Whether a server has refused what is signed: it may have been sent to one of which nobody knows what it reads. */
export const refusesSigned = (omit: EncodeOptions["omit"]): boolean =>
	omit !== undefined && SIGNED.some((name) => omit.has(name));

/**
 * The edits of the body's messages, in bytes.
 * @param added gets the fields that the server may refuse, and may then be asked without
 */
export function thoughtEdits(body: ParsedBody, terms: ThoughtTerms, added: Addition[]): readonly Edit[] {
	const list = body.field("messages");
	if (!list) return NONE;
	const { bytes } = body;
	const signed = SIGNED.filter((_, at) => bytes.includes(SIGNED_KEYS[at]!));
	if (terms.signs === "unknown") added.push(...signed);
	const isConcerned = signed.length > 0 || (terms.hasStored && bytes.includes(CALLS_KEY));
	if (!isConcerned) return NONE;
	// A character a byte, so that places in it are those of the bytes.
	const text = bytes.toString("latin1", list.start, list.end);
	const edits: Edit[] = [];
	for (const { start, end } of itemsOf(text, 0)) {
		const insert = messageText(text.slice(start, end), terms);
		if (insert !== undefined) edits.push({ start: list.start + start, end: list.start + end, insert });
	}
	return edits;
}

/** A message of the assistant's that is changed; undefined where it stays as it is. */
function messageText(latin1: string, terms: ThoughtTerms): string | undefined {
	const fields = fieldsOf(latin1);
	if (parsedValue(latin1, fieldNamed(fields, "role")) !== "assistant") return undefined;
	const made = new Map<string, string | undefined>();
	const textIn = (name: string) => valueText(latin1, fieldNamed(fields, name));
	let isForeign = false;
	let isSigned = false;
	const take = (name: string, kept: string | undefined) => {
		if (textIn(name) === undefined) return;
		if (kept === textIn(name)) isSigned = true;
		else {
			made.set(name, kept);
			isForeign ||= kept === undefined;
			isSigned ||= kept !== undefined;
		}
	};
	const details = parsedValue(latin1, fieldNamed(fields, "reasoning_details"));
	take("reasoning_details", keptDetails(details, textIn("reasoning_details"), terms));
	take("reasoning_encrypted", terms.signs && terms.signs !== "details" ? textIn("reasoning_encrypted") : undefined);
	if (terms.signs !== "unknown") {
		const extra = textIn("extra_content");
		if (extra !== undefined && isGooglesSignature(JSON.parse(extra))) take("extra_content", undefined);
		for (const name of ["tool_calls", "images"]) {
			const field = fieldNamed(fields, name);
			const plain = field && withoutSignatures(latin1.slice(field.start, field.end));
			if (plain === undefined) continue;
			made.set(name, plain);
			isForeign = true;
		}
	}
	if (terms.hasStored && !isSigned) restore(parsedValue(latin1, fieldNamed(fields, "tool_calls")), made, terms);
	// What it has signed the vendor has said in these words.
	const isLeft = isForeign && !isSigned && !made.get("reasoning_content");
	if (isLeft) for (const name of WORDS) if (textIn(name) !== undefined && !made.has(name)) made.set(name, undefined);
	if (made.size === 0) return undefined;
	const texts = new Map(fields.map((field) => [field.key, valueText(latin1, field)!]));
	for (const [name, value] of made) {
		if (value === undefined) texts.delete(name);
		else texts.set(name, value);
	}
	return `{${[...texts].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

/** The text of a field's value; undefined where there is no such field. */
const valueText = (latin1: string, field: Field | undefined): string | undefined =>
	field && Buffer.from(latin1.slice(field.start, field.end), "latin1").toString();

const parsedValue = (latin1: string, field: Field | undefined): unknown => {
	const text = valueText(latin1, field);
	return text === undefined ? undefined : JSON.parse(text);
};

/** Those details that the model's vendor takes, as they stand there; undefined where there are none. */
function keptDetails(details: unknown, text: string | undefined, terms: ThoughtTerms): string | undefined {
	if (!Array.isArray(details)) return undefined;
	const kept = details.filter((each) => isTaken(each, terms));
	if (kept.length === 0) return undefined;
	return kept.length === details.length ? text : JSON.stringify(kept);
}

function isTaken(detail: unknown, { signs, model }: ThoughtTerms): boolean {
	if (isGooglesOwn(detail)) return false;
	if (signs === "unknown") return true;
	if (signs !== "details") return false;
	const signer = signerOf(detail);
	const author = authorOf(model);
	return signer === undefined || author === undefined || signer === author;
}

/** Whose model it is, where its name says so (`anthropic/claude-…`): OpenRouter's own names (`openrouter/auto`) may be anyone's. */
function authorOf(model: string): string | undefined {
	const slash = model.indexOf("/");
	const author = model.slice(0, Math.max(0, slash)).replace(/^~/, "");
	return author === "" || author === "openrouter" ? undefined : author;
}

const isGooglesSignature = (extra: unknown): boolean =>
	objectIn(objectIn(extra)?.["google"])?.["thought_signature"] !== undefined;

/** A list of calls or pictures without what Google has signed of them; undefined where that is nothing. */
function withoutSignatures(latin1: string): string | undefined {
	if (!latin1.includes('"extra_content"')) return undefined;
	let isChanged = false;
	const items = itemsOf(latin1, 0).map(({ start, end }) => {
		const item = latin1.slice(start, end);
		const fields = item.startsWith("{") ? fieldsOf(item) : [];
		const extra = fieldNamed(fields, "extra_content");
		if (!extra || !isGooglesSignature(parsedValue(item, extra))) return item;
		isChanged = true;
		const kept = fields.filter(({ key }) => key !== "extra_content");
		return `{${kept.map((field) => item.slice(field.keyStart, field.end)).join(",")}}`;
	});
	return isChanged ? Buffer.from(`[${items.join(",")}]`, "latin1").toString() : undefined;
}

/** What was kept of an answer, by the id of each of its calls. */
interface KeptThoughts {
	/** Fields of the message. */
	readonly message: Json;
	/** `extra_content` of the call. */
	readonly extra?: unknown;
}

/** Puts back what the server has signed, known by the calls that it was signed with. */
function restore(calls: unknown, made: Map<string, string | undefined>, terms: ThoughtTerms): void {
	if (!Array.isArray(calls)) return;
	const kept = calls.map((call) => {
		const stored = terms.inputs.thinking(String(objectIn(call)?.["id"]));
		if (stored === undefined) return undefined;
		const value: unknown = JSON.parse(stored);
		// Of a native response there are details alone.
		return Array.isArray(value) ? { message: { reasoning_details: value } } : (value as KeptThoughts);
	});
	const first = kept.find((each) => each !== undefined);
	if (!first) return;
	for (const [name, value] of Object.entries(first.message)) {
		const text =
			name === "reasoning_details" ? keptDetails(value, JSON.stringify(value), terms) : JSON.stringify(value);
		if (text !== undefined) made.set(name, text);
	}
	if (!kept.some((each) => each?.extra !== undefined)) return;
	const signed = calls.map((call, at) =>
		kept[at]?.extra === undefined ? call : { ...call, extra_content: kept[at].extra },
	);
	made.set("tool_calls", JSON.stringify(signed));
}

/** Collects what a server signs of an answer, whole or in pieces. */
export class SignedAnswer {
	readonly #details: unknown[] = [];
	#encrypted: unknown;
	#words = "";
	/** By a call's place: its id, and what is signed of it. */
	readonly #calls = new Map<unknown, { id?: string; extra?: unknown }>();

	constructor(private readonly signs: SignedThoughts) {}

	/** Takes a message, or a piece of one. */
	add(piece: Json): void {
		const {
			reasoning_details: details,
			reasoning_encrypted: encrypted,
			tool_calls: calls,
			reasoning_content: words,
		} = piece;
		if (Array.isArray(details)) for (const detail of details) addDetail(this.#details, detail);
		if (this.signs !== "details") {
			this.#encrypted = encrypted ?? this.#encrypted;
			if (this.signs === "encrypted" && typeof words === "string") this.#words += words;
		}
		if (Array.isArray(calls)) for (const [at, call] of calls.entries()) this.#call(objectIn(call) ?? {}, at);
	}

	#call({ id, index, extra_content: extra }: Json, at: number): void {
		const place = index ?? at;
		const call = this.#calls.get(place) ?? {};
		if (typeof id === "string" && id !== "") call.id = id;
		if (this.signs === "unknown" && isGooglesSignature(extra)) call.extra = extra;
		this.#calls.set(place, call);
	}

	/** What is to come back with its calls. */
	get thinking(): StoredThinking[] {
		const message = {
			...(this.#details.length > 0 ? { reasoning_details: this.#details } : {}),
			...(this.#encrypted == null ? {} : { reasoning_encrypted: this.#encrypted, reasoning_content: this.#words }),
		};
		const isSigned = Object.keys(message).length > 0;
		return [...this.#calls.values()].flatMap(({ id, extra }) =>
			id !== undefined && (isSigned || extra !== undefined) ? [{ id, value: JSON.stringify({ message, extra }) }] : [],
		);
	}
}
