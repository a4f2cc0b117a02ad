/** The lifecycle of a process as a state machine (design.md beside this file has its table): pure, no clock, no signal, no socket. */

/** Only in `ready`, and in `replaced`, where another process is, does `/health/ready` answer 200. */
export type State = "starting" | "ready" | "replaced" | "draining" | "stopping" | "stopped";

/**
 * - `listening`: the server listens
 * - `signal`: SIGTERM or SIGINT
 * - `stop`: the program itself wants to end, without a drain
 * - `replaced`: another process takes all further connections
 * - `left`: then no connection is open any more
 * - `drained`: the time in which calls are still taken is over
 * - `idle`: the last connection is closed
 * - `deadline`: the time for running calls is over
 */
export type Event = "listening" | "signal" | "stop" | "replaced" | "left" | "drained" | "idle" | "deadline";

/**
 * - `wait-drain`: report `drained` after the drain time
 * - `stop-listening`: close the listening sockets, report `idle` when the last connection is closed
 * - `wait-deadline`: report `deadline` after the shutdown time
 * - `cut`: close every connection now
 * - `finish`: run the hooks, write the log, end with code 0
 * - `abort`: end now with 128 + the signal's number
 */
export type Effect = "wait-drain" | "stop-listening" | "wait-deadline" | "cut" | "finish" | "abort";

/** The result of an event. */
export interface LifecycleStep {
	readonly to: State;
	readonly effects: readonly Effect[];
}

const ABORT: LifecycleStep = { to: "stopped", effects: ["abort"] };
const STOP: LifecycleStep = { to: "stopping", effects: ["stop-listening", "wait-deadline"] };

const TABLE: Readonly<Record<State, Partial<Record<Event, LifecycleStep>>>> = {
	starting: { listening: { to: "ready", effects: [] }, stop: STOP },
	ready: {
		signal: { to: "draining", effects: ["wait-drain"] },
		stop: STOP,
		replaced: { to: "replaced", effects: [] },
	},
	replaced: { left: STOP, stop: STOP, signal: STOP },
	draining: { drained: STOP, stop: STOP, signal: ABORT },
	stopping: {
		idle: { to: "stopped", effects: ["finish"] },
		deadline: { to: "stopped", effects: ["cut", "finish"] },
		signal: ABORT,
	},
	stopped: {},
};

/** The step for `event` in `state`; an event that means nothing there changes nothing. */
export function lifecycleStep(state: State, event: Event): LifecycleStep {
	return TABLE[state][event] ?? { to: state, effects: [] };
}
