/** Google's paths, `…/models/{model}:{method}`: one for all that a model can be asked. */
import { presentedSecret } from "../accounts/auth/keys.ts";
import { askedMethod, keyInUrl } from "../dialects/gemini/asked-method.ts";
import { gemini, geminiLists } from "../dialects/gemini/gemini-dialect.ts";
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

/** Answers all of them. Never rejects. */
export function methodHandler({ path }: Pick<MethodRoute, "path">, context: CallContext): CallHandler {
	const steps = ALL_STEPS;
	const chat = callHandler({ operation: "chat", path, dialect: gemini, steps }, context);
	const lists = callHandler({ operation: "chat", path, dialect: geminiLists, steps }, context);
	const embeddings = callHandler({ operation: "embeddings", path, dialect: gemini, steps }, context);
	const refused = (request: Request, thrown: unknown): Response => {
		const error = asRouterError(thrown);
		const id = newRequestId();
		if (error.errorCode === "internal_error") context.onFault?.(id, error.cause ?? error);
		return dialectOf(urlOf(request).pathname, request.headers).error(error, { "x-request-id": id });
	};
	return (request, server) => {
		try {
			takeKey(request);
			const { method, isEvents } = askedMethod(request.url);
			switch (method) {
				case "countTokens":
					return countContents(context, request, server).catch((thrown) => refused(request, thrown));
				case "embedContent":
				case "batchEmbedContents":
					return embeddings(request, server);
				default:
					return (method === "generateContent" || isEvents ? chat : lists)(request, server);
			}
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
