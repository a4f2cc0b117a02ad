/**
 * `router usage --focus`: the Cost and Usage dataset of FOCUS 1.3, held against the table of its columns, and its sums against the ledger's. The table is read from
 * the specification's pages (focus.finops.org/focus-specification/v1-3; FOCUS_Spec, `specification/datasets/cost_and_usage/columns/*.md` and `specification/attributes/*.md`).
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type FocusConfig, focusCsv } from "../src/accounts/usage/focus-report.ts";
import type { UsageRow } from "../src/store/ledger-batch.ts";
import { cli } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import type { Loose } from "./kit/exchange.ts";
import { startHelloUpstream } from "./kit/hello-answer.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

/** A column of the specification. */
interface Column {
	/** `deprecated`: mandatory until 1.2, deprecated in 1.3. */
	readonly level: "mandatory" | "deprecated" | "recommended" | "conditional";
	/** "Allows nulls"; `never` has a value here. */
	readonly nulls: boolean | "always";
	readonly type: "decimal" | "string" | "datetime" | "json" | "unit";
	/** "Allowed values". */
	readonly allowed?: readonly string[];
}

const decimal = { type: "decimal", nulls: false } as const;
const text = { type: "string", nulls: false } as const;
const SPECIFIED: Readonly<Record<string, Column>> = {
	BilledCost: { level: "mandatory", ...decimal },
	BillingAccountId: { level: "mandatory", ...text },
	BillingAccountName: { level: "mandatory", ...text, nulls: true },
	// ISO 4217 (attributes/currency_format.md).
	BillingCurrency: { level: "mandatory", ...text, allowed: ["USD"] },
	BillingPeriodEnd: { level: "mandatory", type: "datetime", nulls: false },
	BillingPeriodStart: { level: "mandatory", type: "datetime", nulls: false },
	ChargeCategory: { level: "mandatory", ...text, allowed: ["Usage", "Purchase", "Tax", "Credit", "Adjustment"] },
	// "MUST be null when the row does not represent a correction."
	ChargeClass: { level: "mandatory", type: "string", nulls: "always", allowed: ["Correction"] },
	ChargeDescription: { level: "mandatory", ...text, nulls: true },
	ChargeFrequency: { level: "recommended", ...text, allowed: ["One-Time", "Recurring", "Usage-Based"] },
	ChargePeriodEnd: { level: "mandatory", type: "datetime", nulls: false },
	ChargePeriodStart: { level: "mandatory", type: "datetime", nulls: false },
	ConsumedQuantity: { level: "conditional", ...decimal },
	ConsumedUnit: { level: "conditional", type: "unit", nulls: false },
	ContractedCost: { level: "mandatory", ...decimal },
	EffectiveCost: { level: "mandatory", ...decimal },
	HostProviderName: { level: "mandatory", ...text },
	InvoiceIssuerName: { level: "mandatory", ...text },
	ListCost: { level: "mandatory", ...decimal },
	PricingQuantity: { level: "mandatory", ...decimal },
	PricingUnit: { level: "mandatory", type: "unit", nulls: false },
	ProviderName: { level: "deprecated", ...text },
	PublisherName: { level: "deprecated", ...text },
	ServiceCategory: { level: "mandatory", ...text, allowed: ["AI and Machine Learning"] },
	ServiceName: { level: "mandatory", ...text },
	ServiceProviderName: { level: "mandatory", ...text },
	// Of the parent "AI and Machine Learning".
	ServiceSubcategory: {
		level: "recommended",
		...text,
		allowed: [
			"AI Platforms",
			"Bots",
			"Generative AI",
			"Machine Learning",
			"Natural Language Processing",
			"Other (AI and Machine Learning)",
		],
	},
	SkuId: { level: "conditional", ...text },
	SkuMeter: { level: "conditional", ...text },
	SkuPriceDetails: { level: "conditional", type: "json", nulls: true },
	SkuPriceId: { level: "conditional", ...text },
	SubAccountId: { level: "conditional", ...text, nulls: true },
	SubAccountName: { level: "conditional", ...text, nulls: true },
	Tags: { level: "conditional", type: "json", nulls: true },
};

/** attributes/datetime_format.md, numeric_format.md (integer, decimal, or mEn without a plus), unit_format.md. */
const FORMATS: Readonly<Record<Column["type"], RegExp>> = {
	datetime: /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/,
	decimal: /^-?\d+(\.\d+)?(E-?\d+)?$/,
	unit: /^(Tokens|Requests|Hours)$/,
	string: /\S/,
	json: /^\{.*\}$/,
};

