/** Who may see and change what the router has: by an admin key, or by a session of the console that one began. */
import { type Administrator, adminRefusal } from "../../accounts/auth/admin-access.ts";
import { presentedSecret } from "../../accounts/auth/keys.ts";
import { loopbackHost } from "../../accounts/auth/origin.ts";
import { RouterError } from "../../errors.ts";
import type { Peers } from "../../http/client-address.ts";
import { urlOf } from "../../http/request-url.ts";
import type { ConsoleSession, ConsoleSessions } from "../console/console-session.ts";
import { crossOriginRefusal } from "../console/same-origin.ts";
import type { CurrentSnapshot, RouterSnapshot } from "../snapshot.ts";

/** Who administers where no key is needed. */
export const THIS_MACHINE: Administrator = { name: "this machine", role: "admin" };

/** Finds the administrator behind a request. @throws {RouterError} `invalid_admin_key`, `cross_site_request`, `read_only_key` */
export type AuthenticateAdmin = (request: Request, server: Peers | null) => Administrator | Promise<Administrator>;

/** A session, and whose it is. */
export type SessionOfAdmin = ConsoleSession & { readonly admin: Administrator };

/** Decides at each request, by the snapshot in force. */
export class Administrators {
	/** @param onWrongKey hears of requests that are refused although they have a key */
	constructor(
		private readonly current: CurrentSnapshot<RouterSnapshot>,
		readonly sessions: ConsoleSessions,
		private readonly onWrongKey: (request: Request, server: Peers | null) => void = () => undefined,
	) {}

	/** The administrator behind a request. Throws as `AuthenticateAdmin` does. */
	authenticate(request: Request, server: Peers | null): Administrator {
		const admin = this.#find(request, server);
		if (admin) return permitted(admin, request);
		if (this.hasKeys && presentedSecret(request.headers) !== undefined) this.onWrongKey(request, server);
		throw new RouterError("invalid_admin_key", adminRefusal(this.hasKeys, request.headers));
	}

	/** The administrator who may see what the request asks for; undefined where it is none of one: its key may be one of another kind. */
	find(request: Request, server: Peers | null): Administrator | undefined {
		try {
			const admin = this.#find(request, server);
			return admin && permitted(admin, request);
		} catch {
			return undefined;
		}
	}

	/** The session of a request's cookie, as long as its key is one. */
	session(request: Request, server: Peers | null): SessionOfAdmin | undefined {
		const token = cookieOf(request.headers, this.sessions.cookie);
		const session = token === undefined ? undefined : this.sessions.read(token);
		if (!session) return undefined;
		const { keys } = this.current.snapshot.admin;
		const key = keys.find((each) => this.sessions.holderOf(each) === session.holder);
		if (key) return { ...session, admin: { name: key.name, role: key.role } };
		const isOpen = session.holder === this.sessions.holderOf() && this.isOpenTo(request, server);
		return isOpen ? { ...session, admin: THIS_MACHINE } : undefined;
	}

	/** Whether there is a key to sign in with. */
	get hasKeys(): boolean {
		return this.current.snapshot.admin.keys.length > 0;
	}

	/** The admin key of a secret. */
	keyOf(secret: string) {
		return this.current.snapshot.admin.keyOf(secret);
	}

	/** Whether the router has no keys at all, and the request comes from its machine, where everything else is open, too. */
	isOpenTo(request: Request, server: Peers | null): boolean {
		const { auth, admin, accounts } = this.current.snapshot;
		if (!auth.isKeyless || admin.keys.length > 0) return false;
		// A page whose name was re-pointed at this machine (DNS rebinding) calls it by that name.
		const host = request.headers.get("host") ?? urlOf(request).host;
		return loopbackHost(host) && accounts.addresses.isLocal(request, server);
	}

	#find(request: Request, server: Peers | null): Administrator | undefined {
		return this.current.snapshot.admin.find(request.headers) ?? this.#bySession(request, server);
	}

	#bySession(request: Request, server: Peers | null): Administrator | undefined {
		const found = this.session(request, server)?.admin;
		const refusal = found && crossOriginRefusal(request);
		if (refusal) throw refusal;
		return found;
	}
}

/** The administrator, where what it asks for is allowed to it. Throws `read_only_key`. */
export function permitted(admin: Administrator, { method }: Pick<Request, "method">): Administrator {
	if (admin.role === "admin" || method === "GET" || method === "HEAD") return admin;
	const message = `The admin key "${admin.name}" may see everything and change nothing: its role is viewer.`;
	throw new RouterError("read_only_key", message);
}

/** The value of a cookie. */
export function cookieOf(headers: Headers, name: string): string | undefined {
	for (const pair of headers.get("cookie")?.split(";") ?? []) {
		const [key = "", value = ""] = pair.trim().split("=", 2);
		if (key === name) return value;
	}
	return undefined;
}
