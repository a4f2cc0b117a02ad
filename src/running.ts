/** What a started role hands back to the command line. */

/** A role that is up and listening. */
export interface Running {
	readonly role: "router" | "agent";
	/** Where it answers: `http://127.0.0.1:8000`, the port being the one that is really bound. */
	readonly url: string;
	/** What the banner prints below its own first line: providers, directories, a key made on first start. */
	readonly lines: string[];
	/** Stops taking calls, lets running ones finish up to their deadline and flushes. Safe to call twice. */
	stop(): Promise<void>;
	/** Resolves with the process's exit code once the role has ended. Never rejects. */
	readonly finished: Promise<number>;
}