/** RFC 4180. */
function parse(csv: string): { head: string[]; rows: Record<string, string>[] } {
	const lines: string[][] = [[]];
	for (const [, quoted, plain, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
		if (end === "" && lines.at(-1)!.length === 0) break;
		lines.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain!);
		if (end === "\r\n") lines.push([]);
	}
	const [head, ...rows] = lines.filter((line) => line.length > 0);
	return { head: head!, rows: rows.map((row) => Object.fromEntries(head!.map((name, at) => [name, row[at]!]))) };
}

/** What is wrong with a dataset by the table, a sentence each. */
function problems(csv: string): string[] {
	const { head, rows } = parse(csv);
	const missing = Object.keys(SPECIFIED).filter((name) => !head.includes(name));
	const unknown = head.filter((name) => !(name in SPECIFIED) && !/^x_[A-Z][A-Za-z]*$/.test(name));
	const found = rows.flatMap((row, at) =>
		Object.entries(SPECIFIED).flatMap(([name, { nulls, type, allowed }]) => {
			const value = row[name] ?? "";
			if (value === "") return nulls === false ? [`row ${at}: ${name} is null`] : [];
			if (nulls === "always") return [`row ${at}: ${name} is not null`];
			if (allowed && !allowed.includes(value)) return [`row ${at}: ${name} is "${value}"`];
			return FORMATS[type].test(value) ? [] : [`row ${at}: ${name} is no ${type}: "${value}"`];
		}),
	);
	return [...missing.map((name) => `${name} is missing`), ...unknown.map((name) => `${name} is unknown`), ...found];
}

const ROW: UsageRow = {
	day: "2026-11-30",
	keyId: "key_1",
	key: "team-a",
	team: "",
	user: "",
	model: "gpt-5",
	provider: "openai",
	calls: 3,
	failed: 1,
	estimated: 0,
	unpriced: 0,
	tokensIn: 1000,
	tokensOut: 200,
	tokensCached: 300,
	tokensReasoning: 50,
	cost: 0.1,
	energy: 0,
};
const CONFIG: FocusConfig = {
	providers: {
		azure: { type: "openai", base_url: "https://example.openai.azure.com/openai/v1" },
		box: { type: "vllm", base_url: "http://10.0.0.7:8000/v1" },
	},
	prices: { "local/*": { gpu_hour: 2 }, "box/*": { gpu_hour: 2, output: 1 } },
};
const dataset = (...rows: Partial<UsageRow>[]) =>
	focusCsv(
		rows.map((row) => ({ ...ROW, ...row })),
		CONFIG,
	);
const onlyRow = (row: Partial<UsageRow>) => parse(dataset(row)).rows[0]!;

describe("the table of columns", () => {
	test.each(Object.keys(SPECIFIED))("a dataset without %s is found wrong by it", (name) => {
		const { head, rows } = parse(dataset({}));
		const kept = head.filter((each) => each !== name);
		const csv = [kept, ...rows.map((row) => kept.map((each) => `"${row[each]!.replaceAll('"', '""')}"`))];
		expect(problems(csv.map((line) => `${line.join(",")}\r\n`).join(""))).toContain(`${name} is missing`);
	});
});

