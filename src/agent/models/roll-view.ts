/** A rolling change as it is shown: to people by the agent's API, to the router by its reports. */
import { shortText } from "../../short-text.ts";
import type { ModelGenerations, Roll, RollEnd } from "./roll.ts";

/** A rolling change, as the agent's API shows it. */
export interface RollView {
	readonly state: Roll["phase"] | RollEnd["result"];
	/** The new image. */
	readonly image: string;
	/** Why, where it has ended or its canary was good. */
	readonly reason?: string;
	/** Of calls that the canary gets, 0 to 1. */
	readonly canary?: number;
	/** While it is under way: there is no memory for a replica more, so each new one takes the place of an old one. */
	readonly in_place?: boolean;
	/** When it began, or where it has ended when that was; ISO. */
	readonly at: string;
}

/** The one that is under way, or the last one; undefined where there was none. */
export function rollView({ roll, last }: Partial<ModelGenerations> = {}): RollView | undefined {
	if (roll) {
		const { phase, to, reason, share, startedAt, isInPlace = false } = roll;
		const shown = { state: phase, image: to.image, canary: share, at: new Date(startedAt).toISOString() };
		return { ...shown, ...(isInPlace && { in_place: true }), ...(reason !== undefined && { reason }) };
	}
	if (!last) return undefined;
	const { result, image, reason, at } = last;
	return { state: result, image, reason, at: new Date(at).toISOString() };
}

/** The same in one line. One that has ended says when, since it is told long after. @param most characters */
export function rollText({ state, at, canary = 0, in_place = false, reason }: RollView, most: number): string {
	const isEnded = state === "promoted" || state === "taken back";
	const ended = isEnded ? ` at ${at.replace(/\.\d+/, "")}` : "";
	const share = state === "canary" ? ` (${Math.round(canary * 100)} % of calls)` : "";
	const place = in_place ? ", one replica at a time: there is no memory for one more" : "";
	return shortText(`${state}${ended}${share}${place}${reason === undefined ? "" : `: ${reason}`}`, most);
}
