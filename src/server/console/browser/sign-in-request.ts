/** Signs in, and looks whether that holds: a browser may keep no cookies. */
import type { SessionState } from "../live-sample.ts";
import { ApiError, ask, askJson } from "./api.ts";

/** The session that begins. @param key absent where none is needed @throws {ApiError} */
export async function beginSession(key?: string): Promise<SessionState> {
	await ask("console/session", { method: "POST", body: key === undefined ? {} : { key } });
	const session = await askJson<SessionState>("console/session");
	// Whatever is shown would be refused, and would sign in anew for ever.
	if (!session.signed_in) throw new ApiError(NO_COOKIE, 0, "no_cookie");
	return session;
}

const NO_COOKIE =
	"The router has signed you in, and your browser has not kept its cookie, without which nothing can be shown: allow cookies for this address.";
