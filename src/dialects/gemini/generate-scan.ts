/** A request for an answer, read in its bytes: of what was said nothing is made, and the rest, which is little, is parsed. */
import { type TSchema, Type } from "@sinclair/typebox";
import { ParsedBody } from "../../openai/parsed-body.ts";
import { open } from "../../openai/request-fields.ts";
import { indexed, requestScan } from "../../openai/request-scan.ts";
import type { ContentsFacts } from "./contents-facts.ts";
import { isPlainContent, scannedContents } from "./contents-scan.ts";
import { normalized } from "./read-request.ts";
import { CHECKS, type GenerateRequest } from "./request-schema.ts";

/** What a scan has found of a request. */
export interface ScannedGenerate {
	/** As its client has sent it. */
	readonly sent: ParsedBody;
	readonly contents: ContentsFacts;
	/** Its other fields, parsed and checked; the instruction of the system only where that had to be. */
	readonly settings: Partial<GenerateRequest>;
}

/** The contents are looked through by a scan of their own, and the other fields are checked once they are parsed. */
const ANY_REQUEST: TSchema = Type.Object({ contents: Type.Array(Type.Unknown(), { minItems: 1 }) }, open);
const scan = requestScan(ANY_REQUEST);

const CONTENTS = "contents";
const SYSTEM = "systemInstruction";
/** Stands for contents that were found good. */
const GOOD: GenerateRequest["contents"] = [{}];
const NO_SETTINGS = {};

/** Undefined where it is not found good, or is spelt otherwise than JavaScript's clients spell it: then its parse says what it is. */
export function scannedGenerate(bytes: Buffer): ScannedGenerate | undefined {
	const fields = scan(bytes);
	if (!fields) return undefined;
	const sent = new ParsedBody(bytes, fields, undefined, indexed.isAscii);
	const contents = scannedContents(bytes, sent.field(CONTENTS)!.start);
	if (!contents) return undefined;
	let settings: Record<string, unknown> | undefined;
	for (const field of fields) {
		const { key, start } = field;
		if (key === CONTENTS || (key === SYSTEM && isPlainContent(bytes, start))) continue;
		// As a name in an object literal it would be none.
		if (key === "__proto__") return undefined;
		settings ??= { contents: GOOD };
		settings[key] = JSON.parse(sent.textOf(field));
	}
	if (!settings) return { sent, contents, settings: NO_SETTINGS };
	const fits = normalized(settings) === settings && CHECKS.generate.Check(settings);
	return fits ? { sent, contents, settings: settings as Partial<GenerateRequest> } : undefined;
}
