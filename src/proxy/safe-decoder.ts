/** A fault in a provider's decoder ends the one stream it befell. */
import type { Failure, Out, StreamDecoder } from "../providers/provider.ts";

/**
 * The decoder, with what its methods throw turned into a failure of kind `internal` that carries the cause. Without this an
 * exception of ours would look like a connection that the upstream broke, and be tried again at the next one.
 */
export function guardedDecoder(decoder: StreamDecoder): StreamDecoder {
	return {
		...decoder,
		push(event): Out {
			try {
				return decoder.push(event);
			} catch (cause) {
				return { bytes: "", failure: fault(cause) };
			}
		},
		plain(chunk): Uint8Array | undefined {
			try {
				return decoder.plain?.(chunk);
			} catch {
				// Read in full, the chunk meets the same fault in `push`, which reports it.
				return undefined;
			}
		},
		rest(): Out {
			try {
				return decoder.rest?.() ?? {};
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
