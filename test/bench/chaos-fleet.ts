/** What the load of `make chaos` runs over, as the script sees it: something that answers as the model `m`, and to which things happen. */
import type { Json } from "../kit/exchange.ts";
import type { Random } from "../kit/random.ts";
import type { RunningRouter } from "../kit/router.ts";

/** Something that happens. */
export interface Misfortune {
	/** Whom it befalls. */
	readonly who: string;
	readonly what: string;
	/** Resolves when it is undone; false: it could not be done after all. */
	readonly over: Promise<boolean>;
}

/** A fleet behind a router. Answers are those of ../kit/vllm-sim. */
export interface ChaosFleet {
	/** Further sections of the router's configuration. */
	readonly config: Json;
	/** Of the router's model. */
	readonly targets: readonly string[];
	/** Origins that answer without a router; empty: there are none. */
	readonly direct: readonly string[];
	/**
	 * Has it be there for routers, which are one behind `address`; resolves when each can answer.
	 * @param note is told what happens by itself. What ends with `: engine dies` is the end of an engine of which calls may be the cause
	 */
	join(routers: readonly RunningRouter[], address: string, note: (what: string) => void): Promise<void>;
	/** Does something to it that can be borne at this moment; undefined: nothing can. */
	befall(draw: Random): Promise<Misfortune | undefined>;
	/** What else is told at the end. */
	readonly summary?: string;
	/** Nothing more is to happen: what would go on for long is given up. */
	end(): void;
	stop(): Promise<void>;
}
