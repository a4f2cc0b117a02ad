/** Keys and money: who may call, how budgets stand, and who used what. */
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "../api.ts";
import { InvitationsCard } from "../components/invitations-card.tsx";
import {
	ChangeKeyDialog,
	NewKeyDialog,
	RevokeKeyDialog,
	RotateKeyDialog,
	SecretDialog,
} from "../components/key-dialogs.tsx";
import { type KeyOrder, KeyTable } from "../components/key-table.tsx";
import { Notice } from "../components/notice.tsx";
import { RunawaysCard } from "../components/runaways-card.tsx";
import { UsageCard } from "../components/usage-card.tsx";
import { wholeText } from "../format.ts";
import { keysWith, type ListedKey, type MadeSecret } from "../key-list.ts";
import type { Page } from "../page.ts";
import { useCanChange } from "../session.ts";

/** Spending of other routers is a second or two old. */
const LOOK_MS = 3_000;
/** The same where there are more keys than {@link MANY}: each answer has all of them. */
const SELDOM_MS = 30_000;
const MANY = 500;
/** Keys that are shown at once. */
const SHOWN = 100;
/** From so many on they can be looked for. */
const FEW = 8;

/** The page. */
export const page: Page = { path: "keys", title: "Keys and money", order: 40, Component: KeysAndMoney };

/** What is open over the page. */
type OpenDialog =
	| { readonly what: "new" }
	| { readonly what: KeyOrder; readonly key: ListedKey }
	| { readonly what: "secret"; readonly made: MadeSecret };

function KeysAndMoney() {
	return (
		<div class="stack">
			<RunawaysCard />
			<KeysCard />
			<UsageCard />
			<InvitationsCard />
		</div>
	);
}

function KeysCard() {
	const { data, error, reload } = useKeys();
	const [sought, setSought] = useState("");
	const [open, setOpen] = useState<OpenDialog | undefined>();
	const [warning, setWarning] = useState<string | undefined>();
	const [showsRevoked, setShowsRevoked] = useState(false);
	const canChange = useCanChange();
	const all = data?.data ?? [];
	const known = showsRevoked ? all : all.filter((key) => key.revoked_at === undefined);
	const keys = keysWith(known, sought);
	const revokedCount = all.filter((key) => key.revoked_at !== undefined).length;
	const show = (made: MadeSecret) => {
		setOpen({ what: "secret", made });
		reload();
	};
	const changed = (said: string | undefined) => {
		setOpen(undefined);
		setWarning(said);
		reload();
	};
	return (
		<section class="card" aria-labelledby="keys">
			<div class="head">
				<h2 id="keys">Keys</h2>
				<span class="spacer" />
				{revokedCount > 0 && (
					<button
						type="button"
						class="quiet"
						aria-pressed={showsRevoked}
						onClick={() => setShowsRevoked(!showsRevoked)}
					>
						Revoked ones, too ({revokedCount})
					</button>
				)}
				{canChange && (
					<button type="button" class="primary" onClick={() => setOpen({ what: "new" })}>
						Make a key
					</button>
				)}
			</div>
			{error && (
				<Notice kind="error" title={data ? "What is shown is not the newest" : "The keys can't be shown"}>
					<p>{error.message} It is tried again every few seconds.</p>
				</Notice>
			)}
			{warning !== undefined && <p class="warn">{warning}</p>}
			{known.length > FEW && <FindKey sought={sought} seek={setSought} />}
			{data && known.length === 0 && <NoCallerKeys />}
			{known.length > 0 && keys.length === 0 && <p role="status">No key has “{sought}” in it.</p>}
			{keys.length > 0 && <KeyTable keys={keys.slice(0, SHOWN)} order={(what, key) => setOpen({ what, key })} />}
			{keys.length > SHOWN && (
				<p class="note" role="status">
					{wholeText(SHOWN)} of {wholeText(keys.length)} keys are shown: find others by a word above.
				</p>
			)}
			{open && <ShownKeyDialog open={open} onMade={show} onChanged={changed} onClose={() => setOpen(undefined)} />}
		</section>
	);
}

/** All of them, asked for again and again. */
function useKeys() {
	const [isMany, setIsMany] = useState(false);
	const everyMs = isMany ? SELDOM_MS : LOOK_MS;
	const found = useAnswer<{ readonly data: readonly ListedKey[] }>("admin/keys", everyMs);
	const count = found.data?.data.length;
	useEffect(() => {
		if (count !== undefined) setIsMany(count > MANY);
	}, [count]);
	return found;
}

const FindKey = ({ sought, seek }: { readonly sought: string; readonly seek: (text: string) => void }) => (
	<label class="field">
		Find a key
		<input
			type="search"
			value={sought}
			placeholder="its name, team, model, id or first characters"
			onInput={(event) => seek(event.currentTarget.value)}
			autocomplete="off"
			spellcheck={false}
		/>
	</label>
);

const NoCallerKeys = () => (
	<p role="status">No keys are in use. While there never was one, everybody who reaches this router may call.</p>
);

interface ShownKeyDialogProps {
	readonly open: OpenDialog;
	readonly onMade: (made: MadeSecret) => void;
	readonly onChanged: (warning: string | undefined) => void;
	readonly onClose: () => void;
}

function ShownKeyDialog({ open, onMade, onChanged, onClose }: ShownKeyDialogProps) {
	switch (open.what) {
		case "new":
			return <NewKeyDialog onMade={onMade} onClose={onClose} />;
		case "secret":
			return <SecretDialog made={open.made} onClose={onClose} />;
		case "rotate":
			return <RotateKeyDialog listed={open.key} onMade={onMade} onClose={onClose} />;
		case "revoke":
			return <RevokeKeyDialog listed={open.key} onChanged={onChanged} onClose={onClose} />;
		case "change":
			return <ChangeKeyDialog listed={open.key} onChanged={onChanged} onClose={onClose} />;
	}
}
