/** Messages that the routers of a Redis send each other about agents, and how they are read. */
import type { Static, TSchema } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";

/** Longer messages are nobody's that sends such, characters: a heartbeat has 1 MB at most. */
export const LONGEST_MESSAGE = 2_000_000;

/** Messages that all routers get, the one that sends them, too; lost for one that is not connected. */
export interface RouterChannel {
	/** Names this router among them. */
	readonly router: string;
	listen(receive: (text: string) => void): void;
	publish(text: string): void;
}

/** Reads messages of that shape. Of others, and of what another program publishes there, it makes undefined. */
export function messageReader<T extends TSchema>(shape: T): (text: string) => Static<T> | undefined {
	const check = new LazyCheck(shape);
	return (text) => {
		if (text.length > LONGEST_MESSAGE) return undefined;
		try {
			const value: unknown = JSON.parse(text);
			return check.Check(value) ? value : undefined;
		} catch {
			return undefined;
		}
	};
}
