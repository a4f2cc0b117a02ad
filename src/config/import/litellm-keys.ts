/** LiteLLM's virtual keys, which its database has and not its file → `keys:`. Pure. */
import { type Draft, hashed } from "./draft.ts";
import type { Source } from "./source.ts";

/** Names, limits and budgets of LiteLLM's virtual keys, of which it keeps hashes: what its `/key/list?return_full_object=true` answers. */
export function importLitellmKeys(draft: Draft, file: Source): void {
	for (const part of ["total_count", "current_page", "total_pages"]) file.at(part).take();
	for (const [index, key] of file.at("keys").members) {
		const hash = key.at("token").text();
		if (hash === undefined || !/^[0-9a-f]{64}$/i.test(hash)) {
			key.leave("has no hash of a secret (`token`, 64 hexadecimal digits)");
			continue;
		}
		const alias = key.at("key_alias").text();
		const models = key.at("models").value;
		const named = Array.isArray(models) ? models.filter((name) => typeof name === "string") : [];
		if (Array.isArray(models)) key.at("models").take();
		const usd = key.at("max_budget").number();
		const team = key.at("team_alias").text() ?? key.at("team_id").text();
		const limits = {
			rpm: key.at("rpm_limit").number(),
			tpm: key.at("tpm_limit").number(),
			concurrency: key.at("max_parallel_requests").number(),
		};
		draft.keys.push({
			name: draft.keyName(alias ?? `key-${Number(index) + 1}`),
			key: hashed(hash),
			...(team !== undefined && { team: team.slice(0, 64) }),
			...(named.length > 0 &&
				!named.some((name) => name === "all-proxy-models" || name === "all-team-models") && { models: named }),
			...Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== undefined && limit >= 1)),
			...(usd !== undefined && { budget: { usd, per: period(key.at("budget_duration")) } }),
		});
		for (const part of [
			"token_id",
			"key_name",
			"user_id",
			"created_at",
			"updated_at",
			"last_active",
			"created_by",
			"updated_by",
			"metadata",
			"model_spend",
			"model_max_budget",
		]) {
			key.at(part).take();
		}
		if (key.at("spend").number()) key.at("spend").leave("what was spent before does not count here");
	}
}

function period(duration: Source): string {
	const text = duration.text();
	if (text === undefined) return "total";
	if (/^(1d|24h|daily)$/.test(text)) return "day";
	if (/^(30d|31d|1mo|monthly)$/.test(text)) return "month";
	duration.leave("a budget is of a day, a month (UTC) or in all; this one became one of a month");
	return "month";
}
