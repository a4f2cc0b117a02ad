/** Who sends a request. */
import { rejectCrossSite } from "../accounts/auth/csrf.ts";
import type { Caller, KeyAuth } from "../accounts/auth/keys.ts";
import type { Config } from "../config/schema.ts";
import type { RouterError } from "../errors.ts";

/** The caller behind a request; undefined where no keys are configured. Throws `invalid_api_key`, or what `crossSiteRefusal` says. */
export function authenticate(auth: KeyAuth, request: Request, config: Config): Caller | undefined {
	const caller = auth.authenticate(request.headers);
	if (!caller) {
		const refusal = crossSiteRefusal(auth, request, config);
		if (refusal) throw refusal;
	}
	return caller;
}

/** Why a router without keys refuses a request that a web page may have made by stealth; undefined where it does not. */
export function crossSiteRefusal(auth: KeyAuth, request: Request, { server }: Config): RouterError | undefined {
	if (!auth.isKeyless || server.insecure) return undefined;
	return rejectCrossSite(request.headers, request.url, server.cors_origins);
}
