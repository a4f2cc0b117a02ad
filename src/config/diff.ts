/** The changes of a reload, for the log: settings and their values, secrets masked. */
import { type Path, pathText } from "./config-error.ts";
import { type Config, ConfigSchema } from "./schema.ts";
import { mapLeaves } from "./schema-walk.ts";
import { shownValue } from "./shown-value.ts";

/** One setting that differs. Values are as the file would have them; absent where the setting is not there. */
export interface Difference {
	/** `models[fast].targets[0]`: entries that have a name are identified by it. */
	readonly setting: string;
	readonly from?: string;
	readonly to?: string;
}

/** All differences, in the order of the new configuration, then removed settings. */
export function differences(before: Config, after: Config): Difference[] {
	const [old, now] = [leaves(before), leaves(after)];
	const changed = [...now].flatMap(([setting, { value, text }]): Difference[] => {
		const was = old.get(setting);
		if (was?.value === value) return [];
		return [was ? { setting, from: was.text, to: text } : { setting, to: text }];
	});
	const gone = [...old].filter(([setting]) => !now.has(setting));
	return [...changed, ...gone.map(([setting, { text }]): Difference => ({ setting, from: text }))];
}

/** One line for the log: `models[fast].policy: order → balanced`. */
export function differenceLine({ setting, from, to }: Difference): string {
	if (from === undefined) return `${setting}: ${to} (new)`;
	return to === undefined ? `${setting}: ${from} (gone)` : `${setting}: ${from} → ${to}`;
}

interface Leaf {
	/** For comparison. */
	readonly value: string;
	/** For display. */
	readonly text: string;
}

function leaves(config: Config): Map<string, Leaf> {
	const found = new Map<string, Leaf>();
	mapLeaves(ConfigSchema, config, (value, schema, path) => {
		found.set(settingName(path, config), { value: textOf(value), text: textOf(shownValue(value, schema)) });
		return value;
	});
	return found;
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** The name of a setting. Named entries of lists go by name: an entry added at the top must not look like a change of all. */
function settingName([list, index, ...rest]: Path, config: Config): string {
	const name =
		(list === "models" || list === "keys") && typeof index === "number" ? config[list][index]?.name : undefined;
	if (name === undefined) return pathText(index === undefined ? [list!] : [list!, index, ...rest]);
	const inside = pathText(rest);
	return `${list}[${name}]${inside.startsWith("[") || inside === "" ? inside : `.${inside}`}`;
}
