/**
 * The migrations of the database; the number of those taken is its `user_version`. Migrations are only ever added. One makes tables, indexes,
 * and columns that are NULL or have a default, and nothing else: a file that can't be written to is used without them (`takeOver` in merge.ts).
 */
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
	// Ids of calls begin with their time, so that new rows are at the end and the oldest first.
	`ALTER TABLE agent_tokens ADD COLUMN revoked_at INTEGER;
	CREATE TABLE keys (
		id TEXT PRIMARY KEY,
		value TEXT NOT NULL
	) STRICT;
	CREATE TABLE calls (
		id TEXT PRIMARY KEY,
		at INTEGER NOT NULL,
		key_id TEXT NOT NULL,
		key TEXT NOT NULL,
		team TEXT NOT NULL,
		user TEXT NOT NULL,
		model TEXT NOT NULL,
		provider TEXT NOT NULL,
		status INTEGER NOT NULL,
		tokens_in INTEGER,
		tokens_out INTEGER,
		cost REAL,
		details TEXT NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE TABLE attempts (
		call TEXT NOT NULL,
		number INTEGER NOT NULL,
		provider TEXT NOT NULL,
		target TEXT NOT NULL,
		failure TEXT,
		status INTEGER,
		ms REAL NOT NULL,
		details TEXT NOT NULL,
		PRIMARY KEY (call, number)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE usage_days (
		day TEXT NOT NULL,
		key_id TEXT NOT NULL,
		user TEXT NOT NULL,
		model TEXT NOT NULL,
		provider TEXT NOT NULL,
		key TEXT NOT NULL,
		team TEXT NOT NULL,
		calls INTEGER NOT NULL,
		failed INTEGER NOT NULL,
		estimated INTEGER NOT NULL,
		unpriced INTEGER NOT NULL,
		tokens_in INTEGER NOT NULL,
		tokens_out INTEGER NOT NULL,
		tokens_cached INTEGER NOT NULL,
		tokens_reasoning INTEGER NOT NULL,
		cost REAL NOT NULL,
		PRIMARY KEY (day, key_id, user, model, provider)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX usage_by_key ON usage_days (key_id, day, cost);`,
	// Attempts that ended before their call, as JSON: a second row for each call is expensive. Later ones have rows of their own.
	"ALTER TABLE calls ADD COLUMN attempts TEXT;",
	`CREATE TABLE objects (
		owner TEXT NOT NULL,
		kind TEXT NOT NULL,
		id TEXT NOT NULL,
		provider TEXT NOT NULL,
		created_at INTEGER NOT NULL,
		value TEXT,
		changed_at INTEGER NOT NULL,
		removed INTEGER NOT NULL,
		PRIMARY KEY (owner, kind, id)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX objects_by_age ON objects (owner, kind, created_at, id);
	CREATE INDEX objects_by_id ON objects (kind, id);`,
	// The size stands before the value, and in the index: sums are made without a look at values.
	`CREATE TABLE responses (
		key_id TEXT NOT NULL,
		id TEXT NOT NULL,
		used_at INTEGER NOT NULL,
		size INTEGER NOT NULL,
		value BLOB NOT NULL,
		PRIMARY KEY (key_id, id)
	) STRICT;
	CREATE INDEX responses_by_use ON responses (used_at, size);`,
	`CREATE TABLE writers (
		id TEXT PRIMARY KEY,
		changes INTEGER NOT NULL,
		batch INTEGER NOT NULL,
		written_at INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;`,
	"ALTER TABLE usage_days ADD COLUMN energy REAL NOT NULL DEFAULT 0;",
];
