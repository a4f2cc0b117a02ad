/** Calls of a conversation: which result is whose, and whether they are signed. Google's clients name a result by its function, and by the call's id where they were told one. */
import type { ContentsFacts, SentCall } from "./contents-facts.ts";
import { refusal } from "./read-request.ts";
import { type GenerateRequest, type GenerationConfig, ROUTING_FIELDS } from "./request-schema.ts";

/** A call, or whose result is told. */
interface Called {
	readonly id?: string | null | undefined;
	readonly name: string;
}

/** Takes calls and results in their order. */
export class OpenCalls {
	readonly #open: { readonly id: string; readonly name: string }[] = [];
	/** Ids that the client knows of. */
	readonly #taken = new Set<string>();
	#count = 0;

	/** @param calls all of a conversation */
	constructor(calls: readonly SentCall[]) {
		for (const { id, kind } of calls) if (id !== undefined && kind !== "result") this.#taken.add(id);
	}

	/** A call, whose id it returns: one made of its place where it has none. */
	begin({ id, name }: Called): string {
		const call = { id: id || this.#newId(), name };
		this.#open.push(call);
		return call.id;
	}

	#newId(): string {
		let id: string;
		do id = `call_${this.#count++}`;
		while (this.#taken.has(id));
		return id;
	}

	/**
	 * A result: the id of its call. Throws `invalid_value` where nobody made one.
	 * @param path where the result stands in the request
	 */
	end({ id, name }: Called, path: string): string {
		const open = this.#open;
		const byId = id ? open.findIndex((call) => call.id === id) : -1;
		const at = byId === -1 ? open.findIndex((call) => call.name === name) : byId;
		const [call] = at === -1 ? [] : open.splice(at, 1);
		if (!call) throw refusal(path, "is the result of no call before it");
		return call.id;
	}
}

/** Throws `invalid_value` for the result of a call that nobody made. */
export function checkResults({ calls }: Pick<ContentsFacts, "calls">): void {
	if (!calls.some(({ kind }) => kind === "result")) return;
	const open = new OpenCalls(calls);
	for (const call of calls) {
		if (call.kind === "call") open.begin(call);
		else if (call.kind === "result") open.end(call, resultPath(call.content, call.part));
	}
}

/** Where a result stands in a request. */
export const resultPath = (content: number, part: number): string =>
	`contents[${content}].parts[${part}].functionResponse`;

/** Models that take calls without a signature: from the third generation on these are a 400. */
const UNSIGNED = /gemini-[12](?:\.|-|$)/;

/**
 * Whether a request can go to this model as its client has sent it. Not where calls in it lack their signatures, as those of other vendors' models do: of calls
 * made together the first has one. Nor where what another vendor has signed is carried in the place of a signature. Nor where the body names a model, too, or how Google is to choose one: that might be another one.
 */
export function goesAsSent(
	{ model: named, generationConfig }: Partial<GenerateRequest>,
	{ carriesDetails, hasUnsignedCalls }: Pick<ContentsFacts, "carriesDetails" | "hasUnsignedCalls">,
	model: string,
): boolean {
	const config: GenerationConfig = generationConfig ?? {};
	if (named != null || carriesDetails || ROUTING_FIELDS.some((name) => config[name] != null)) return false;
	return !hasUnsignedCalls || UNSIGNED.test(model);
}
