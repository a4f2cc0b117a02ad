/** vLLM's log, read for a person: what went wrong, and how far a start has come. Pure. */

/** Why a container failed, and what to do about it. */
export interface Diagnosis {
	readonly reason: string;
	readonly fix: string;
}

/** How far a start has come. Any progress resets the no-progress timer. */
export interface Progress {
	readonly phase: "downloading" | "loading" | "compiling" | "profiling" | "capturing" | "ready";
	/** 0 … 100 within the phase, where the log says. */
	readonly percent?: number;
}