describe("a row", () => {
	test.each([
		["of a vendor", {}],
		["without a key", { keyId: "", key: "" }],
		["with a team and an end user", { team: "red", user: 'a "b", c' }],
		["whose model a spreadsheet would take for a formula", { model: "=HYPERLINK(1)" }],
		["that costs next to nothing", { cost: 1.5e-9, energy: 1e-7 }],
		["that costs nothing", { cost: 0 }],
		["without tokens", { tokensIn: 0, tokensOut: 0, calls: 4, failed: 1 }],
		["of an agent", { provider: "local", model: "qwen" }],
		["of a provider that is configured no more", { provider: "gone" }],
		["of the last day of a year", { day: "2026-12-31" }],
	])("%s has each column as the specification wants it", (_, row) => {
		expect(problems(dataset(row))).toEqual([]);
	});

	test("has the month and the day as periods whose ends are exclusive", () => {
		expect(onlyRow({ day: "2026-12-31" })).toMatchObject({
			BillingPeriodStart: "2026-12-01T00:00:00Z",
			BillingPeriodEnd: "2027-01-01T00:00:00Z",
			ChargePeriodStart: "2026-12-31T00:00:00Z",
			ChargePeriodEnd: "2027-01-01T00:00:00Z",
		});
	});

	test.each([
		["openai", "OpenAI", "OpenAI API"],
		["azure", "azure", "azure API"],
		["gone", "gone", "gone API"],
		["box", "Self-hosted", "Self-hosted inference"],
		["local", "Self-hosted", "Self-hosted inference"],
		["dummy", "Self-hosted", "Self-hosted inference"],
	])("of the provider %s is of %s", (provider, entity, service) => {
		const row = onlyRow({ provider });
		expect(row).toMatchObject({ BillingAccountId: provider, ServiceName: service });
		for (const name of ["ServiceProviderName", "HostProviderName", "InvoiceIssuerName", "ProviderName"]) {
			expect(row[name]).toBe(entity);
		}
	});

	test("counts tokens, and answered calls where there are none", () => {
		expect(onlyRow({})).toMatchObject({ ConsumedQuantity: "1200", ConsumedUnit: "Tokens", x_CachedInputTokens: "300" });
		const picture = onlyRow({ tokensIn: 0, tokensOut: 0 });
		expect(picture).toMatchObject({ ConsumedQuantity: "2", ConsumedUnit: "Requests", SkuId: "openai/gpt-5#requests" });
	});

	test("is priced by hours where the hour is the only price of hardware of one's own", () => {
		const hours = { PricingQuantity: "0.25", PricingUnit: "Hours", ConsumedQuantity: "1200", ConsumedUnit: "Tokens" };
		expect(onlyRow({ provider: "local", model: "qwen", cost: 0.5 })).toMatchObject(hours);
		expect(onlyRow({ provider: "box", model: "qwen", cost: 0.5 })["PricingUnit"]).toBe("Tokens");
		expect(onlyRow({ provider: "openai", cost: 0.5 })["PricingUnit"]).toBe("Tokens");
	});

	test("of a model's copies is a sub account of its own, and its cost is in the sums", () => {
		const copied = onlyRow({ keyId: "shadow:fast", key: "shadow of fast", cost: 0.25 });
		expect(copied).toMatchObject({ SubAccountId: "shadow:fast", BilledCost: "0.25", Tags: "" });
	});

	test("says how many of its calls have no known price", () => {
		const row = onlyRow({ cost: 0, unpriced: 2 });
		expect(row).toMatchObject({ BilledCost: "0", x_UnpricedRequests: "2" });
		expect(row["ChargeDescription"]).toContain("2 without a known price");
	});

	test("has team and end user as JSON, whatever is in them", () => {
		const user = 'a "b", {c}\r\n=1';
		expect(JSON.parse(onlyRow({ team: "red", user })["Tags"]!)).toEqual({ team: "red", user });
	});
});

describe("rows", () => {
	test("of several routers that are of the same are one, and sums are exact", () => {
		const parts = [{ cost: 0.1 }, { cost: 0.2 }, { cost: 1e-13 }, { day: "2026-11-29", cost: 0.7 }];
		const { rows } = parse(dataset(...parts));
		expect(rows.map(({ BilledCost }) => Number(BilledCost))).toEqual([0.7, 0.1 + 0.2 + 1e-13]);
		expect(rows[1]).toMatchObject({ ConsumedQuantity: "3600", x_Requests: "9" });
	});

	test("are none of calls that used nothing of anybody's", () => {
		const failed = { calls: 2, failed: 2, tokensIn: 0, tokensOut: 0, cost: 0 };
		expect(parse(dataset(failed, { provider: "none", cost: 0 })).rows).toEqual([]);
		expect(parse(dataset()).head).toContain("BilledCost");
	});
});

