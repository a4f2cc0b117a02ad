/** A started role, as the command line gets it: up and listening. */
export interface Running {
	readonly role: "router" | "agent";
	/** `http://127.0.0.1:8000`, with the port that is bound. */
	readonly url: string;
	/** Lines of the banner below its first: providers, directories, a key made on first start. */
	readonly lines: string[];
	/** Stops taking calls, lets running ones finish up to their deadline and flushes. Safe to call twice. */
	stop(): Promise<void>;
	/** Resolves with the process's exit code once the role has ended. Never rejects. */
	readonly finished: Promise<number>;
}
