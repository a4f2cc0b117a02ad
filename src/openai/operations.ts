/** The operations of OpenAI's wire, one row of data each: everything in which they differ. */
import type { TSchema } from "@sinclair/typebox";
import { PASSED_ROWS, type PassedRow } from "./passed-operations.ts";
import { ChatRequest, CompletionRequest, EmbeddingRequest } from "./request-fields.ts";

/** One operation. */
export interface OperationRow {
	/** The name of its results in messages, in the plural: `Anthropic has no text completions`. */
	readonly title: string;
	/** Behind an OpenAI-shaped base URL, and behind the router's own `/v1`. */
	readonly path: `/${string}`;
	/** The schema of its request: the fields that are read, all others pass. */
	readonly request: TSchema;
	/** Whether `stream: true` gets an event stream; where it is false the field means nothing. */
	readonly canStream: boolean;
	/** Its answer is written by the model, token by token, and may differ each time. False: it is computed (a vector) and has no output tokens. */
	readonly generates: boolean;
	/** `object` of a whole answer. */
	readonly objectName: string;
	/** `object` of a chunk of its stream; undefined where it cannot stream. */
	readonly chunkObjectName: string | undefined;
	/** The required field that holds what is asked. */
	readonly promptField: "messages" | "prompt" | "input";
	/** The top-level fields whose text the model reads, in the order in which chat templates put them; `promptField` is the last. */
	readonly promptFields: readonly string[];
	/** The list in its answer: an item is a choice or a vector. An answer whose list is empty is none. */
	readonly listField: "choices" | "data";
	/**
	 * The field of an item that holds the answer: `message` is an object whose pieces come in a chunk's `delta`, `text` a text whose pieces
	 * come in the same field. Undefined: the item itself is the answer.
	 */
	readonly answerField: "message" | "text" | undefined;
	/** The failure of an answer that holds none: a predicate of the upstream. */
	readonly emptyMessage: string;
	/** Its requests and answers are passed on as they are; absent of those that are read and translated. */
	readonly passed?: PassedRow;
}

const generated = {
	canStream: true,
	generates: true,
	listField: "choices",
	emptyMessage: "sent an answer without a choice",
} as const;

const rows = {
	chat: {
		...generated,
		title: "chat completions",
		path: "/chat/completions",
		request: ChatRequest,
		objectName: "chat.completion",
		chunkObjectName: "chat.completion.chunk",
		promptField: "messages",
		promptFields: ["tools", "functions", "messages"],
		answerField: "message",
	},
	completions: {
		...generated,
		title: "text completions",
		path: "/completions",
		request: CompletionRequest,
		objectName: "text_completion",
		chunkObjectName: "text_completion",
		promptField: "prompt",
		promptFields: ["prompt"],
		answerField: "text",
	},
	embeddings: {
		title: "embeddings",
		path: "/embeddings",
		request: EmbeddingRequest,
		canStream: false,
		generates: false,
		objectName: "list",
		chunkObjectName: undefined,
		promptField: "input",
		promptFields: ["input"],
		listField: "data",
		answerField: undefined,
		emptyMessage: "sent an answer without an embedding",
	},
	...PASSED_ROWS,
} as const satisfies Readonly<Record<string, OperationRow>>;

/** Which operation a call asks for. */
export type Operation = keyof typeof rows;

/** One row an operation (OpenAI's openapi.yaml v2.3.0). */
export const OPERATIONS: Readonly<Record<Operation, OperationRow>> = rows;
