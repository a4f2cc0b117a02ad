/** What the ledger keeps of a call besides its columns: a JSON text. Pure. */
import type { Tokens } from "../../openai/usage.ts";
import type { AttemptClosed, Bill, CallSettled, ShadowedAnswer } from "../../telemetry/events.ts";

/** What is stored of a call besides the columns. What most calls have in common is left out: fewer bytes cost less a call. */
export interface CallDetails {
	/** Absent: chat. */
	readonly operation?: string | undefined;
	/** Absent: it was no stream. */
	readonly stream?: true | undefined;
	/** Absent: the model's name. Null: nobody knows. */
	readonly requested?: string | null | undefined;
	readonly target?: string | undefined;
	readonly agent?: string | undefined;
	readonly ms: number;
	/** Of the only attempt, which was good: the call says all else that there is to say of it. */
	readonly attempt_ms?: number | undefined;
	/** When that began, from when the call came in; where there were several targets. */
	readonly began_ms?: number | undefined;
	readonly first_token_ms?: number | undefined;
	/** What it got of its engine's energy, J. */
	readonly energy_j?: number | undefined;
	/** Absent: the columns say all. */
	readonly tokens?: Tokens | undefined;
	/** Of the bill. */
	readonly source?: Bill["source"] | undefined;
	readonly price?: Bill["price"];
	readonly estimated?: true | undefined;
	readonly cache?: string | undefined;
	readonly route?: string | undefined;
	readonly error?: string | undefined;
	readonly decision?: object | undefined;
	/** See CallSettled. */
	readonly snapshot?: string | undefined;
	/** Fields of the call that its upstream has no form for, and that were left out. */
	readonly dropped_fields?: readonly string[] | undefined;
	/** Targets that it was not sent to, and why. */
	readonly skipped?: CallSettled["skipped"];
	/** The trace that it was sent in; absent of others. */
	readonly trace?: string | undefined;
	/** Of a copy: the caller's answer that it is compared with. */
	readonly shadow?: ShadowedAnswer | undefined;
}

/** Longest text of a client's that is stored, UTF-16 units. */
const LONGEST = 200;

/** The text as it is stored. */
export const clipped = (text: string): string => (text.length > LONGEST ? text.slice(0, LONGEST) : text);

/** ms, to a tenth. */
export const tenth = (ms: number): number => Math.round(ms * 10) / 10;

/**
 * Writes them, of one call after the other. Most neighbours are the same but for their times: the text of what is the same is written once, which takes
 * a third of what `JSON.stringify` does.
 */
export class CallDetailsWriter {
	/** The call that the texts before and behind its times were written for. */
	#last: CallSettled | undefined;
	#before = "";
	#behind = "";

	/** @param sole its only attempt, which was good */
	textOf(call: CallSettled, sole: Pick<AttemptClosed, "ms" | "beganMs"> | undefined): string {
		const last = this.#last;
		if (!last || !beginsAlike(call, last)) this.#before = beginning(call);
		if (!last || !endsAlike(call, last)) this.#behind = ending(call);
		this.#last = call;
		const { firstTokenMs, tokens, energyJ } = call;
		let text = `${this.#before}"ms":${json(tenth(call.ms))}`;
		if (sole !== undefined) text += `,"attempt_ms":${json(tenth(sole.ms))}`;
		if (sole?.beganMs !== undefined && call.snapshot !== undefined) text += `,"began_ms":${json(tenth(sole.beganMs))}`;
		if (firstTokenMs !== undefined) text += `,"first_token_ms":${json(tenth(firstTokenMs))}`;
		if (energyJ !== undefined) text += `,"energy_j":${json(Number(energyJ.toPrecision(4)))}`;
		if (tokens && hasKinds(tokens)) text += `,"tokens":${JSON.stringify(tokens)}`;
		if (call.shadow) text += `,"shadow":${JSON.stringify(call.shadow)}`;
		if (call.trace?.span) text += `,"trace":"${call.trace.traceId}"`;
		return text + this.#behind;
	}
}

/** JSON has no number for what is none. */
const json = (value: number): string => (Number.isFinite(value) ? String(value) : "null");

function beginsAlike(one: CallSettled, other: CallSettled): boolean {
	return (
		one.operation === other.operation &&
		one.stream === other.stream &&
		one.requested === other.requested &&
		one.model === other.model &&
		one.target === other.target &&
		one.agent === other.agent
	);
}

function beginning({ operation, stream, requested, model, target, agent }: CallSettled): string {
	const details: Partial<CallDetails> = {
		operation: operation === "chat" ? undefined : operation,
		stream: stream || undefined,
		requested: requested === model ? undefined : requested === undefined ? null : clipped(requested),
		target,
		agent,
	};
	const text = JSON.stringify(details).slice(0, -1);
	return text === "{" ? text : `${text},`;
}

function endsAlike(one: CallSettled, other: CallSettled): boolean {
	return (
		one.bill?.source === other.bill?.source &&
		one.bill?.price === other.bill?.price &&
		one.bill?.isEstimated === other.bill?.isEstimated &&
		one.cache === other.cache &&
		one.reason === other.reason &&
		one.error === other.error &&
		one.decision === other.decision &&
		one.snapshot === other.snapshot &&
		one.droppedFields === other.droppedFields &&
		one.skipped === other.skipped
	);
}

function ending({ bill, cache, reason, error, decision, snapshot, droppedFields, skipped }: CallSettled): string {
	const details: Partial<CallDetails> = {
		source: bill?.source,
		price: bill?.price,
		estimated: bill?.isEstimated || undefined,
		cache,
		route: reason,
		error,
		decision,
		snapshot,
		dropped_fields: droppedFields,
		skipped,
	};
	const text = JSON.stringify(details).slice(1);
	return text === "}" ? text : `,${text}`;
}

/** Some tokens are of a kind that has a price of its own. */
function hasKinds(tokens: Tokens): boolean {
	for (const kind in tokens)
		if (kind !== "input" && kind !== "output" && tokens[kind as keyof Tokens] !== undefined) return true;
	return false;
}
