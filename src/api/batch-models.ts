/** Whether a key may have the calls of a batch made: they are in a file, which its provider reads, and not the router. */
import type { Caller } from "../accounts/auth/keys.ts";
import { RouterError } from "../errors.ts";
import { objectIn } from "../openai/usage.ts";
import { type ByteSource, isOk } from "../providers/provider.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { StoredObject } from "../store/object-table.ts";
import { budgetOf, isBudgeted } from "./model-access.ts";
import { type AskingCall, getObject, objectTarget } from "./object-provider.ts";

/** Longest line, bytes. */
const LONGEST_LINE = 8 * 1024 * 1024;
/** How long all of it may take, ms. */
const READ_MS = 120_000;

/**
 * Throws `price_unknown` for a caller with a budget, since nobody knows what the batch will come to; and `model_not_allowed` for a key that may use some
 * models only, where a line of the file asks for another one, or can't be read: the file is fetched for that, line by line.
 */
export async function checkBatch(of: AskingCall, caller: Caller | undefined, file: StoredObject): Promise<void> {
	const { catalog, accounts } = of.context.current.snapshot;
	if (isBudgeted(caller, accounts)) {
		const message = `What a batch costs is not known before it ends, and ${budgetOf(caller)}: make the calls one by one.`;
		throw new RouterError("price_unknown", message);
	}
	if (!caller?.isRestricted) return;
	const { provider } = objectTarget(catalog, file.provider, "files");
	if (provider.routesModels) {
		throw refused(
			caller,
			`have a batch made at "${file.provider}", where fields of a call may lead it to another model`,
		);
	}
	const path = `/files/${encodeURIComponent(file.id)}/content`;
	const signal = AbortSignal.any([of.call.client.signal, AbortSignal.timeout(READ_MS)]);
	let number = 0;
	try {
		const answer = await getObject(of, file.provider, "files", path, signal);
		if (!isOk(answer)) throw refused(caller, "have this batch made: its file can't be read");
		for await (const line of linesOf(answer.body)) {
			number++;
			if (line.trim() !== "") checkLine(catalog, caller, file.provider, line, number);
		}
	} catch (thrown) {
		if (thrown instanceof RouterError) throw thrown;
		throw refused(caller, `have this batch made: its file can't be read behind line ${number}`);
	}
}

function checkLine(catalog: Catalog, caller: Caller, provider: string, line: string, number: number): void {
	let model: unknown;
	try {
		model = objectIn(objectIn(JSON.parse(line))?.["body"])?.["model"];
	} catch {
		model = undefined;
	}
	if (typeof model !== "string" || model === "") {
		throw refused(caller, `have this batch made: line ${number} of its file names no model`);
	}
	if (!mayRun(catalog, caller, provider, model)) {
		throw refused(caller, `use "${model.slice(0, 100)}" (line ${number} of the batch's file)`);
	}
}

/** A name in a batch is its provider's own: an alias of that name may lead elsewhere. */
function mayRun(catalog: Catalog, caller: Caller, provider: string, model: string): boolean {
	const id = `${provider}/${model}`;
	if (caller.mayUse(id)) return true;
	return caller.mayUse(model) && (catalog.find(model)?.targets.some((target) => target.id === id) ?? false);
}

function refused(caller: Caller, what: string): RouterError {
	const message = `The key "${caller.name}" may use some models only, so it may not ${what}.`;
	return new RouterError("model_not_allowed", message, { param: "input_file_id" });
}

/** The lines of a text. Throws where one is too long to be read. */
async function* linesOf(body: ByteSource): AsyncGenerator<string> {
	const decoder = new TextDecoder();
	let rest = "";
	for (let chunk = await body.read(); chunk; chunk = await body.read()) {
		const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
		rest = lines.pop()!;
		if (rest.length > LONGEST_LINE) throw new Error("a line is too long");
		yield* lines;
	}
	rest += decoder.decode();
	if (rest !== "") yield rest;
}
