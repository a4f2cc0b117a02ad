/**
 * The shape of the source: imports go one way (CONTRIBUTING.md, "The import order"), each dangerous thing has one place, one name means one
 * thing, and files and functions are short enough to read.
 */
import { describe, expect, test } from "bun:test";
import { basename } from "node:path";
import { ROWS } from "./kit/import-order.ts";
import { circles, exportsOf, functionsIn, importsOf, type SourceFile, sourcesOf } from "./kit/source.ts";

/** Files of src/ itself that are no foundation but the entry. */
const ENTRY = ["main.ts", "cli.ts"];

const sources = await sourcesOf("src");
const tests = await sourcesOf("test");

/** `proxy/relay.ts` → `proxy`; an entry counts as `cli`, the other files of src/ as the lowest room. */
function folder(file: string): string {
	if (ENTRY.includes(file)) return "cli";
	return file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
}
const rowOf = (name: string) => ROWS.findIndex((row) => row.includes(name));

test("every folder has its row", () => {
	expect(sources.map(({ file }) => file).filter((file) => rowOf(folder(file)) === -1)).toEqual([]);
	expect(sources.flatMap(importsOf).length).toBeGreaterThan(100);
});

test("a file imports its own folder and those below, nothing above or beside", () => {
	const wrong = sources.flatMap((source) =>
		importsOf(source)
			.filter((path) => folder(path) !== folder(source.file) && rowOf(folder(path)) >= rowOf(folder(source.file)))
			.map((path) => `${source.file} → ${path}`),
	);
	expect(wrong).toEqual([]);
});

test("no files import each other in a circle, types included", () => {
	expect(circles(sources)).toEqual([]);
});

