/** The providers that keep files and batches: which one is meant, and what is asked of it besides what clients ask. */
import { RouterError } from "../errors.ts";
import type { PassedRequest } from "../openai/call.ts";
import { isOk, type Provider, type Target, type UpstreamAnswer } from "../providers/provider.ts";
import { readText } from "../proxy/net/read-body.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { CallContext } from "./call-context.ts";
import type { IncomingCall } from "./incoming-call.ts";

/** What of a call is needed to ask. */
export interface AskingCall {
	readonly context: CallContext;
	readonly call: IncomingCall;
}

/** How long a provider may take to say what an object is, ms. */
const ASK_MS = 10_000;

/**
 * The provider that is to keep a new file: the one that is named, else the first that keeps files and is ready. Throws `operation_not_served`.
 * @param named by the header `x-router-provider`, or by `?provider=`
 */
export function providerForFiles({ entries }: Pick<Catalog, "entries">, named: string | null): string {
	const able = entries.filter(({ upstream: { row, state } }) => row.storesFiles && state === "ready");
	if (named === null) {
		// An address that nobody has set may be no server at all, so vendors and configured ones come first.
		const [first] = able;
		if (first) return first.upstream.name;
		throw new RouterError(
			"operation_not_served",
			"No provider of this router keeps files: set OPENAI_API_KEY, or a provider that does.",
		);
	}
	const found = able.find(({ upstream }) => upstream.name === named);
	if (found) return found.upstream.name;
	const names = able.map(({ upstream }) => upstream.name).join(", ") || "none";
	const message = `The provider "${named.slice(0, 100)}" keeps no files here; these do: ${names}.`;
	throw new RouterError("operation_not_served", message, { param: "provider" });
}

/** Of several keys the first has all the files: another account does not see them. */
const withOneKey = new WeakMap<Provider, Provider>();

/** A provider's files or batches as a target. Throws `operation_not_served` where the provider is no longer configured. */
export function objectTarget(
	{ entries }: Pick<Catalog, "entries">,
	name: string,
	operation: "files" | "batches",
): RouteTarget {
	const entry = entries.find(({ upstream }) => upstream.name === name);
	if (!entry) {
		const message = `The provider "${name}", which keeps it, is no longer configured.`;
		throw new RouterError("operation_not_served", message);
	}
	let provider = withOneKey.get(entry.provider);
	if (!provider) {
		provider = { ...entry.provider, otherAccounts: undefined };
		withOneKey.set(entry.provider, provider);
	}
	return { id: `${name}/${operation}`, provider, model: operation };
}

/** A GET of a provider that no client has made. Rejects where it can't be asked. */
export function getObject(
	{ context, call }: AskingCall,
	provider: string,
	operation: "files" | "batches",
	path: string,
	signal: AbortSignal,
): Promise<UpstreamAnswer> {
	const target: Target = objectTarget(context.current.snapshot.catalog, provider, operation);
	const passed: PassedRequest = { method: "GET", path, contentType: undefined, isSpent: false, body: () => undefined };
	const asking = Object.assign(Object.create(call) as IncomingCall, { passed });
	return target.provider.transport.send(target.provider.encode(asking, target), signal);
}

/** The text of its answer; undefined where there is none, or not in time. */
export async function askObject(
	of: AskingCall,
	provider: string,
	operation: "files" | "batches",
	path: string,
	limit: number,
): Promise<string | undefined> {
	try {
		const answer = await getObject(of, provider, operation, path, AbortSignal.timeout(ASK_MS));
		const text = await readText(answer, limit);
		return isOk(answer) ? text : undefined;
	} catch {
		return undefined;
	}
}
