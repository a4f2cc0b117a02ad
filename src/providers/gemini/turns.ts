/**
 * The turns of a conversation as Gemini takes them: a call follows the user or a result, results follow their calls, in their order and together,
 * and what a system message says later on stands in a turn of the user's, marked.
 */
import type { ToolCall } from "../../openai/chat-schema.ts";
import { markedSystemText } from "../../openai/system-marks.ts";
import { sentName } from "./function-names.ts";

/** Text as a part. */
export const textPart = (text: string): string => `{"text":${JSON.stringify(text)}}`;

const EMPTY_TURN = `{"role":"user","parts":[${textPart("")}]}`;
const NO_CALLS: readonly ToolCall[] = [];

/** Takes messages in their order. */
export class Turns {
	/** The turns that are over. */
	readonly #contents: string[] = [];
	/** The last turn, which more may join: whose it is ("" before the first), and the text of each part's JSON. */
	#role: "user" | "model" | "" = "";
	#parts: string[] = [];
	#hasCalls = false;
	/** It holds results of calls, and nothing else may stand in it. */
	#hasResults = false;
	/** Its last part is a system message's text, to which the user's next words are joined. */
	#endsInMark = false;
	/** The names of called functions by the call's id. */
	readonly #names = new Map<string, string>();
	/** The last turn's calls. */
	#called: readonly ToolCall[] = NO_CALLS;
	/** Their results, whose these are where there are several calls, the files that come with them, and what system messages said meanwhile. */
	#results: string[] = [];
	readonly #answered: string[] = [];
	#files: string[] = [];
	#marks: string[] = [];
	#beginsWithCall = false;

	/** Calls were made. */
	get hasCalls(): boolean {
		return this.#names.size > 0;
	}

	/** What the user says. */
	user(parts: string[]): void {
		this.#flush();
		if (this.#endsInMark) {
			this.#parts.push(...parts);
			this.#endsInMark = false;
		} else this.#begin("user", parts);
	}

	/** What the model said. Its words one after another are one turn, a call behind them too: that may follow the user and results alone. */
	model(parts: string[], calls: readonly ToolCall[]): void {
		this.#flush();
		for (const call of calls) this.#names.set(call.id, sentName(call.function.name));
		this.#called = calls;
		if (parts.length === 0) return;
		const hasCalls = calls.length > 0;
		if (this.#role === "model" && !this.#hasCalls) this.#parts.push(...parts);
		else this.#begin("model", parts);
		this.#hasCalls = hasCalls;
		if (hasCalls && this.#contents.length === 0) this.#beginsWithCall = true;
	}

	/** The name of the function that a call was of; undefined where there was none with that id. */
	nameOf(id: string): string | undefined {
		return this.#names.get(id);
	}

	/** The result of a call. `files`: what can't stand in it. */
	result(id: string, part: string, files: readonly string[]): void {
		this.#results.push(part);
		if (this.#called.length > 1) this.#answered.push(id);
		if (files.length > 0) this.#files.push(...files);
	}

	/** What a system message says that stands behind others. */
	system(text: string): void {
		const part = textPart(markedSystemText(text));
		// Between calls and their results nothing may stand.
		if (this.#called.length > this.#results.length) {
			this.#marks.push(part);
			return;
		}
		this.#flush();
		this.#mark(part);
	}

	/** All turns, as JSON texts, and whose the last one is. */
	end(): { readonly contents: readonly string[]; readonly last: "user" | "model" } {
		this.#flush();
		const last = this.#role || "user";
		this.#begin("user", []);
		// A conversation that begins with a call is a 400, and so is one of no turn; one that begins with an empty text is not.
		if (this.#beginsWithCall || this.#contents.length === 0) this.#contents.unshift(EMPTY_TURN);
		return { contents: this.#contents, last };
	}

	/** Ends the last turn. */
	#begin(role: "user" | "model", parts: string[]): void {
		if (this.#role !== "") this.#contents.push(`{"role":"${this.#role}","parts":[${this.#parts.join(",")}]}`);
		this.#role = role;
		this.#parts = parts;
		this.#hasCalls = false;
		this.#hasResults = false;
		this.#endsInMark = false;
	}

	#mark(part: string): void {
		if (this.#role === "user" && !this.#hasResults) this.#parts.push(part);
		else this.#begin("user", [part]);
		this.#endsInMark = true;
	}

	#flush(): void {
		if (this.#results.length > 0) this.#flushResults();
		this.#called = NO_CALLS;
		if (this.#marks.length > 0) for (const part of this.#marks.splice(0)) this.#mark(part);
	}

	#flushResults(): void {
		this.#begin("user", this.#orderedResults());
		this.#hasResults = true;
		this.#results = [];
		this.#answered.length = 0;
		if (this.#files.length > 0) {
			this.#begin("user", this.#files);
			this.#files = [];
		}
	}

	/** Each is paired with the call in its place; clients send them as they come. */
	#orderedResults(): string[] {
		const results = this.#results;
		if (this.#answered.length < 2) return results;
		// Of an id that stands twice the first counts.
		const calls = new Map(this.#called.map(({ id }, index) => [id, index] as const).toReversed());
		const places = this.#answered.map((id, index) => [calls.get(id) ?? -1, index] as const);
		return places.sort(([one], [other]) => one - other).map(([, index]) => results[index]!);
	}
}
