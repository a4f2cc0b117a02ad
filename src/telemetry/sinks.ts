/** Several listeners as one. */
import type { Sink } from "./events.ts";

/** Tells each in turn; none of them may throw. */
export function sinkOf(sinks: readonly Partial<Sink>[]): Sink {
	return {
		callStarted() {
			for (const sink of sinks) sink.callStarted?.();
		},
		attemptOpened(target) {
			for (const sink of sinks) sink.attemptOpened?.(target);
		},
		attemptClosed(attempt) {
			for (const sink of sinks) sink.attemptClosed?.(attempt);
		},
		attemptFollowed(step) {
			for (const sink of sinks) sink.attemptFollowed?.(step);
		},
		queued(what) {
			for (const sink of sinks) sink.queued?.(what);
		},
		callSettled(call) {
			for (const sink of sinks) sink.callSettled?.(call);
		},
	};
}
