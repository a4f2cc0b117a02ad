/** What `GET /console/events` tells each second and `GET /console/live` tells of the last minutes. The page's own code reads it, too: types alone. */

/** How calls went in the second before `at`, of all threads of this router. Rates are a second's. */
export interface LiveSample {
	/** Unix time, ms. */
	readonly at: number;
	/** Calls settled. */
	readonly calls: number;
	/** Those of them that ended with a status of 400 or more; not 499, which is a client's leaving. */
	readonly errors: number;
	/** The same by status. */
	readonly statuses: Readonly<Record<string, number>>;
	/** Attempts that failed, by kind of failure: `rate`, `timeout`, `overloaded`. */
	readonly failures: Readonly<Record<string, number>>;
	/** Tokens of prompts and of answers. */
	readonly tokens: { readonly input: number; readonly output: number };
	/** USD. */
	readonly usd: number;
	/** Time to the first token over the last ten seconds, ms, as the buckets of the histogram show it; null where no answer began. */
	readonly firstToken: Quantiles | null;
	/** Calls and streams under way now. */
	readonly inFlight: number;
	/** Calls that wait in the queue of a model now. */
	readonly waiting: number;
	/** Of the last ten seconds, the busiest first. */
	readonly models: readonly ModelSample[];
}

/** Times, ms. */
export interface Quantiles {
	readonly p50: number;
	readonly p95: number;
}

/** One model over the last ten seconds; rates are a second's. */
export interface ModelSample {
	readonly model: string;
	readonly calls: number;
	readonly errors: number;
	/** Of answers. */
	readonly tokens: number;
	readonly usd: number;
	readonly firstToken: Quantiles | null;
}

/** `GET /console/live`. */
export interface LiveHistory {
	/** Each second that somebody watched, the oldest first; ten minutes at most. */
	readonly samples: readonly LiveSample[];
}

/** `GET /console/session`. */
export type SessionState =
	| {
			readonly signed_in: true;
			/** Of the key. */
			readonly name: string;
			readonly role: "admin" | "viewer";
			/** ISO 8601. */
			readonly until: string;
			readonly version: string;
			/** No key was needed: signing out would sign in again. */
			readonly open: boolean;
	  }
	| {
			readonly signed_in: false;
			/** This router has no keys, and whoever asks is on its machine: no key is needed. */
			readonly open: boolean;
			/** There is a key with which to sign in. */
			readonly has_admin_keys: boolean;
	  };
