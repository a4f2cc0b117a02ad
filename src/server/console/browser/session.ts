/** Who is signed in, for whatever shows or changes something. */
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { SessionState } from "../live-sample.ts";

/** Somebody who is signed in. */
export type Session = Extract<SessionState, { readonly signed_in: true }>;

/** The session of what is shown. */
export const SessionContext = createContext<Session | undefined>(undefined);

/** The session; there is one wherever a page is shown. */
export function useSession(): Session {
	const session = useContext(SessionContext);
	if (!session) throw new Error("nobody is signed in");
	return session;
}

/** Whether changes are allowed: to a key that is no viewer's. */
export const useCanChange = (): boolean => useSession().role === "admin";
