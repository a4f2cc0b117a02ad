/** An attempt's answer once it has begun: what clients, rounds and resumes of a call get of an attempt. */
import type { AnswerPiece } from "../openai/sse.ts";
import type { Answer, Target, UpstreamAnswer } from "../providers/provider.ts";
import type { EventReader } from "./event-reader.ts";
import type { PassedAnswer } from "./passed-answer.ts";

/** Who waits for a stream to begin. */
export interface AttemptListener {
	/** Bytes have left, so that comments may, too. */
	readonly hasSent: boolean;
	/** Comments of the upstream's that were held back long enough, or need not be. */
	comments(pieces: readonly AnswerPiece[]): void;
}

/** An answer that has begun. */
export interface StartedAnswer {
	/** Its provider is the account that was used. */
	readonly target: Target;
	readonly head: UpstreamAnswer;
	/** The whole of it, unless it is a stream. */
	readonly answer?: Answer;
	/** Its bytes, of an operation that is passed on. The attempt lasts until they end. */
	readonly passed?: PassedAnswer;
	/** The stream, and what of it has come and is not sent yet. The attempt lasts until the reader is over. */
	readonly reader?: EventReader;
	readonly first: AnswerPiece[];
	/** Fields of the call that it was made without. */
	readonly dropped?: readonly string[] | undefined;
}
