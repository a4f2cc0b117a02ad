/**
 * Run as a program, as the router is: `bun test/kit/newer-router.ts <flags of the router>`. It is the router from source as a later version of it may
 * be: with a migration more, by which its ledger has another column and a trigger that writes it.
 */
import { MIGRATIONS } from "../../src/store/migrations.ts";

// Else the router would start anew, and this would be gone.
process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"] ??= "65535";
if (process.env["ROUTER_TEST_PORT"] === "balanced") await import("./balanced-platform.ts");

(MIGRATIONS as string[]).push(
	`ALTER TABLE calls ADD COLUMN later TEXT;
	CREATE TABLE later (calls INTEGER NOT NULL) STRICT;
	INSERT INTO later SELECT count(*) FROM calls;
	CREATE TRIGGER calls_later AFTER INSERT ON calls BEGIN UPDATE later SET calls = calls + 1; END;`,
);

const { run } = await import("../../src/cli.ts");
process.exitCode = await run(process.argv.slice(2), process.env);
process.exit();
