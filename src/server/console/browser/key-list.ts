/** Keys as `GET /admin/keys` shows them, and what a form says of a new one. Pure. */
import { countText, usdText } from "./format.ts";

/** A key, never its secret. Times are ISO 8601. */
export interface ListedKey {
	readonly id: string;
	readonly name: string;
	readonly team?: string;
	/** Its secret's first characters. */
	readonly prefix?: string;
	readonly models: readonly string[];
	readonly limits: {
		readonly rpm?: number;
		readonly tpm?: number;
		readonly concurrency?: number;
		readonly input?: number;
		readonly session_usd?: number;
	};
	/** What is taken of them now. */
	readonly use?: { readonly rpm?: number; readonly tpm?: number; readonly concurrency?: number };
	/** USD. */
	readonly budget?: { readonly usd: number; readonly per: "day" | "month" | "total"; readonly spent: number };
	/** What its calls ask and are answered goes to whoever collects traces. */
	readonly trace_contents?: boolean;
	readonly role?: "viewer";
	/** `config`: it stands in the configuration, and is changed there. */
	readonly source: "config" | "made";
	readonly created_at?: string;
	readonly old_secret_until?: string;
	readonly revoked_at?: string;
}

/** A new secret as the API answers it, this once. */
export interface MadeSecret {
	readonly key: ListedKey;
	readonly secret: string;
	readonly warning?: string;
}

const PERIODS = { day: "a day", month: "a month", total: "in total" } as const;

/** `600 calls/min · 4 at once`; `–` where nothing is limited. */
export function limitsText({ rpm, tpm, concurrency, input, session_usd }: ListedKey["limits"]): string {
	const parts = [
		rpm !== undefined && `${countText(rpm)} calls/min`,
		tpm !== undefined && `${countText(tpm)} tokens/min`,
		concurrency !== undefined && `${countText(concurrency)} at once`,
		input !== undefined && `input up to ${countText(input)} tokens`,
		session_usd !== undefined && `${usdText(session_usd)} a session`,
	].filter((part) => part !== false);
	return parts.length > 0 ? parts.join(" · ") : "–";
}

/** `a month`. */
export const periodText = (per: keyof typeof PERIODS): string => PERIODS[per];

const NUMBERS = ["rpm", "tpm", "concurrency", "input", "session_usd"] as const;

/** The body of `POST /admin/keys` for what was typed; what is empty is left out. The router checks it. */
export function newKeyBody(form: FormData): Record<string, unknown> {
	const text = (name: string) => String(form.get(name) ?? "").trim();
	const body: Record<string, unknown> = { name: text("name") };
	if (text("team") !== "") body["team"] = text("team");
	if (form.get("viewer") !== null) return { ...body, role: "viewer" };
	const models = text("models")
		.split(/[\s,]+/)
		.filter(Boolean);
	if (models.length > 0) body["models"] = models;
	for (const name of NUMBERS) if (text(name) !== "") body[name] = Number(text(name));
	if (text("usd") !== "") body["budget"] = { usd: Number(text("usd")), per: text("per") };
	if (form.get("trace_contents") !== null) body["trace_contents"] = true;
	return body;
}

/** The body of `POST /admin/keys/{key}/change`: what is empty goes. */
export function keyChangeBody(form: FormData): Record<string, unknown> {
	const nothing = Object.fromEntries(["team", "budget", ...NUMBERS].map((name) => [name, null]));
	const { name: _, ...typed } = newKeyBody(form);
	return { ...nothing, models: ["*"], trace_contents: false, ...typed };
}

/** Those that have a text in their name, team, models, id or first characters, whatever its case. */
export function keysWith(keys: readonly ListedKey[], sought: string): readonly ListedKey[] {
	const text = sought.trim().toLowerCase();
	if (text === "") return keys;
	return keys.filter(({ name, team = "", models, id, prefix = "" }) =>
		[name, team, id, prefix, ...models].some((each) => each.toLowerCase().includes(text)),
	);
}

/** A limit that calls count towards, and what is taken of it now. */
export interface CountedLimit {
	readonly most: number;
	readonly used: number;
	/** `calls a minute` */
	readonly unit: string;
}

/** Those of a key whose use is known. */
export function countedLimits({ limits, use }: Pick<ListedKey, "limits" | "use">): CountedLimit[] {
	return (["rpm", "tpm", "concurrency"] as const).flatMap((name) => {
		const [most, used] = [limits[name], use?.[name]];
		return most === undefined || used === undefined ? [] : [{ most, used, unit: COUNTED[name] }];
	});
}

const COUNTED = { rpm: "calls a minute", tpm: "tokens a minute", concurrency: "calls at once" } as const;
