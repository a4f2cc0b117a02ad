/** Errors as the log shows them. */
import { inSource } from "../source-maps.ts";

/** An error in a log line. */
export interface LoggedError {
	readonly type: string;
	readonly message?: string;
	readonly stack?: string;
	readonly code?: string;
	readonly cause?: unknown;
}

/**
 * Name, message, stack, code and causes of an error, and none of its other properties: those of an HTTP or validation
 * error hold requests and values. The message of a syntax or validation error is left out too, because engines quote
 * the text that was wrong, which is a prompt.
 * @param depth how many causes deep to look; a chain may be a ring
 */
export function serializeError(error: unknown, depth = 4): unknown {
	if (!(error instanceof Error)) return typeof error === "object" ? "[a thrown object]" : error;
	const quotes = error instanceof SyntaxError || error.constructor.name === "ValidationError";
	const frames = error.stack?.split("\n").filter((line) => /^\s+at /.test(line)) ?? [];
	const code = (error as { code?: unknown }).code;
	return {
		type: error.name,
		...(quotes ? {} : { message: error.message }),
		stack: [quotes ? error.name : `${error.name}: ${error.message}`, ...frames.map(inSource)].join("\n"),
		...(typeof code === "string" ? { code } : {}),
		...(error.cause !== undefined && depth > 0 ? { cause: serializeError(error.cause, depth - 1) } : {}),
	} satisfies LoggedError;
}
