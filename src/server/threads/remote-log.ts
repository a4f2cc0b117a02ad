/** The log's file, as a worker has it: the main thread alone writes it. */
import { Writable } from "node:stream";

/** A file whose text goes to the main thread. */
export function linesTo(send: (lines: string) => void): Writable {
	return new Writable({
		decodeStrings: false,
		write(text, _encoding, done) {
			send(String(text));
			done();
		},
	});
}
