/** The database's shape, step by step: the number of steps taken is its `user_version`. Steps are only ever added. */
export const MIGRATIONS: readonly string[] = [
	`CREATE TABLE agents (
		name TEXT PRIMARY KEY,
		instance TEXT,
		endpoint TEXT NOT NULL,
		models TEXT NOT NULL,
		gpus TEXT,
		version TEXT,
		registered_at INTEGER NOT NULL,
		heard_at INTEGER NOT NULL
	) STRICT;
	CREATE TABLE agent_tokens (
		hash BLOB PRIMARY KEY,
		created_at INTEGER NOT NULL
	) STRICT;`,
	`CREATE TABLE served_names (
		name TEXT PRIMARY KEY,
		first_at INTEGER NOT NULL
	) STRICT;`,
];