test.each([
	["fetch(", /(?<![\w.])fetch\(/, ["proxy/net/transport.ts", "server/console/browser/api.ts"]],
	// What a start would wait for: schemas that are compiled, imports that make more than anybody has asked for.
	["TypeCompiler", /\bTypeCompiler\b/, ["lazy-check.ts"]],
	["node:tls", /"node:tls"/, ["public-authorities.ts"]],
	["prom-client", /"prom-client"/, ["telemetry/prometheus.ts"]],
	// A router's next version is a process, too.
	["Bun.spawn", /\bBun\.spawn/, ["agent/docker/command.ts", "server/upgrade/new-process.ts"]],
	["bun:ffi", /"bun:ffi"/, ["libc.ts", "server/start-memory.ts"]],
	[
		"bun:sqlite",
		/"bun:sqlite"/,
		[
			"store/backup.ts",
			"store/database-file.ts",
			"store/open-database.ts",
			"store/merge.ts",
			"store/directory-lock.ts",
		],
	],
	[
		// Calendar time, and times that other machines get. Durations: performance.now(), steadyTime().
		"Date.now",
		/\bDate\.now\b/,
		[
			"cli/agents.ts",
			"cli/doctor/redis-facts.ts",
			"api/response-writer.ts",
			"api/retiring-models.ts",
			"accounts/auth/agent-secrets.ts",
			"accounts/usage/ledger.ts",
			"accounts/auth/stored-keys.ts",
			"accounts/usage/local-spend.ts",
			"accounts/usage/shared-spend.ts",
			"accounts/usage/spend-cells.ts",
			"accounts/limits/admission.ts",
			"accounts/runaway/runaways.ts",
			"server/runaway-report.ts",
			"cache/cache.ts",
			"cache/cached-response.ts",
			"providers/chat-answer.ts",
			"cache/lead.ts",
			"providers/dummy.ts",
			"providers/upstream-error.ts",
			"accounts/usage/price-book.ts",
			"server/agents/agent-registry.ts",
			"server/admin/admin-service.ts",
			"server/admin/usage-query.ts",
			"server/console/browser/components/retiring-models.tsx",
			"server/console/browser/components/usage-card.tsx",
			"server/console/browser/pages/calls.tsx",
			"server/console/console-session.ts",
			"server/console/live-feed.ts",
			"steady-time.ts",
			"store/sqlite.ts",
			"server/threads/worker-events.ts",
			"telemetry/event-queue.ts",
			"telemetry/log.ts",
			"telemetry/process-metrics.ts",
			"telemetry/otel/call-trace.ts",
			"telemetry/otel/metric-exporter.ts",
		],
	],
	["ioredis", /"ioredis"/, ["store/redis-client.ts"]],
	["node:child_process", /"(?:node:)?child_process"/, []],
] as [string, RegExp, string[]][])("%s stands only where it may", (_, pattern, allowed) => {
	expect(
		sources
			.filter(({ code }) => pattern.test(code))
			.map(({ file }) => file)
			.sort(),
	).toEqual([...allowed].sort());
});

test("a call's body is asked for by providers, by what makes another request or answer of it, and by what puts it into its span; all others read its facts", () => {
	const askers = sources.filter(({ code }) => /\bbody\(\)/.test(code)).map(({ file }) => file);
	// What an agent sends its router is no call.
	expect(askers.filter((file) => !/^(?:providers|dialects|openai|agent\/router-link)\//.test(file))).toEqual([
		"api/traced-contents.ts",
		"proxy/other-form.ts",
		"proxy/resume-request.ts",
	]);
	expect(askers).toContain("providers/openai/request.ts");
});

describe("one name, one thing", () => {
	/** Upstreams' and clients' wires have like parts, which are named alike; so do the console's pages. */
	const isWire = (file: string) => /^(?:providers|dialects|server\/console\/browser\/pages)\/./.test(file);
	/** The entries under which several files stand. */
	function shared(entries: readonly (readonly [name: string, file: string])[]): string[] {
		const byName = Map.groupBy(entries, ([name]) => name);
		return [...byName].flatMap(([name, found]) => {
			const files = found.map(([, file]) => file);
			return files.length < 2 || files.every(isWire) ? [] : [`${name}: ${files.join(", ")}`];
		});
	}

	test("no two files have one name", () => {
		expect(shared(sources.map(({ file }) => [basename(file), file]))).toEqual([]);
	});

	test("no two files export one name", () => {
		const exported = sources.flatMap((source) => exportsOf(source).map((name) => [name, source.file] as const));
		expect(exported.length).toBeGreaterThan(500);
		expect(shared(exported)).toEqual([]);
	});
});

describe("names are the field's words", () => {
	/** Metaphors that types, functions and variables once had; what stands for them now is plain from the code. */
	const OLD_NAMES = [
		"House",
		"HouseTools",
		"createHouse",
		"Office",
		"openOffice",
		"takeOrder",
		"Turnstile",
		"turnstile",
		"Pass",
		"Bound",
		"Standing",
		"Verdict",
		"Guest",
		"SpendBoard",
		"Young",
		"Patience",
		"Told",
		"mayGoOn",
		"Keep",
		"Supplies",
		"supplies",
		"Opened",
		"Asked",
		"Judged",
		"judged",
		"judge",
		"Setback",
		"setback",
		"dice",
		"Need",
		"isShaky",
		"isHasty",
		"isImpatient",
		"isUnasked",
		"tellsLoading",
		"refuseStealth",
		"endOfTurn",
		"callAs",
		"standIn",
		"isGood",
		"desk",
		"house",
		"office",
		"deeds",
		"Deeds",
		"audience",
		"Audience",
		"settlement",
		"young",
		"patience",
		"standing",
		"mendStore",
		"nearPaths",
		"pageDoor",
		"PageDoor",
		"gatekeeper",
		"unkept",
		"keptOrThrow",
		"keepFixed",
		"mendVariables",
		"mendSettings",
	];
	const OLD_FILES = [
		"gatekeeper",
		"page-door",
		"request-line",
		"patience",
		"idle",
		"call-back",
		"young",
		"supplies",
		"account-ring",
		"settlement",
		"audience",
		"whole-headers",
		"decoded-answer",
		"resumed-decoder",
		"guarded-decoder",
		"flight",
		"repeats",
		"second-level",
		"redis-level",
		"judge",
		"splices",
		"thoughts",
		"delta-template",
		"fold",
		"book",
		"deeds",
		"standing",
		"joined",
		"blueprints",
		"families",
		"order",
		"office",
		"office-text",
		"expects",
		"finish",
		"fixed",
		"mistake",
		"nearest",
		"named-file",
		"door",
		"turnstile",
		"limiter-script",
		"limit-answer",
		"own-spend",
		"made-keys",
		"keyless",
		"biller",
		"house",
		"near-path",
		"mended",
		"pasted",
		"start-error",
		"together",
	];
	const isOld = new RegExp(`(?<![\\w$])(?:${OLD_NAMES.join("|")})(?![\\w$])`, "g");
	/** What no comment says either. */
	const METAPHORS =
		/turnstile|\bhouse\b|\boffice\b|\bdesk\b|\bdeeds?\b|gatekeeper|SpendBoard|\bdoors?\b|runtime traps|contract \d|the brief/gi;
	/** The lists themselves. */
	const others = tests.filter(({ file }) => file !== "imports.test.ts" && file !== "pages.test.ts");
	const found = (from: readonly SourceFile[], read: (source: SourceFile) => RegExpMatchArray | null) =>
		from.flatMap((source) => [...new Set(read(source))].map((name) => `${source.file}: ${name}`));

	test("no old name is left in code", () => {
		// Texts may speak as they like.
		const names = ({ code }: SourceFile) => code.replace(/"(?:[^"\\\n]|\\.)*"/g, '""').match(isOld);
		expect(found([...sources, ...others], names)).toEqual([]);
	});

	test("no metaphor is left in comments", () => {
		expect(found([...sources, ...others], ({ comments }) => comments.match(METAPHORS))).toEqual([]);
	});

	test("no file has an old name", () => {
		const names = [...sources, ...tests].map(({ file }) => file);
		expect(names.filter((file) => OLD_FILES.includes(basename(file).replace(/(?:\.test)?\.ts$/, "")))).toEqual([]);
	});
});

