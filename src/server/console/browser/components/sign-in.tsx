/** Signing in with an admin key. The key is sent once, for a cookie that no script can read, and kept nowhere. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { SessionState } from "../../live-sample.ts";
import { ApiError } from "../api.ts";
import { beginSession } from "../sign-in-request.ts";
import { Notice } from "./notice.tsx";

interface SignInProps {
	/** There is a key to sign in with. */
	readonly hasKeys: boolean;
	readonly onSignedIn: (session: SessionState) => void;
}

/** The form; where no key would do, what to do. */
export const SignIn = ({ hasKeys, onSignedIn }: SignInProps) => (
	<main class="alone">
		<h1>router</h1>
		{hasKeys ? <KeyForm onSignedIn={onSignedIn} /> : <NoKeys />}
	</main>
);

const NoKeys = () => (
	<Notice kind="warning" title="This router has no admin key">
		<p>
			Set <code>ROUTER_ADMIN_KEYS</code> where it runs, or <code>admin.keys</code> in its configuration, and load this
			page anew. A router without any keys is open to its own machine alone, as <code>localhost</code>.
		</p>
	</Notice>
);

function KeyForm({ onSignedIn }: Pick<SignInProps, "onSignedIn">) {
	const [problem, setProblem] = useState<string | undefined>();
	const [isBusy, setIsBusy] = useState(false);
	const input = useRef<HTMLInputElement>(null);
	// There is nothing else to do here.
	useEffect(() => input.current!.focus(), []);
	const submit = async (event: Event) => {
		event.preventDefault();
		setIsBusy(true);
		setProblem(undefined);
		try {
			onSignedIn(await beginSession(input.current!.value));
		} catch (error) {
			setProblem(error instanceof ApiError ? error.message : String(error));
			input.current?.focus();
		} finally {
			setIsBusy(false);
		}
	};
	return (
		<form class="card sign-in" onSubmit={(event) => void submit(event)}>
			{/* Who keeps keys in a password manager finds them by a name. */}
			<input
				class="unseen"
				name="username"
				autocomplete="username"
				value="router console"
				readOnly
				tabIndex={-1}
				aria-hidden="true"
			/>
			<label for="key">Admin key</label>
			<input
				ref={input}
				id="key"
				type="password"
				autocomplete="current-password"
				required
				aria-describedby={problem === undefined ? undefined : "key-problem"}
				aria-invalid={problem !== undefined}
			/>
			{problem !== undefined && (
				<p id="key-problem" class="problem" role="alert">
					{problem}
				</p>
			)}
			<button type="submit" class="primary" disabled={isBusy}>
				{isBusy ? "Signing in…" : "Sign in"}
			</button>
			<p class="note">
				One of <code>admin.keys</code> or <code>ROUTER_ADMIN_KEYS</code>. A key whose role is <code>viewer</code> sees
				everything and changes nothing.
			</p>
		</form>
	);
}
