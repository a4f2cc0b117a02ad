/** Google's paths, `…/models/{model}:{method}`: one for all that a model can be asked. */
import { presentedSecret } from "../accounts/auth/keys.ts";
import { type AskedMethod, askedMethod, type GeminiMethod, keyInUrl } from "../dialects/gemini/asked-method.ts";
import { geminiFor } from "../dialects/gemini/gemini-dialect.ts";
import { dialectOf } from "../dialects/request-dialect.ts";
import { asRouterError } from "../errors.ts";
import { urlOf } from "../http/request-url.ts";
import type { Detail } from "../http/route-docs.ts";
import { newRequestId } from "../request-id.ts";
import type { CallContext } from "./call-context.ts";
import { countContents } from "./count-tokens.ts";
import { type CallHandler, callHandler } from "./handler.ts";

/** A route whose last segment names a model and what it is asked. */
export interface MethodRoute {
	readonly method: "POST";
	readonly path: `/${string}/*`;
	readonly methods: "gemini";
	/** An agent has this path for something else. */
	readonly isRouterOnly?: boolean;
	readonly steps: typeof ALL_STEPS;
	readonly detail: Detail;
}

const ALL_STEPS = ["auth", "limits", "cache", "relay"] as const;

const EMBEDDINGS: ReadonlySet<GeminiMethod> = new Set(["embedContent", "batchEmbedContents"]);

/** Answers all of them, by a handler for each thing that is asked. Never rejects. */
export function methodHandler({ path }: Pick<MethodRoute, "path">, context: CallContext): CallHandler {
	const answered = new Set<string>();
	const handlers = new WeakMap<AskedMethod, CallHandler>();
	const handlerOf = (asked: AskedMethod): CallHandler => {
		const operation = EMBEDDINGS.has(asked.method) ? "embeddings" : "chat";
		const handle = callHandler({ operation, path, dialect: geminiFor(asked), steps: ALL_STEPS }, context, answered);
		handlers.set(asked, handle);
		return handle;
	};
	const refused = (request: Request, thrown: unknown): Response => {
		const error = asRouterError(thrown);
		const id = newRequestId();
		if (error.errorCode === "internal_error") context.onFault?.(id, error.cause ?? error);
		return dialectOf(urlOf(request).pathname, request.headers).error(error, { "x-request-id": id });
	};
	return (request, server) => {
		try {
			takeKey(request);
			const asked = askedMethod(request.url);
			if (asked.method === "countTokens") {
				return countContents(context, request, server).catch((thrown) => refused(request, thrown));
			}
			return (handlers.get(asked) ?? handlerOf(asked))(request, server);
		} catch (thrown) {
			return Promise.resolve(refused(request, thrown));
		}
	};
}

/** A key that stands in the URL goes where all others are, if no header has one: nothing that reads headers need know of it. */
export function takeKey({ url, headers }: Request): void {
	const key = keyInUrl(url);
	if (key !== undefined && presentedSecret(headers) === undefined) headers.set("x-goog-api-key", key);
}
