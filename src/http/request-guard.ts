/**
 * What a request may look like before anyone reads it. Bun's parser refuses what two servers could understand in two ways: lengths
 * that contradict each other, odd transfer encodings, bare line ends, more than 16 KB of headers (400, 431, 505, and the connection
 * is closed); and it gives a client 30 s for its headers, and again for its body. These are the rest.
 */
import { Elysia } from "elysia";
import { RouterError } from "../errors.ts";

/** Longest URL, characters: prompts belong in the body, where they are in no log. */
const LONGEST_URL = 8192;

/** Refuses URLs that are too long, and requests for two hosts at once. Their connections are closed. */
export function requestLine() {
	return new Elysia({ name: "http/request-line" }).onRequest(({ request }) => {
		const { url, headers } = request;
		if (url.length > LONGEST_URL) {
			const message = `The URL has ${url.length} characters; ${LONGEST_URL} are the most.`;
			return new RouterError("url_too_long", message, CLOSE).response();
		}
		if (headers.get("host")?.includes(",")) {
			return new RouterError("invalid_host", "The request names more than one Host.", CLOSE).response();
		}
		return undefined;
	});
}

const CLOSE = { headers: { connection: "close" } };