describe("short enough to read", () => {
	const lengthOf = ({ text }: SourceFile) => text.split("\n").length - 1;
	/** Functions that are tables: long because there are many rows, with nothing to follow from one to the next. */
	const TABLES = ["cli/help.ts: export function helpText(", "telemetry/call-metrics.ts: function callMetrics("];

	test("no file of src/ has more than 350 lines, none of test/ more than 400", () => {
		const long = sources.filter((source) => lengthOf(source) > 350).map(({ file }) => file);
		expect(long).toEqual([]);
		expect(tests.filter((source) => lengthOf(source) > 400).map(({ file }) => file)).toEqual([]);
	});

	test("the median file of src/ has 70 to 130 lines", () => {
		const lengths = sources.map(lengthOf).sort((a, b) => a - b);
		const median = lengths[Math.floor(lengths.length / 2)]!;
		expect(median).toBeWithin(70, 131);
	});

	test("no function has more than 60 lines, but tables", () => {
		const functions = sources.flatMap(({ file, text }) => functionsIn(text).map((each) => ({ file, ...each })));
		expect(functions.length).toBeGreaterThan(1000);
		const long = functions.filter(({ lines }) => lines > 60).map(({ file, head }) => `${file}: ${head}`);
		expect(long.filter((each) => !TABLES.some((table) => each.startsWith(table)))).toEqual([]);
		// A table that has become short, or is gone, leaves the list.
		expect(TABLES.filter((table) => !long.some((each) => each.startsWith(table)))).toEqual([]);
	});

	test("a function's length is counted from its head to its closing brace", () => {
		const body = "\t\tstep();\n".repeat(3);
		const text = `class A {\n\tfirst(): void {\n${body}\t}\n\n\tsecond(\n\t\tlong: string,\n\t): Promise<void> {\n${body}\t}\n}\n`;
		expect(functionsIn(text)).toEqual([
			{ head: "first(): void {", line: 2, lines: 5 },
			{ head: "second(", line: 8, lines: 7 },
		]);
	});
});
