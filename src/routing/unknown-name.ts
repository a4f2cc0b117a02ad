/** What is said of a name that leads nowhere: to a client that asks for it, and to the owner of a configuration that has it as a target. */
import { didYouMean, nearest } from "../config/did-you-mean.ts";
import { nameMatcher, starsIn } from "../config/name-pattern.ts";
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";

/**
 * The error for a name that leads nowhere, with up to three of `names` that are close to it; a name with a `*` is told that it is none.
 * @param meant what was surely meant
 */
export function modelNotFound(name: string, names: Iterable<string>, meant?: string): RouterError {
	const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name;
	const close = (meant === undefined ? nearest(name, names, 3) : [meant]).map((each) => `"${each}"`);
	const stands = starsIn(name) > 0 ? ` A "*" stands for other text: ask for a model by its own name.` : "";
	const hint = close.length > 0 ? ` Did you mean ${close.join(" or ")}?` : "";
	const message = `There is no model "${shown}" here.${stands}${hint} GET /v1/models lists them.`;
	return new RouterError("model_not_found", message, { param: "model" });
}

/** Providers by every name they answer to. */
type Providers = Pick<ReadonlyMap<string, unknown>, "has" | "keys">;

/**
 * Why a target of `models[index]` leads nowhere; undefined where there is a finding on the entry that it means.
 * @param names the entries' names without a `*`
 */
export function whyNowhere(
	target: string,
	index: number,
	models: Config["models"],
	providers: Providers,
	names: readonly string[],
): string | undefined {
	const at = models.findIndex(({ name }) => name === target);
	if (at === index) return `"${target}" can't lead to itself; name a \`provider/model\`.`;
	if (at > index) return `"${target}" stands further down, as models[${at}]; put it before this one.`;
	if (at !== -1) return undefined;
	const fits = models.findIndex(({ name }, place) => place > index && nameMatcher([name])(target));
	const later = models[fits];
	if (later)
		return `"${target}" fits "${later.name}", which stands further down, as models[${fits}]; put it before this one.`;
	const slash = target.indexOf("/");
	if (slash > 0) {
		const provider = target.slice(0, slash);
		if (!providers.has(provider)) return noProvider(provider, providers);
		return `"${target}" names no model behind its provider.`;
	}
	const hint = didYouMean(target, names);
	return `there is no model "${target}"; ${hint ? `${hint} Else ` : ""}name its provider, too: \`provider/model\`.`;
}

/** Why a provider's name leads nowhere. */
export function noProvider(name: string, providers: Pick<Providers, "keys">): string {
	const hint = didYouMean(name, providers.keys());
	return `there is no provider "${name}"; ${hint ? `${hint} Else ` : ""}declare it under \`providers:\`.`;
}
