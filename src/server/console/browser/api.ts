/** Requests of the page to its router. The session's cookie goes with them by itself; the page's script never sees it. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

/** An answer that is none: the router's own words, or that nobody answered. */
export class ApiError extends Error {
	/** @param status 0 where no answer came @param code of the router's error, `invalid_admin_key` */
	constructor(
		message: string,
		readonly status: number,
		readonly code: string,
	) {
		super(message);
	}
}

/** How something is asked. */
export interface Ask {
	readonly method?: "GET" | "POST" | "DELETE";
	/** Sent as JSON. */
	readonly body?: unknown;
	/** A caller's key, where the cookie is not enough: for `/v1`. */
	readonly key?: string;
	readonly signal?: AbortSignal;
}

/** Where it is told that the session is over. */
export const SIGNED_OUT = "router-signed-out";

/** Asks the router. @param path without a slash in front: `admin/keys` @throws {ApiError} */
export async function ask(path: string, { method = "GET", body, key, signal }: Ask = {}): Promise<Response> {
	const headers = new Headers({ accept: "application/json" });
	if (body !== undefined) headers.set("content-type", "application/json");
	if (key) headers.set("authorization", `Bearer ${key}`);
	let answer: Response;
	try {
		answer = await fetch(new URL(path, document.baseURI), {
			method,
			headers,
			body: body === undefined ? null : JSON.stringify(body),
			signal: signal ?? null,
		});
	} catch (cause) {
		if (signal?.aborted) throw cause;
		throw new ApiError("The router does not answer. Is it running, and can this machine reach it?", 0, "unreachable");
	}
	if (answer.ok) return answer;
	const error = await errorOf(answer);
	// Some paths take other keys, too, and have other words for none of them; calls are no matter of the session.
	if (answer.status === 401 && !path.startsWith("v1/")) dispatchEvent(new Event(SIGNED_OUT));
	throw error;
}

/** The same, of what answers JSON. @throws {ApiError} */
export async function askJson<T>(path: string, asking?: Ask): Promise<T> {
	const answer = await ask(path, asking);
	return (await answer.json()) as T;
}

/** The router's words for why it did not do so. */
async function errorOf(answer: Response): Promise<ApiError> {
	const text = await answer.text().catch(() => "");
	try {
		const { error } = JSON.parse(text) as { error: { message: string; code: string } };
		return new ApiError(error.message, answer.status, error.code);
	} catch {
		return new ApiError(`The router answered with status ${answer.status}.`, answer.status, "unknown");
	}
}

/** What is known of an answer. */
export interface Fetched<T> {
	/** The last one there was. */
	readonly data: T | undefined;
	/** Why there is no newer one. */
	readonly error: ApiError | undefined;
	/** Asks anew. */
	readonly reload: () => void;
}

/** So long a router that is well takes for no answer, ms. */
const SLOW_MS = 10_000;
const SLOW =
	"The router has not answered for 10 seconds: it hangs, has much to do, or can't be reached. Its answer is waited for.";

/** Asks for JSON, and asks again: where the path changes, every `everyMs`, and when told to. @param path undefined asks nothing */
export function useAnswer<T>(path: string | undefined, everyMs?: number): Fetched<T> {
	const [state, setState] = useState<{ path?: string | undefined; data?: T; error?: ApiError }>({});
	const [count, setCount] = useState(0);
	const reload = useCallback(() => setCount((before) => before + 1), []);
	const latest = useRef(path);
	latest.current = path;
	useEffect(() => {
		if (path === undefined) return;
		const leaving = new AbortController();
		let timer: ReturnType<typeof setTimeout> | undefined;
		let slow: ReturnType<typeof setTimeout> | undefined;
		const failed = (error: ApiError) =>
			setState((before) => (before.path === path ? { ...before, error } : { path, error }));
		const look = async () => {
			slow = setTimeout(() => failed(new ApiError(SLOW, 0, "slow")), SLOW_MS);
			try {
				const data = await askJson<T>(path, { signal: leaving.signal });
				if (latest.current === path) setState({ path, data });
			} catch (error) {
				if (leaving.signal.aborted) return;
				failed(error instanceof ApiError ? error : new ApiError(String(error), 0, "unknown"));
			} finally {
				clearTimeout(slow);
			}
			if (everyMs !== undefined && !leaving.signal.aborted) timer = setTimeout(() => void look(), everyMs);
		};
		void look();
		return () => {
			leaving.abort();
			clearTimeout(timer);
			clearTimeout(slow);
		};
	}, [path, everyMs, count]);
	const isOfPath = state.path === path;
	return { data: isOfPath ? state.data : undefined, error: isOfPath ? state.error : undefined, reload };
}
