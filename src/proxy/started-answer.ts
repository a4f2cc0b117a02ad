/** An attempt's answer once it has begun: what clients, rounds and resumes of a call get of an attempt. */
import type { StreamPiece } from "../openai/sse.ts";
import type { Answer, Target, UpstreamAnswer } from "../providers/provider.ts";
import type { EventReader } from "./event-reader.ts";

/** An answer that has begun. */
export interface StartedAnswer {
	/** Its provider is the account that was used. */
	readonly target: Target;
	readonly head: UpstreamAnswer;
	/** The whole of it, unless it is a stream. */
	readonly answer?: Answer;
	/** The stream, and what of it has come and is not sent yet. The attempt lasts until the reader is over. */
	readonly reader?: EventReader;
	readonly first: StreamPiece[];
	/** Fields of the call that it was made without. */
	readonly dropped?: readonly string[] | undefined;
}
