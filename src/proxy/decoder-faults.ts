/** A fault of the router's own code while a stream is read is a failure of its kind. */
import type { Failure } from "../providers/failure.ts";
import type { Out, PassedEvents, StreamDecoder } from "../providers/provider.ts";

/**
 * The decoder, with what its methods throw turned into a failure of kind `internal` that carries the cause. Without this an
 * exception of ours would look like a connection that the upstream broke, and be tried again at the next one.
 */
export function guardedDecoder(decoder: StreamDecoder): StreamDecoder {
	return {
		countedTokens: () => decoder.countedTokens?.(),
		passedTokens: () => decoder.passedTokens?.(),
		push(event): Out {
			try {
				return decoder.push(event);
			} catch (cause) {
				return { bytes: "", failure: fault(cause) };
			}
		},
		passThrough(chunk, from): PassedEvents | undefined {
			try {
				return decoder.passThrough?.(chunk, from);
			} catch {
				// Read in full, the chunk meets the same fault in `push`, which reports it.
				return undefined;
			}
		},
		flush(): Out {
			try {
				return decoder.flush?.() ?? {};
			} catch (cause) {
				return { bytes: "", failure: fault(cause) };
			}
		},
		end(): Failure | undefined {
			try {
				return decoder.end();
			} catch (cause) {
				return fault(cause);
			}
		},
	};
}

const fault = (cause: unknown): Failure => ({ kind: "internal", message: "the router failed", cause });
