/** `.env` files: a line KEY=VALUE each, as `dotenv` and `docker --env-file` read them. */
import { endedLine, lineEndOf, type SettingPath, SettingsError, type SettingsFormat } from "./settings-format.ts";

const LINE = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/;
/** Values that need no quotes in any reader. */
const PLAIN = /^[\w.:/@+=,~-]+$/;

/** The last line of a name counts. Lines that are no KEY=VALUE are not looked at. */
export const DOTENV: SettingsFormat = {
	parse(text) {
		return Object.fromEntries(lines(text).flatMap((line) => assignment(line) ?? []));
	},
	set(text, path, value) {
		const name = nameOf(path);
		const written = `${name}=${PLAIN.test(String(value)) ? value : JSON.stringify(value)}`;
		const all = lines(text);
		const at = all.findLastIndex((line) => assignment(line)?.[0][0] === name);
		if (at === -1) return `${endedLine(text)}${written}${lineEndOf(text)}`;
		return all.with(at, all[at]!.endsWith("\r") ? `${written}\r` : written).join("\n");
	},
	remove(text, path) {
		const name = nameOf(path);
		return lines(text)
			.filter((line) => assignment(line)?.[0][0] !== name)
			.join("\n");
	},
};

function nameOf(path: SettingPath): string {
	const [name, ...rest] = path;
	if (name === undefined || rest.length > 0) throw new SettingsError("has variables only");
	return name;
}

function lines(text: string): string[] {
	return text.split("\n");
}

/** In a list of its own, for flatMap. */
function assignment(line: string): [[name: string, value: string]] | undefined {
	const [, name, raw] = LINE.exec(line.replace(/^\uFEFF/, "")) ?? [];
	return name === undefined || raw === undefined ? undefined : [[name, unquoted(raw)]];
}

function unquoted(raw: string): string {
	const [, double, single] = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?$/.exec(raw) ?? [];
	if (single !== undefined) return single;
	return double === undefined ? raw.replace(/(^|\s+)#.*$/, "") : double.replace(/\\(["\\])/g, "$1");
}
