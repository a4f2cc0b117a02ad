/**
 * Sessions of the console: signed texts, so that every thread and every router that has the same secret knows them, and none has to be kept.
 * A session says whose key began it and until when it is good; it ends with that key.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { AdminKey } from "../../accounts/auth/admin-access.ts";
import { EndedSessions, type NamedSession, SESSION_MS } from "./ended-sessions.ts";

const NONCE_BYTES = 18;
/** `until.nonce.holder.signature` */
const FORM = /^([0-9a-z]{1,12})\.([\w-]{24})\.([\w-]{43})\.([\w-]{43})$/;

/** A session that is good. */
export interface ConsoleSession {
	/** Unix time, ms. */
	readonly until: number;
	/** Whose it is: as `holderOf` names keys. */
	readonly holder: string;
}

/** What is needed to begin and to know them. */
export interface ConsoleSessionsOptions {
	/** What they are signed with; another one ends them all. */
	readonly secret: () => string;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

/** All sessions of a router. */
export class ConsoleSessions {
	/** Those that were signed out. */
	readonly ended = new EndedSessions(() => this.#now());

	constructor(private readonly options: ConsoleSessionsOptions) {}

	/** The name of the cookie: cookies of a host are those of all its ports, and another router may be at another one. */
	get cookie(): string {
		return `router_session_${this.#sign("cookie").slice(0, 8)}`;
	}

	/** How a session names its key; without one, who needs none. */
	holderOf(key?: Pick<AdminKey, "hash">): string {
		return this.#sign(key ? `key ${key.hash.toString("hex")}` : "no key");
	}

	/** Begins one. */
	begin(holder: string): ConsoleSession & { readonly token: string } {
		const until = this.#now() + SESSION_MS;
		const body = `${until.toString(36)}.${randomBytes(NONCE_BYTES).toString("base64url")}.${holder}`;
		return { until, holder, token: `${body}.${this.#sign(`session ${body}`)}` };
	}

	/** The session of a token; undefined where it is none, or over. */
	read(token: string): ConsoleSession | undefined {
		const found = this.#verified(token);
		return found && !this.ended.has(found.nonce) ? found : undefined;
	}

	/** Signs one out: here, and wherever else its end is told. */
	end(token: string): void {
		const found = this.#verified(token);
		if (found) this.ended.add(found);
	}

	#verified(token: string): (ConsoleSession & NamedSession) | undefined {
		const [, time = "", nonce = "", holder = "", signature = ""] = FORM.exec(token) ?? [];
		if (signature === "") return undefined;
		const wanted = Buffer.from(this.#sign(`session ${time}.${nonce}.${holder}`));
		if (!timingSafeEqual(wanted, Buffer.from(signature))) return undefined;
		const until = Number.parseInt(time, 36);
		return until > this.#now() ? { until, holder, nonce } : undefined;
	}

	/** 43 characters. */
	#sign(text: string): string {
		return createHmac("sha256", this.options.secret()).update(`router console ${text}`).digest("base64url");
	}

	#now(): number {
		return (this.options.wall ?? Date.now)();
	}
}
