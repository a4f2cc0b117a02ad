/** Lines about copies of calls (`shadow`) that can't be made as it is configured: each is told once, not with every call. */
import type pino from "pino";
import type { ShadowOutcome } from "./events.ts";

/** What stays so until somebody does something about it. */
const SENTENCES: Partial<Record<ShadowOutcome, (model: string, to: string) => string>> = {
	unavailable: (model, to) =>
		`shadow of ${model}: nobody serves ${to}, so no copy is made. It must be a name that GET /v1/models lists, or provider/model.`,
	no_price: (model, to) =>
		`shadow of ${model}: nobody knows what ${to} costs, and copies have a budget, so none is made. Set its price under \`prices:\`.`,
};

/** The lines of one thread. */
export class ShadowLines {
	readonly #told = new Set<string>();

	constructor(private readonly logger: Pick<pino.Logger, "warn">) {}

	/** A copy was not made. @param model the name in `models:` @param to who was to get it */
	dropped(model: string, to: string, why: ShadowOutcome): void {
		const sentence = SENTENCES[why]?.(model, to);
		if (sentence === undefined || this.#told.has(sentence)) return;
		this.#told.add(sentence);
		this.logger.warn({ model, to }, sentence);
	}
}
