/** Who sends a request. */
import { rejectCrossSite } from "../accounts/auth/csrf.ts";
import type { Caller, Gate } from "../accounts/auth/keys.ts";
import type { Config } from "../config/schema.ts";
import type { RouterError } from "../errors.ts";

/** The caller behind a request; undefined where no keys are configured. Throws `invalid_api_key`, or what `refuseStealth` says. */
export function authenticate(gate: Gate, request: Request, config: Config): Caller | undefined {
	const caller = gate.admit(request.headers);
	if (!caller) {
		const refusal = refuseStealth(gate, request, config);
		if (refusal) throw refusal;
	}
	return caller;
}

/** Why a router without keys refuses a request that a web page may have made by stealth; undefined where it does not. */
export function refuseStealth(gate: Gate, request: Request, { server }: Config): RouterError | undefined {
	if (!gate.isOpen || server.insecure) return undefined;
	return rejectCrossSite(request.headers, request.url, server.cors_origins);
}
