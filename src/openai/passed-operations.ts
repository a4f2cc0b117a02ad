/**
 * The operations of OpenAI's API, and of servers like vLLM, that are passed on: their requests and answers go through as they are, and nothing
 * of them is translated. One row of data each.
 */
import { type TSchema, Type } from "@sinclair/typebox";

/** What is special of an operation that is passed on. */
export interface PassedRow {
	/** Its request may be `multipart/form-data`, too; every one may be JSON. */
	readonly takesForms?: boolean;
	/** The model that is meant where a request names none; absent: it must name one. */
	readonly defaultModel?: string;
	/** Only inference servers have it (vLLM, SGLang, llama.cpp), and what may be one; no vendor of the table has. */
	readonly isEngines?: boolean;
	/** Upstreams have it beside their versioned API: `/tokenize`, not `/v1/tokenize`. */
	readonly isUnversioned?: boolean;
	/** What vendors price it by where they don't price its tokens. */
	readonly unit?: PricedUnit;
	/** It works on what its upstream keeps (a file, a batch), and its requests name no model. */
	readonly isStored?: boolean;
}

/** What is counted of calls that have no tokens: pictures that were asked for, minutes of sound that were read, characters that were spoken. */
export type PricedUnit = "image" | "minute" | "character";

const anything = Type.Object({}, { additionalProperties: true });

/** All that a row has in common with those of the operations that are translated. */
function row<Path extends `/${string}`>(title: string, path: Path, generates: boolean, passed: PassedRow) {
	return {
		title,
		path,
		generates,
		passed,
		request: anything as TSchema,
		canStream: false,
		objectName: "",
		chunkObjectName: undefined,
		promptField: "input",
		promptFields: ["prompt", "input", "query", "documents"],
		listField: "data",
		answerField: undefined,
		emptyMessage: "",
	} as const;
}

/** The rows (OpenAI's openapi.yaml v2.3.0; vLLM's API server). */
export const PASSED_ROWS = {
	image_generations: row("image generations", "/images/generations", true, {
		defaultModel: "gpt-image-1",
		unit: "image",
	}),
	image_edits: row("image edits", "/images/edits", true, {
		takesForms: true,
		defaultModel: "gpt-image-1",
		unit: "image",
	}),
	image_variations: row("image variations", "/images/variations", true, {
		takesForms: true,
		defaultModel: "dall-e-2",
		unit: "image",
	}),
	speech: row("speech", "/audio/speech", true, { unit: "character" }),
	transcriptions: row("transcriptions", "/audio/transcriptions", true, { takesForms: true, unit: "minute" }),
	translations: row("translations of audio", "/audio/translations", true, { takesForms: true, unit: "minute" }),
	moderations: row("moderations", "/moderations", false, { defaultModel: "omni-moderation-latest" }),
	rerank: row("rerank", "/rerank", false, { isEngines: true }),
	score: row("scores", "/score", false, { isEngines: true }),
	tokenize: row("tokenization", "/tokenize", false, { isEngines: true, isUnversioned: true }),
	detokenize: row("detokenization", "/detokenize", false, { isEngines: true, isUnversioned: true }),
	files: row("files", "/files", false, { takesForms: true, isStored: true }),
	batches: row("batches", "/batches", false, { isStored: true }),
} as const;

/** One that is passed on. */
export type PassedOperation = keyof typeof PASSED_ROWS;
