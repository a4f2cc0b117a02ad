/** Which traces are sent, decided when a call comes in (head sampling). Pure. */

/** What is decided by. */
export interface Sampling {
	/** A caller's own decision, in its `traceparent`, is followed. */
	readonly isParentBased: boolean;
	/** Share of the other traces: 0 none, 1 all. */
	readonly ratio: number;
}

/** By default callers decide, and all other traces are sent (`parentbased_always_on`). */
export const DEFAULT_SAMPLING: Sampling = { isParentBased: true, ratio: 1 };

/** The samplers of OpenTelemetry by their names in `OTEL_TRACES_SAMPLER`; undefined: the ratio is its argument. */
export const SAMPLERS: Readonly<
	Record<string, { readonly isParentBased: boolean; readonly ratio: number | undefined }>
> = {
	always_on: { isParentBased: false, ratio: 1 },
	always_off: { isParentBased: false, ratio: 0 },
	traceidratio: { isParentBased: false, ratio: undefined },
	parentbased_always_on: { isParentBased: true, ratio: 1 },
	parentbased_always_off: { isParentBased: true, ratio: 0 },
	parentbased_traceidratio: { isParentBased: true, ratio: undefined },
};

/** The last 13 of a trace id's 32 digits: as many as a number holds exactly. Callers make them at random, as is done here. */
const DIGITS_FROM = 19;
const DIGITS = 13;
const RANGE = 2 ** 52;
/** Comes behind all digits. */
const NONE = "g";

/** Whether a trace is sent. @param parent whether the caller's is; undefined: nobody has decided yet */
export type Sampler = (traceId: string, parent: boolean | undefined) => boolean;

/** Decides by the id's last digits, so that all who take the same share take the same traces. Digits of one length are in order as texts, too. */
export function createSampler({ isParentBased, ratio }: Sampling): Sampler {
	const least = leastSent(ratio);
	return (traceId, parent) =>
		isParentBased && parent !== undefined ? parent : least === "" || traceId.slice(DIGITS_FROM) >= least;
}

/** From which digits on traces are sent. */
function leastSent(ratio: number): string {
	if (ratio >= 1) return "";
	const least = Math.ceil((1 - ratio) * RANGE);
	return least >= RANGE ? NONE : least.toString(16).padStart(DIGITS, "0");
}
