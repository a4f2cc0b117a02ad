/**
 * The turns of a conversation as Gemini takes them: a call follows the user or a result, results follow their calls and stand together,
 * and what a system message says later on stands in a turn of the user's, marked.
 */
import type { ToolCall } from "../../openai/chat-schema.ts";
import { markedSystemText } from "../message-marks.ts";
import { sentName } from "./function-names.ts";

/** One turn. */
interface Turn {
	readonly role: "user" | "model";
	/** The text of each part's JSON. */
	readonly parts: string[];
	/** It holds results of calls, and nothing else may stand in it. */
	readonly isResults?: boolean;
	readonly hasCalls?: boolean;
	/** Its last part is a system message's text, to which the user's next words are joined. */
	endsInMark?: boolean;
}

/** Text as a part. */
export const textPart = (text: string): string => `{"text":${JSON.stringify(text)}}`;

/** Takes messages in their order. */
export class Turns {
	readonly #turns: Turn[] = [];
	/** By the call's id. */
	readonly #names = new Map<string, string>();
	/** Calls of the last turn that have no result yet. */
	#open = 0;
	/** Results of the last turn's calls, the files that come with them, and what system messages said meanwhile. */
	#results: string[] = [];
	#files: string[] = [];
	#marks: string[] = [];

	/** Calls were made. */
	get hasCalls(): boolean {
		return this.#names.size > 0;
	}

	/** What the user says. */
	user(parts: string[]): void {
		this.#flush();
		const last = this.#turns.at(-1);
		if (last?.endsInMark) {
			last.parts.push(...parts);
			last.endsInMark = false;
		} else this.#turns.push({ role: "user", parts });
	}

	/** What the model said. Its words before a call are one turn with that: a call may follow the user and results alone. */
	model(parts: string[], calls: readonly ToolCall[]): void {
		this.#flush();
		for (const {
			id,
			function: { name },
		} of calls)
			this.#names.set(id, sentName(name));
		this.#open += calls.length;
		if (parts.length === 0) return;
		const hasCalls = calls.length > 0;
		const last = this.#turns.at(-1);
		if (hasCalls && last?.role === "model" && !last.hasCalls) {
			this.#turns[this.#turns.length - 1] = { role: "model", parts: [...last.parts, ...parts], hasCalls };
		} else this.#turns.push({ role: "model", parts, hasCalls });
	}

	/** The name of the function that a call was of; undefined where there was none with that id. */
	nameOf(id: string): string | undefined {
		return this.#names.get(id);
	}

	/** The result of a call. `files`: what can't stand in it. */
	result(part: string, files: readonly string[]): void {
		this.#results.push(part);
		this.#files.push(...files);
		this.#open--;
	}

	/** What a system message says that stands behind others. */
	system(text: string): void {
		const part = textPart(markedSystemText(text));
		// Between calls and their results nothing may stand.
		if (this.#open > 0) {
			this.#marks.push(part);
			return;
		}
		this.#flush();
		this.#mark(part);
	}

	/** All turns. */
	end(): readonly Turn[] {
		this.#flush();
		// A conversation that begins with a call is a 400, and so is one of no turn; one that begins with an empty text is not.
		if (!this.#turns[0] || this.#turns[0].hasCalls) return [{ role: "user", parts: [textPart("")] }, ...this.#turns];
		return this.#turns;
	}

	#mark(part: string): void {
		const last = this.#turns.at(-1);
		if (last?.role === "user" && !last.isResults) {
			last.parts.push(part);
			last.endsInMark = true;
		} else this.#turns.push({ role: "user", parts: [part], endsInMark: true });
	}

	#flush(): void {
		this.#open = 0;
		if (this.#results.length > 0) {
			this.#turns.push({ role: "user", parts: this.#results, isResults: true });
			this.#results = [];
		}
		if (this.#files.length > 0) {
			this.#turns.push({ role: "user", parts: this.#files });
			this.#files = [];
		}
		if (this.#marks.length > 0) for (const part of this.#marks.splice(0)) this.#mark(part);
	}
}
