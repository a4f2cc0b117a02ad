/** A container's log as an HTTP response. */
import type { Docker } from "./docker.ts";
import { DockerError } from "./docker-error.ts";

const encoder = new TextEncoder();

/** The last lines as text. `lastLog`: the lines of the container before, shown where there is none now. */
export function logLines(docker: Docker, id: string | undefined, lastLog: readonly string[], tail: number): Response {
	const lines = id ? docker.logs(id, { tail }) : lastLines(lastLog, tail);
	return new Response(
		pullStream(lines, (line) => `${line}\n`),
		{
			headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" },
		},
	);
}

/** The same as events that go on for as long as the container runs and the client stays. `ended` is called once. */
export function logStream(
	docker: Docker,
	id: string | undefined,
	lastLog: readonly string[],
	tail: number,
	signal: AbortSignal,
	ended: () => void,
): Response {
	const end = new AbortController();
	const stop = () => end.abort();
	signal.addEventListener("abort", stop, { once: true });
	const finish = () => {
		signal.removeEventListener("abort", stop);
		end.abort();
		ended();
	};
	const lines = id ? docker.logs(id, { follow: true, tail, signal: end.signal }) : lastLines(lastLog, tail);
	return new Response(
		pullStream(lines, (line) => `data: ${line.replace(/[\r\n]+/g, " ")}\n\n`, finish),
		{
			headers: {
				"content-type": "text/event-stream; charset=utf-8",
				"cache-control": "no-cache",
				"x-accel-buffering": "no",
			},
		},
	);
}

async function* lastLines(lines: readonly string[], tail: number): AsyncGenerator<string> {
	yield* tail === 0 ? [] : lines.slice(-tail);
}

/** A pull source around the generator: an async generator as a body lets a client that leaves crash the process (Bun 1.4.5). */
function pullStream(lines: AsyncIterable<string>, format: (line: string) => string, finish: () => void = () => {}) {
	const iterator = lines[Symbol.asyncIterator]();
	return new ReadableStream<Uint8Array>({
		async pull(controller) {
			try {
				const { done, value } = await iterator.next();
				if (!done) {
					controller.enqueue(encoder.encode(format(value)));
					return;
				}
			} catch (error) {
				const sentence =
					error instanceof DockerError ? `${error.message}. What to do: ${error.fix}` : "the log can't be read";
				controller.enqueue(encoder.encode(format(sentence)));
			}
			controller.close();
			finish();
		},
		async cancel() {
			finish();
			await iterator.return?.();
		},
	});
}
