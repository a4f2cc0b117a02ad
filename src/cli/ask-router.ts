/** Asks a running router, as `router agents` and `router models` do. */
import type { Config } from "../config/schema.ts";
import { isGood, type UpstreamAnswer } from "../providers/provider.ts";
import { readText } from "../proxy/body.ts";
import { httpTransport } from "../proxy/transport.ts";
import { StartError } from "../start-error.ts";
import { agentUrl } from "./local-agent.ts";
import { plainText } from "./table.ts";

/** How long the answer may take, ms: a list of models may wait 2 s for upstreams. */
const PATIENCE_MS = 10_000;
/** Largest answer read, bytes. */
const MAX_ANSWER = 64 * 1024 * 1024;

/** The router that is asked. */
export interface Asked {
	/** Its base URL, without a closing slash. */
	readonly url: string;
	/**
	 * The `data` of a list. Throws StartError where nothing answers or the answer is no list; undefined for a 401 or 403 where
	 * `mayRefuse`.
	 */
	list<Item>(path: string, secret: string | undefined, mayRefuse?: boolean): Promise<Item[] | undefined>;
	/** The answer's JSON; a POST where there is a body. Throws StartError for every other answer than a good one. */
	ask<Body>(path: string, secret: string | undefined, body?: object): Promise<Body>;
}

/** The router at `url`, by default the one that this configuration starts on this machine. */
export function askRouter(url: string | undefined, { server }: Config): Asked {
	const isTls = server.tls !== undefined;
	const own = isTls ? agentUrl(server).replace("http:", "https:") : agentUrl(server);
	const base = (url ?? own).replace(/\/+$/, "").replace(/\/v1$/, "");
	if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
		throw new StartError(`--url ${base} is no http(s) address: http://router:8000`);
	}
	// The certificate names the router's public host, which loopback is not.
	const acceptsAnyCertificate = url === undefined && isTls;
	const transport = httpTransport({ isInternal: true, proxyFor: () => undefined, acceptsAnyCertificate });
	const send = async (path: string, secret: string | undefined, body?: object) => {
		const headers = {
			accept: "application/json",
			...(body ? { "content-type": "application/json" } : {}),
			...(secret ? { authorization: `Bearer ${secret}` } : {}),
		};
		const request = { url: base + path, headers, ...(body ? { body: JSON.stringify(body) } : {}) };
		let answer: UpstreamAnswer;
		let text: string;
		try {
			answer = await transport.send(request, AbortSignal.timeout(PATIENCE_MS));
			text = await readText(answer, MAX_ANSWER);
		} catch {
			throw new StartError(`nothing answers at ${base}: is the router running there? --url names another`);
		}
		const json = parsed(text) as { data?: unknown; error?: { message?: unknown } } | undefined;
		const message = typeof json?.error?.message === "string" ? plainText(json.error.message) : "is that a router?";
		return { answer, json, problem: `${base}${path} answers ${answer.status}: ${message}` };
	};
	return {
		url: base,
		async list<Item>(path: string, secret: string | undefined, mayRefuse = false) {
			const { answer, json, problem } = await send(path, secret);
			if (mayRefuse && (answer.status === 401 || answer.status === 403)) return undefined;
			if (isGood(answer) && Array.isArray(json?.data)) return json.data as Item[];
			throw new StartError(problem);
		},
		async ask<Body>(path: string, secret: string | undefined, body?: object) {
			const { answer, json, problem } = await send(path, secret, body);
			if (isGood(answer) && json !== undefined) return json as Body;
			throw new StartError(problem);
		},
	};
}

function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
