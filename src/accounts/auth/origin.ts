/** Which web pages may call: a decision about one `Origin` header. */

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);
const LOOPBACK_V4 = /^127(\.\d{1,3}){3}$/;
const PORT = /:\d*$/;

/**
 * Whether a page of this origin may call: one on localhost (any port, http or https), or one that is configured.
 * @param origin the `Origin` header, `https://chat.example.com`; `null` for files and sandboxed frames
 * @param configured origins as people write them (case and a trailing slash are overlooked); `*` is every one
 */
export function allowedOrigin(origin: string, configured: readonly string[]): boolean {
	const wanted = normal(origin);
	if (configured.some((each) => each === "*" || normal(each) === wanted)) return true;
	const url = URL.parse(origin);
	// `http://localhost@evil.example` parses too: only what is an origin and nothing more may pass.
	return url !== null && /^https?:$/.test(url.protocol) && url.origin === wanted && LOOPBACK.has(url.hostname);
}

/** Whether a `Host` header's value names this machine: `localhost`, `127.…` or `[::1]`, with or without a port. */
export function loopbackHost(host: string): boolean {
	const name = host.toLowerCase().replace(PORT, "");
	return LOOPBACK.has(name) || name === "localhost." || LOOPBACK_V4.test(name);
}

function normal(origin: string): string {
	return origin.toLowerCase().replace(/\/$/, "");
}
