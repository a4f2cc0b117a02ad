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
const RANGE = 2 ** 52;

/**
 * Whether a trace is sent. By the id's last digits, so that all who take the same share take the same traces.
 * @param parent whether the caller's is; undefined: nobody has decided yet
 */
export function isSampled({ isParentBased, ratio }: Sampling, traceId: string, parent: boolean | undefined): boolean {
	if (isParentBased && parent !== undefined) return parent;
	if (ratio >= 1 || ratio <= 0) return ratio >= 1;
	return Number.parseInt(traceId.slice(DIGITS_FROM), 16) >= (1 - ratio) * RANGE;
}
