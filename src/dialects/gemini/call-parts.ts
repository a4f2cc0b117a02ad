/** The calls of a streamed candidate: OpenAI's chunks bring them in pieces, and Google's parts hold whole ones. */
import { RouterError } from "../../errors.ts";
import { objectIn } from "../../openai/usage.ts";
import { contentText } from "../chat-message.ts";
import { callPart, type GeneratedForm } from "./answer.ts";

type Json = Readonly<Record<string, unknown>>;

/** A call, as far as it has come. */
interface StreamedCall {
	id: unknown;
	name: string;
	arguments: string;
	extra_content: unknown;
	/** Length of the arguments that were last looked at, and were not whole. */
	lookedAt: number;
	/** It has gone out. */
	isSent: boolean;
}

/** Whether a piece begins another call: some servers give all of an answer's calls one index. */
const isNext = (call: StreamedCall, id: unknown, name: string): boolean =>
	name !== "" && typeof id === "string" && id !== "" && call.name !== "" && id !== call.id;

/** Whether nothing can follow in the arguments. */
function isWholeObject(text: string): boolean {
	if (!text.trimEnd().endsWith("}")) return false;
	try {
		return objectIn(JSON.parse(text)) !== undefined;
	} catch {
		return false;
	}
}

/** The calls of one candidate. */
export class CallParts {
	readonly #calls: StreamedCall[] = [];
	/** The last one of each index. */
	readonly #byIndex = new Map<number, StreamedCall>();

	constructor(private readonly form: GeneratedForm) {}

	/** Some have not gone out. */
	get waits(): boolean {
		return this.#calls.some(({ isSent }) => !isSent);
	}

	/** Takes a piece of one. Throws `upstream_error` for a piece of a call that was whole: it has gone out. */
	add(piece: Json, at: number): void {
		const index = typeof piece["index"] === "number" ? piece["index"] : at;
		const { name: sent, arguments: args } = objectIn(piece["function"]) ?? {};
		const name = contentText(sent);
		let call = this.#byIndex.get(index);
		if (!call || isNext(call, piece["id"], name)) {
			call = { id: undefined, name: "", arguments: "", extra_content: undefined, lookedAt: 0, isSent: false };
			this.#calls.push(call);
			this.#byIndex.set(index, call);
		} else if (call.isSent) {
			if (contentText(args).trim() === "") return;
			throw new RouterError("upstream_error", "The upstream went on with a tool call behind its end.");
		}
		call.id ??= piece["id"];
		call.name ||= name;
		call.arguments += contentText(args);
		call.extra_content ??= piece["extra_content"];
	}

	/**
	 * Those that wait, as parts, JSON.
	 * @param carried what the next part carries in the place of a signature, as `carriedText` gives it
	 * @param isEnd those that are not whole, too
	 */
	parts(carried: () => string, isEnd: boolean): string[] {
		const parts: string[] = [];
		for (const [at, call] of this.#calls.entries()) {
			const { id, name, arguments: args, extra_content } = call;
			if (call.isSent || (!isEnd && call.lookedAt === args.length)) continue;
			call.lookedAt = args.length;
			if (!isEnd && !isWholeObject(args)) continue;
			parts.push(callPart({ id, function: { name, arguments: args }, extra_content }, at, this.form, carried()));
			call.isSent = true;
		}
		return parts;
	}
}
