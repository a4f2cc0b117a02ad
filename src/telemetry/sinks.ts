/** Several listeners as one. */
import type { Sink } from "./events.ts";

/** Tells each in turn; none of them may throw. */
export function sinkOf(sinks: readonly Partial<Sink>[]): Sink {
	return {
		callStarted() {
			for (const sink of sinks) sink.callStarted?.();
		},
		agentAttemptOpened(target) {
			for (const sink of sinks) sink.agentAttemptOpened?.(target);
		},
		attemptClosed(attempt) {
			for (const sink of sinks) sink.attemptClosed?.(attempt);
		},
		attemptFailed(attempt) {
			for (const sink of sinks) sink.attemptFailed?.(attempt);
		},
		agentAttemptClosed(attempt) {
			for (const sink of sinks) sink.agentAttemptClosed?.(attempt);
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
