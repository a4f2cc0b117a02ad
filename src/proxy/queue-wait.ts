/** A call's wait for its turn, where its model takes only so many at once. */
import { RouterError } from "../errors.ts";
import type { CallQueue, QueueRefused } from "./call-queue.ts";
import type { CallRecord } from "./call-record.ts";
import { LEFT } from "./deadline.ts";
import type { Pause } from "./pause.ts";

/** The call that waits. */
export interface InLine {
	readonly priority: number;
	/** How long it can wait at most, ms. */
	readonly withinMs: number;
	readonly pause: Pause;
	readonly settlement: CallRecord;
}

/** Resolves when it is the call's turn. Throws `model_busy`; and `cancelled` where its client leaves meanwhile. */
export async function standInLine(
	name: string,
	queue: CallQueue,
	{ priority, withinMs, pause, settlement }: InLine,
): Promise<void> {
	const ticket = queue.enter(priority, withinMs);
	if ("reason" in ticket) throw refused(name, ticket, settlement);
	settlement.atEnd(ticket.leave);
	const startedAt = performance.now();
	const isServed = await pause.until(
		ticket.turn.then(() => true),
		withinMs,
	);
	const waitedMs = performance.now() - startedAt;
	settlement.waitedMs += waitedMs;
	if (pause.isOver) throw left();
	if (!isServed) throw refused(name, { reason: "late", retryAfterMs: 0 }, settlement);
	settlement.queued({ model: name, waitedMs });
}

function refused(model: string, { reason, retryAfterMs }: QueueRefused, settlement: CallRecord): RouterError {
	settlement.queued({ model, refused: reason });
	const why =
		reason === "full"
			? "as many calls wait for it as may"
			: "the calls before this one would take longer than it can wait";
	return new RouterError("model_busy", `"${model}" is busy: ${why}.`, {
		headers: { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
	});
}

/** Of a call whose client is gone. */
export const left = (): RouterError => new RouterError("cancelled", LEFT.message);
