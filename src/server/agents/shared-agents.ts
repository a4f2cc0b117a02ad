/** Agents of all routers that share a Redis: one that registers with any of them serves all. */
import { type Static, Type } from "@sinclair/typebox";
import type { AgentSecrets } from "../../accounts/auth/agent-secrets.ts";
import { LazyCheck } from "../../lazy-check.ts";
import { GpuReport, ModelReport, Register } from "../../protocol/agent.ts";
import type { SharedRow } from "../../store/shared-table.ts";
import type { Store } from "../../store/store.ts";
import type { RedisFeatures } from "../redis-features.ts";
import type { SharedAgent } from "./agent-record.ts";
import type { AgentRegistry } from "./agent-registry.ts";

/** As long as agents that are not heard of are remembered. */
const AGENT_TTL_MS = 7 * 86_400_000;
/** Tokens and the secret are in each replica's data directory, too. */
const TTL_MS = 365 * 86_400_000;

/** Versions of a token's row. */
const GOOD = 1;
const REVOKED = 2;

/** Unix time, ms, that a date can be made of, and that the table of agents keeps: no fraction. */
const Time = Type.Integer({ minimum: 0, maximum: 8.64e15 });
const Secret = Type.String({ pattern: "^[\\w-]{43}$" });
const { name, endpoint, instance, version } = Register.properties;
const check = new LazyCheck(
	Type.Object({
		name,
		endpoint,
		instance,
		version,
		models: Type.Array(ModelReport, { maxItems: 1000 }),
		gpus: Type.Optional(Type.Array(GpuReport, { maxItems: 1000 })),
		registeredAt: Time,
		heardAt: Time,
		// What it knows: routers that start at the same time have not agreed on a key yet when the first agents come.
		secret: Type.Optional(Secret),
		nextSecret: Type.Optional(Secret),
	}),
);
const KeySchema = Type.Object({ hex: Type.String(), since: Type.Number() });
const checkKey = new LazyCheck(KeySchema);

/** Shares what is heard of agents, the tokens of agents, and what their secrets are derived from. To be called before `open`. */
export function shareAgents(
	redis: RedisFeatures,
	agents: AgentRegistry,
	store: Pick<Store, "agentTokens" | "addAgentToken" | "revokedAgentTokens" | "revokeAgentToken">,
	secrets: AgentSecrets,
): void {
	const publish = redis.table("agents", AGENT_TTL_MS, {
		take(rows) {
			for (const row of rows) {
				const agent = parsed(row, check);
				if (agent) agents.adopt(agent as SharedAgent);
			}
		},
		rows: () => agents.shared().map(agentRow),
	});
	agents.listeners.onHeard((agent) => publish([agentRow(agent)]));

	let published = "";
	// One that was taken back stays so, whoever still has it.
	const tokenRows = (): SharedRow[] => [
		...store.agentTokens().map(({ hash }) => ({ field: hash.toString("hex"), version: GOOD, value: "" })),
		...store.revokedAgentTokens().map((hash) => ({ field: hash.toString("hex"), version: REVOKED, value: "" })),
	];
	redis.table("agent-tokens", TTL_MS, {
		take(rows) {
			const known = new Map(tokenRows().map(({ field, version }) => [field, version]));
			for (const { field, version } of rows) {
				if (!/^[0-9a-f]{64}$/.test(field) || (known.get(field) ?? 0) >= version) continue;
				if (version >= REVOKED) store.revokeAgentToken(Buffer.from(field, "hex"));
				else store.addAgentToken(Buffer.from(field, "hex"));
			}
		},
		rows: tokenRows,
		// `router agents invite` is another process.
		found() {
			const rows = tokenRows();
			const text = rows.map(({ field, version }) => field + version).join();
			if (text === published) return [];
			published = text;
			return rows;
		},
	});

	redis.table("agent-secret", TTL_MS, {
		take([row]) {
			const key = row && parsed(row, checkKey);
			// Agents get their secrets from it when they register again, at their next heartbeat. Until then they are called with those they have.
			if (key) secrets.adopt(key as Static<typeof KeySchema>);
		},
		// The oldest counts.
		rows: () => [{ field: "key", version: -secrets.key.since, value: JSON.stringify(secrets.key) }],
	});
}

function agentRow(agent: SharedAgent): SharedRow {
	return { field: agent.name, version: agent.heardAt, value: JSON.stringify(agent) };
}

function parsed(row: SharedRow, checked: { Check(value: unknown): boolean }): unknown {
	try {
		const value: unknown = JSON.parse(row.value);
		return checked.Check(value) ? value : undefined;
	} catch {
		return undefined;
	}
}
