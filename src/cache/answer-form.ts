/** What is said of an answer that several callers get: in which form, of whom, and how it ended. */
import type { ClientCall, Dialect } from "../dialects/dialect.ts";

/** How the leader's client gets its answer: others that want it in the same form may follow it. */
export interface AnswerForm {
	readonly dialect: Dialect;
	readonly stream: boolean;
	readonly showsUsage: boolean;
	/** What its client sent, where its answer says what that was. */
	readonly request: Buffer | undefined;
}

/** The form of a call's answer. */
export const answerForm = ({ id, dialect, stream, facts, sent, storage }: ClientCall): AnswerForm => ({
	dialect,
	stream,
	showsUsage: facts.showsUsage,
	// What is stored has an id of its caller's own: nobody else may read it along.
	request: dialect.showsRequest && stream ? (storage ? Buffer.from(id) : sent) : undefined,
});

/** What a stream that broke after its first bytes ended with. */
export interface StreamFailure {
	readonly status: number;
	readonly error: string;
	/** Nothing in it says so to its client: the connection is to break. */
	readonly isCut?: boolean;
}

/** The answer's origin, known once it begins. */
export interface AnswerOrigin {
	readonly provider: string;
	readonly model: string;
	/** Fields of the call that it was made without. */
	readonly dropped?: readonly string[] | undefined;
}