describe("the running router", () => {
	const ADMIN = "admin-key-of-the-test";
	/** Answers each call with the same counts. */
	const upstream = startHelloUpstream(1001, 13);
	let router: RunningRouter;
	const at = (path: string, key = ADMIN) => fetch(router.url + path, { headers: { authorization: `Bearer ${key}` } });
	const usage = async () => ((await (await at("/admin/usage?by=key,model")).json()) as Loose)["data"] as Loose[];
	const run = (...args: string[]) =>
		cli(["usage", ...args, "--config", join(router.directory, "router.yaml")], {
			cwd: router.directory,
			env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
		});
	beforeAll(async () => {
		router = await startRouter({
			config: {
				providers: { priced: { type: "openai-compatible", base_url: `http://127.0.0.1:${upstream.port}` } },
				prices: { "priced/*": { input: 0.15, output: 0.6 }, "priced/dear": { input: 3, output: 15 } },
				keys: [
					{ name: "one", key: "key-number-one", team: "red" },
					{ name: "two", key: "key-number-two" },
				],
				admin: { keys: [{ name: "ops", key: ADMIN }] },
			},
		});
		const calls = [
			["one", "priced/cheap"],
			["one", "priced/dear"],
			["two", "priced/cheap"],
			["two", "priced/cheap"],
			["two", "dummy"],
			["two", "priced/cheap", "bob"],
		] as const;
		for (const [key, model, user] of calls) {
			const body = { model, messages: [{ role: "user", content: "hi" }], ...(user && { user }) };
			const sent = await post(`${router.url}/v1/chat/completions`, body, { authorization: `Bearer key-number-${key}` });
			expect(sent.status).toBe(200);
		}
		await until(async () => (await usage()).reduce((sum, { calls }) => sum + Number(calls), 0) === 6, "six calls");
	}, 60_000);
	afterAll(async () => {
		await router.stop();
		await upstream.stop(true);
	});

	test.each([
		["format=xml", "format"],
		["format=focus&by=key", "by"],
		["format=focus&from=2026-02-30", "from"],
		["format=focus&granularity=minute", "granularity"],
		["format=csv&granularity=hour", "granularity"],
	])("refuses %s, naming what is wrong", async (query, param) => {
		const answer = await at(`/admin/usage?${query}`);
		expect([answer.status, clientError(await answer.text())]).toEqual([
			400,
			expect.objectContaining({ code: "invalid_value", param }),
		]);
	});

	test("has a dataset whose sums are those of its usage, to the last digit", async () => {
		const answer = await at("/admin/usage?format=focus");
		expect([answer.headers.get("content-type"), answer.headers.get("cache-control")]).toEqual([
			"text/csv; charset=utf-8",
			"no-store",
		]);
		const csv = await answer.text();
		expect(problems(csv)).toEqual([]);
		const { rows } = parse(csv);
		expect(rows.map(({ x_Model, Tags }) => [x_Model, Tags])).toEqual([
			["dummy", ""],
			["cheap", '{"team":"red"}'],
			["cheap", ""],
			["cheap", '{"user":"bob"}'],
			["dear", '{"team":"red"}'],
		]);
		for (const { key, model, calls, tokens_in, tokens_out, cost_usd } of await usage()) {
			const own = rows.filter(({ SubAccountName, x_Model }) => SubAccountName === key && x_Model === model);
			const sum = (column: string) => own.reduce((all, row) => all + Number(row[column]), 0);
			expect([sum("x_Requests"), sum("ConsumedQuantity")]).toEqual([calls, tokens_in + tokens_out]);
			for (const cost of ["BilledCost", "EffectiveCost", "ContractedCost", "ListCost"]) {
				expect(Number(sum(cost).toFixed(12))).toBe(cost_usd);
			}
		}
	});

	test("is asked by the command line, beside it and from afar, with the same rows", async () => {
		const csv = await (await at("/admin/usage?format=focus")).text();
		const beside = await run("--focus");
		expect([beside.code, beside.stderr, beside.stdout]).toEqual([0, "", csv]);
		expect((await run("--focus", "--url", router.url)).stdout).toBe(csv);
	}, 60_000);

	test("has the same by the hour, and says that it is all of it", async () => {
		const answer = await at("/admin/usage?format=focus&granularity=hour");
		expect(answer.headers.get("x-router-daily")).toBeNull();
		expect(answer.headers.get("x-router-granularity")).toBe("hour");
		const csv = await answer.text();
		expect(problems(csv)).toEqual([]);
		const { rows } = parse(csv);
		const lengths = rows.map((row) => Date.parse(row["ChargePeriodEnd"]!) - Date.parse(row["ChargePeriodStart"]!));
		expect(new Set(lengths)).toEqual(new Set([3_600_000]));
		const byDay = parse(await (await at("/admin/usage?format=focus")).text()).rows;
		for (const column of ["BilledCost", "ConsumedQuantity", "x_InputTokens", "x_Requests"]) {
			const sum = (of: typeof rows) => Number(of.reduce((all, row) => all + Number(row[column]), 0).toFixed(12));
			expect([column, sum(rows)]).toEqual([column, sum(byDay)]);
		}
		const beside = await run("--focus", "--hourly");
		expect([beside.code, beside.stderr, beside.stdout]).toEqual([0, "", csv]);
		expect((await run("--focus", "--hourly", "--url", router.url)).stdout).toBe(csv);
	}, 60_000);

	test("is not asked for groups: the rows are FOCUS' own", async () => {
		const outcome = await run("--focus", "--by", "key");
		expect([outcome.code, outcome.stdout]).toEqual([2, ""]);
		expect(outcome.stderr).toContain("(a day or hour, provider, model, key and user each): leave --by out");
	}, 60_000);
});
