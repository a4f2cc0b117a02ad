/** The console: who is not signed in signs in, everybody else sees the page that the address names. */
import { render } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import type { SessionState } from "../live-sample.ts";
import { useAddress } from "./address.ts";
import { ApiError, ask, askJson, SIGNED_OUT } from "./api.ts";
import { Notice } from "./components/notice.tsx";
import { Shell } from "./components/shell.tsx";
import { SignIn } from "./components/sign-in.tsx";
import type { Page } from "./page.ts";
import { SessionContext } from "./session.ts";
import { beginSession } from "./sign-in-request.ts";
import { startTheme } from "./theme.ts";

/** Shows it in the document. @param pages in any order */
export function startConsole(pages: readonly Page[]): void {
	startTheme();
	const sorted = [...pages].sort((a, b) => a.order - b.order);
	render(<Console pages={sorted} />, document.getElementById("console")!);
}

function Console({ pages }: { readonly pages: readonly Page[] }) {
	const [session, setSession] = useState<SessionState | undefined>();
	const [problem, setProblem] = useState<ApiError | undefined>();
	const look = useCallback(async () => {
		try {
			const found = await askJson<SessionState>("console/session");
			// Where no key is needed, nobody is asked for one.
			const isOpen = !found.signed_in && found.open;
			setSession(isOpen ? await beginSession() : found);
			setProblem(undefined);
		} catch (error) {
			setSession(undefined);
			setProblem(error instanceof ApiError ? error : new ApiError(String(error), 0, "unknown"));
		}
	}, []);
	useEffect(() => {
		const signedOut = () => void look();
		addEventListener(SIGNED_OUT, signedOut);
		void look();
		return () => removeEventListener(SIGNED_OUT, signedOut);
	}, [look]);
	const signOut = async () => {
		await ask("console/session", { method: "DELETE" }).catch(() => {});
		await look();
	};
	if (!session) {
		return (
			<main class="alone">
				{problem ? (
					<Notice kind="error" title="The console can't be shown">
						<p>{problem.message}</p>
						<button type="button" onClick={() => void look()}>
							Try again
						</button>
					</Notice>
				) : (
					<p role="status">Loading…</p>
				)}
			</main>
		);
	}
	if (!session.signed_in) return <SignIn hasKeys={session.has_admin_keys} onSignedIn={setSession} />;
	return (
		<SessionContext.Provider value={session}>
			<Shown pages={pages} signOut={() => void signOut()} />
		</SessionContext.Provider>
	);
}

function Shown({ pages, signOut }: { readonly pages: readonly Page[]; readonly signOut: () => void }) {
	const { path, rest, query } = useAddress();
	const page = pages.find((each) => each.path === path);
	const title = page?.title ?? "Not found";
	useEffect(() => {
		document.title = `${title} – router`;
	}, [title]);
	return (
		<Shell pages={pages} path={path} title={title} signOut={signOut}>
			{page ? (
				<page.Component key={path} rest={rest} query={query} />
			) : (
				<Notice kind="empty" title="There is no such page">
					<p>
						The address names “{path}”. <a href="#/">Go to the first page</a>.
					</p>
				</Notice>
			)}
		</Shell>
	);
}
