/** An agent as a row of the table `agents`, and back. */
import type { StoredAgent } from "./store.ts";

interface Row {
	name: string;
	instance: string | null;
	endpoint: string;
	models: string;
	gpus: string | null;
	version: string | null;
	registered_at: number;
	heard_at: number;
}

/** The values of its row. */
export function rowOf({ instance, gpus, version, models, registeredAt, heardAt, ...rest }: StoredAgent) {
	return {
		name: rest.name,
		endpoint: rest.endpoint,
		instance: instance ?? null,
		models: JSON.stringify(models),
		gpus: gpus ? JSON.stringify(gpus) : null,
		version: version ?? null,
		registered_at: registeredAt,
		heard_at: heardAt,
	} satisfies Row;
}

/** The agent of a row; none where somebody else has written into it. */
export function agentOf(value: unknown): StoredAgent[] {
	const row = value as Row;
	try {
		return [
			{
				name: row.name,
				endpoint: row.endpoint,
				models: JSON.parse(row.models),
				registeredAt: row.registered_at,
				heardAt: row.heard_at,
				...(row.instance === null ? {} : { instance: row.instance }),
				...(row.gpus === null ? {} : { gpus: JSON.parse(row.gpus) }),
				...(row.version === null ? {} : { version: row.version }),
			},
		];
	} catch {
		return [];
	}
}
