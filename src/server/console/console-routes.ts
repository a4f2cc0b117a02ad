/** `/console/…`: the page's files, its session, and its live figures. The rest that the console shows it asks of the API that is there for all. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { RouterError } from "../../errors.ts";
import type { ClientAddresses, Peers } from "../../http/client-address.ts";
import { urlOf } from "../../http/request-url.ts";
import type { Log } from "../../telemetry/log.ts";
import { VERSION } from "../../version.ts";
import { type Administrators, cookieOf, type SessionOfAdmin, THIS_MACHINE } from "../admin/administrators.ts";
import { bodyReader } from "../json-body.ts";
import type { ConsoleFiles } from "./console-files.ts";
import type { LiveFeed } from "./live-feed.ts";
import type { SessionState } from "./live-sample.ts";
import type { LiveStreams } from "./live-streams.ts";
import { crossOriginRefusal } from "./same-origin.ts";
import type { SignInLimit } from "./sign-in-limit.ts";

const signInBody = bodyReader(
	Type.Object({ key: Type.Optional(Type.String({ maxLength: 4096 })) }, { additionalProperties: false }),
);
/** None of it is for anybody but the page. */
const HIDDEN = { detail: { hide: true } };
const NO_STORE = { "cache-control": "no-store" };

/** What the routes work with. */
export interface ConsoleOptions {
	readonly administrators: Administrators;
	/** Of wrong keys at the sign-in. */
	readonly limit: Pick<SignInLimit, "count">;
	/** Whom they are counted against, by the configuration in force. */
	readonly addresses: () => ClientAddresses;
	readonly files: ConsoleFiles;
	readonly feed: LiveFeed;
	/** Of this thread's clients. */
	readonly streams: LiveStreams;
	readonly log: Pick<Log, "logger">;
}

/** The plugin. */
export function consoleRoutes(options: ConsoleOptions) {
	const { administrators, files, feed, streams } = options;
	return new Elysia({ name: "console" })
		.use(sessionRoutes(options))
		.get(
			"/console/live",
			({ request, server }) => {
				administrators.authenticate(request, server);
				return Response.json(feed.history, { headers: NO_STORE });
			},
			HIDDEN,
		)
		.get(
			"/console/events",
			({ request, server }) => {
				administrators.authenticate(request, server);
				return liveAnswer(streams, request);
			},
			HIDDEN,
		)
		.get("/console/*", ({ request, params }) => files.file(params["*"], request), HIDDEN);
}

/** A client's stream. Throws `rate_limit_exceeded` where there are too many. */
export function liveAnswer(streams: LiveStreams, request: Request): Response {
	const answer = streams.open(request.signal);
	if (answer) return answer;
	throw new RouterError("rate_limit_exceeded", "Too many consoles watch this router: close some of them.", {
		headers: { "retry-after": "60" },
	});
}

function sessionRoutes({ administrators, limit, addresses, log }: ConsoleOptions) {
	const { sessions } = administrators;
	const audit = (action: string, by: string) =>
		log.logger.child({}, { level: "info" }).info({ audit: action, by }, "audit");
	/** The administrator whose key it is, or who needs none. Throws `invalid_admin_key`, `rate_limit_exceeded`. */
	const signIn = (key: string | undefined, request: Request, server: Peers | null) => {
		if (key === undefined && administrators.isOpenTo(request, server)) {
			return { admin: THIS_MACHINE, holder: sessions.holderOf() };
		}
		const found = key === undefined ? undefined : administrators.keyOf(key.trim());
		if (found) return { admin: found, holder: sessions.holderOf(found) };
		limit.count(addresses().of(request, server));
		throw new RouterError("invalid_admin_key", "This key is no admin key of this router.");
	};
	return new Elysia({ name: "console/session" })
		.get("/console/session", ({ request, server }) => stateAnswer(administrators, request, server), HIDDEN)
		.post(
			"/console/session",
			async ({ request, server }) => {
				const refusal = crossOriginRefusal(request);
				if (refusal) throw refusal;
				// Before the body is read: the connection may be gone afterwards.
				const peer = server?.requestIP(request) ?? null;
				const { key } = await signInBody(request);
				const { admin, holder } = signIn(key, request, { requestIP: () => peer });
				const { token, until } = sessions.begin(holder);
				audit("console.sign-in", admin.name);
				const cookie = cookieText(sessions.cookie, token, until, request);
				return Response.json(signedIn({ until, holder, admin }), { headers: { ...NO_STORE, "set-cookie": cookie } });
			},
			{ parse: "none", ...HIDDEN },
		)
		.delete(
			"/console/session",
			({ request, server }) => {
				const found = administrators.session(request, server);
				const refusal = found && crossOriginRefusal(request);
				if (refusal) throw refusal;
				if (found) {
					sessions.end(cookieOf(request.headers, sessions.cookie)!);
					audit("console.sign-out", found.admin.name);
				}
				const cookie = cookieText(sessions.cookie, "", 0, request);
				return new Response(null, { status: 204, headers: { ...NO_STORE, "set-cookie": cookie } });
			},
			{ parse: "none", ...HIDDEN },
		);
}

/** Who is signed in, or how one can be. */
function stateAnswer(administrators: Administrators, request: Request, server: Peers | null): Response {
	const found = administrators.session(request, server);
	const refusal = found && crossOriginRefusal(request);
	if (refusal) throw refusal;
	const open = administrators.isOpenTo(request, server);
	const state: SessionState = found
		? signedIn(found)
		: { signed_in: false, open, has_admin_keys: administrators.hasKeys };
	return Response.json(state, { headers: NO_STORE });
}

const signedIn = ({ until, admin }: SessionOfAdmin): SessionState => ({
	signed_in: true,
	name: admin.name,
	role: admin.role,
	open: admin === THIS_MACHINE,
	until: new Date(until).toISOString(),
	version: VERSION,
});

/** @param until Unix time, ms; 0 takes the cookie away */
function cookieText(name: string, token: string, until: number, request: Request): string {
	const isSecure =
		urlOf(request).protocol === "https:" || request.headers.get("x-forwarded-proto")?.split(",", 1)[0] === "https";
	const expires = `Expires=${new Date(until).toUTCString()}`;
	return `${name}=${token}; Path=/; ${expires}; HttpOnly; SameSite=Strict${isSecure ? "; Secure" : ""}`;
}
