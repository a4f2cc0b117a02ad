/** An upstream that answers whatever it is asked with what a test says, and remembers each request as bytes. */

/** One request. */
export interface PassedOn {
	readonly method: string;
	/** Path and query. */
	readonly path: string;
	readonly headers: Headers;
	readonly body: Buffer;
}

/** The server. */
export interface PassingUpstream {
	readonly origin: string;
	readonly received: PassedOn[];
	/** Answers requests from now on; what was received is forgotten. */
	answer(made: (request: PassedOn) => Response | Promise<Response>): void;
	stop(): Promise<void>;
}

/** Starts it on a free loopback port. */
export function startPassingUpstream(): PassingUpstream {
	const received: PassedOn[] = [];
	let made: (request: PassedOn) => Response | Promise<Response> = () => new Response("nothing to say", { status: 500 });
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		development: false,
		idleTimeout: 0,
		maxRequestBodySize: 1024 * 1024 * 1024,
		async fetch(request) {
			const { pathname, search } = new URL(request.url);
			const body = Buffer.from(await request.arrayBuffer());
			const got = { method: request.method, path: pathname + search, headers: request.headers, body };
			received.push(got);
			return made(got);
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		received,
		answer(next) {
			made = next;
			received.length = 0;
		},
		stop: () => server.stop(true),
	};
}
