/** Invitations that agents come with. */
import { useState } from "preact/hooks";
import { ApiError, ask, useAnswer } from "../api.ts";
import { timeText } from "../format.ts";
import { useCanChange } from "../session.ts";
import { Dialog } from "./dialog.tsx";
import { Scroll } from "./scroll.tsx";

interface ListedInvitation {
	readonly id: string;
	readonly created_at: string;
}

/** The card. */
export function InvitationsCard() {
	const { data, error, reload } = useAnswer<{ readonly data: readonly ListedInvitation[] }>("admin/invitations");
	const [asked, setAsked] = useState<string | undefined>();
	const [problem, setProblem] = useState<string | undefined>();
	const revoke = async (id: string) => {
		setAsked(undefined);
		setProblem(undefined);
		try {
			await ask(`admin/invitations/${id}/revoke`, { method: "POST" });
		} catch (thrown) {
			setProblem(thrown instanceof ApiError ? thrown.message : String(thrown));
		}
		reload();
	};
	const said = problem ?? error?.message;
	return (
		<section class="card" aria-labelledby="invitations">
			<h2 id="invitations">Invitations of agents</h2>
			{said !== undefined && (
				<p class="problem" role="alert">
					{said}
				</p>
			)}
			{data?.data.length === 0 && (
				<p class="note">
					None. <code>router agents invite</code>, where the router runs, makes one.
				</p>
			)}
			{data && data.data.length > 0 && <InvitationTable invitations={data.data} onRevoke={setAsked} />}
			{asked !== undefined && (
				<RevokeInvitation id={asked} onRevoke={() => void revoke(asked)} onClose={() => setAsked(undefined)} />
			)}
		</section>
	);
}

interface InvitationTableProps {
	readonly invitations: readonly ListedInvitation[];
	/** Asks whether the one of this id is to be revoked. */
	readonly onRevoke: (id: string) => void;
}

function InvitationTable({ invitations, onRevoke }: InvitationTableProps) {
	const canChange = useCanChange();
	return (
		<Scroll label="Invitations">
			<table>
				<thead>
					<tr>
						<th scope="col">Invitation</th>
						<th scope="col" class="text">
							Made
						</th>
						<th scope="col">
							<span class="unseen">Actions</span>
						</th>
					</tr>
				</thead>
				<tbody>
					{invitations.map(({ id, created_at }) => (
						<tr key={id}>
							<th scope="row">{id}</th>
							<td class="text">{timeText(created_at)}</td>
							<td>
								{canChange && (
									<button
										type="button"
										class="quiet"
										aria-label={`Revoke invitation ${id}`}
										onClick={() => onRevoke(id)}
									>
										Revoke
									</button>
								)}
							</td>
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	);
}

interface RevokeInvitationProps {
	readonly id: string;
	readonly onRevoke: () => void;
	readonly onClose: () => void;
}

const RevokeInvitation = ({ id, onRevoke, onClose }: RevokeInvitationProps) => (
	<Dialog title={`Revoke invitation ${id}?`} onClose={onClose}>
		<p>Agents that came with it can't register any more, nor be heard of.</p>
		<div class="actions">
			<button type="button" class="danger" onClick={onRevoke}>
				Revoke
			</button>
			<button type="button" onClick={onClose}>
				Cancel
			</button>
		</div>
	</Dialog>
);
