/** The two requests of an agent to its router, and what their answers mean. */
import { RouterError } from "../../errors.ts";
import { LazyCheck } from "../../lazy-check.ts";
import {
	AGENT_HEADER,
	type AgentRegistrar,
	type Heartbeat,
	HeartbeatAnswer,
	PEER_HEADER,
	type Register,
	RegisterAnswer,
} from "../../protocol/agent.ts";
import type { Transport } from "../../providers/provider.ts";
import { readText } from "../../proxy/net/read-body.ts";
import { shortText } from "../../short-text.ts";
import { VERSION } from "../../version.ts";
import type { LinkOutcome } from "./link-step.ts";

/** The router calls back within 3 s before it answers a registration; a heartbeat it answers at once, ms. */
const REGISTER_MS = 10_000;
const HEARTBEAT_MS = 5_000;
/** Largest answer read, bytes. */
const MAX_ANSWER = 64 * 1024;

const registerAnswer = new LazyCheck(RegisterAnswer);
const heartbeatAnswer = new LazyCheck(HeartbeatAnswer);

/**
 * How a request ended; `message` is one sentence for a person where it was not `ok`, `seenAs` the address that the router saw
 * where it does not take the endpoint.
 */
export type RouterReply<Answer> =
	| { outcome: "ok"; answer: Answer }
	| { outcome: Exclude<LinkOutcome, "ok">; message: string; seenAs?: string | undefined };

/** The router, as an agent sees it. Nothing here throws. */
export interface RouterClient {
	register(body: Register, signal: AbortSignal): Promise<RouterReply<RegisterAnswer>>;
	heartbeat(body: Heartbeat, signal: AbortSignal): Promise<RouterReply<HeartbeatAnswer>>;
}

/**
 * @param router its base URL, with or without a closing slash or `/v1`
 * @param agent this agent's name
 */
export function routerClient(
	router: string,
	token: string | undefined,
	transport: Transport,
	agent: string,
): RouterClient {
	const base = router.replace(/\/+$/, "").replace(/\/v1$/, "");
	const headers: Record<string, string> = {
		"content-type": "application/json",
		accept: "application/json",
		"accept-encoding": "identity",
		"user-agent": `router-agent/${VERSION}`,
		[AGENT_HEADER]: agent,
		...(token ? { authorization: `Bearer ${token}` } : {}),
	};
	async function ask<Answer>(
		path: string,
		body: object,
		check: { Check(value: unknown): value is Answer },
		signal: AbortSignal,
		ms: number,
	): Promise<RouterReply<Answer>> {
		const url = base + path;
		try {
			const within = AbortSignal.any([signal, AbortSignal.timeout(ms)]);
			const response = await transport.send({ url, headers, body: JSON.stringify(body) }, within);
			const text = await readText(response, MAX_ANSWER);
			const answer = parsed(text);
			if (response.status === 200 && check.Check(answer)) return { outcome: "ok", answer };
			return { ...failure(path, url, response.status, answer), seenAs: response.headers.get(PEER_HEADER) ?? undefined };
		} catch (thrown) {
			const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : undefined;
			return { outcome: "away", message: `${base} can't be reached${code ? ` (${code})` : ""}` };
		}
	}
	return {
		register: (body, signal) => ask("/register", body, registerAnswer as Checker<RegisterAnswer>, signal, REGISTER_MS),
		heartbeat: (body, signal) =>
			ask("/heartbeat", body, heartbeatAnswer as Checker<HeartbeatAnswer>, signal, HEARTBEAT_MS),
	};
}

/** The router of this process. */
export function inProcessClient(registrar: AgentRegistrar): RouterClient {
	async function ask<Answer>(asking: Promise<Answer>): Promise<RouterReply<Answer>> {
		try {
			return { outcome: "ok", answer: await asking };
		} catch (error) {
			const { message } = error as Error;
			if (!(error instanceof RouterError)) return { outcome: "away", message };
			const outcome = { agent_name_taken: "conflict", agent_not_found: "unknown" } as const;
			return { outcome: outcome[error.errorCode as keyof typeof outcome] ?? "refused", message };
		}
	}
	return {
		register: (body) => ask(registrar.register(body)),
		heartbeat: (body) => ask(registrar.heartbeat(body)),
	};
}

type Checker<Answer> = { Check(value: unknown): value is Answer };

/** What a refusal means. The router's own message is shown: it says what to do. */
function failure(path: string, url: string, status: number, answer: unknown) {
	const { message: given, code } = errorIn(answer);
	const message = given ?? `${url} answered ${status}`;
	if (status === 409) return { outcome: "conflict" as const, message };
	if (path === "/heartbeat" && status === 404 && code === "agent_not_found")
		return { outcome: "unknown" as const, message };
	if (status >= 500 || status === 429 || status === 408) return { outcome: "away" as const, message };
	// A 404 without an error object, or a 200 of another shape: something else answers at that address.
	return { outcome: "refused" as const, message: given ?? `${message}: is that the router?` };
}

function errorIn(answer: unknown): { message?: string; code?: unknown } {
	const { error } = (answer ?? {}) as { error?: { message?: unknown; code?: unknown } };
	if (typeof error?.message !== "string") return {};
	return { message: shortText(error.message, 500), code: error.code };
}

function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
