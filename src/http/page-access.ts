/** Access to /metrics and /swagger: open for this machine, for others as configured. */
import type { AdminAccess } from "../accounts/auth/admin-access.ts";
import type { Config } from "../config/schema.ts";
import { asRouterError, type RouterError } from "../errors.ts";
import type { ClientAddresses, Peers } from "./client-address.ts";
import { urlOf } from "./request-url.ts";

/** Why a request for a page is refused; undefined lets it in. By what is in the request alone. */
export type PageAccess = (request: Request, server: Peers | null) => RouterError | undefined;

/** The same where a session of the console may have to be looked for. */
export type SignedInPageAccess = (
	...request: Parameters<PageAccess>
) => ReturnType<PageAccess> | Promise<ReturnType<PageAccess>>;

/** The rule for both pages. */
export function pageAccess(
	settings: Pick<Config["server"], "metrics" | "swagger">,
	admin: AdminAccess,
	addresses: ClientAddresses,
): PageAccess {
	return (request, server) => {
		const isMetrics = urlOf(request).pathname.startsWith("/metrics");
		if (settings[isMetrics ? "metrics" : "swagger"] === "open" || addresses.isLocal(request, server)) return undefined;
		try {
			admin.authenticate(request.headers);
			return undefined;
		} catch (thrown) {
			return asRouterError(thrown);
		}
	};
}
