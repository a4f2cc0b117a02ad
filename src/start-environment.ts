/** What the process that starts a server sets for itself before it starts anew (main.ts), and takes back for others that it starts. Imports nothing. */

type Variables = Readonly<Record<string, string | undefined>>;

/** Names what was set so, comma separated. */
const OWN = "STARTED_WITH";

/** The environment with these variables, less those that are set: a user's stay. It says which they are. */
export function withOwn(env: Variables, own: Readonly<Record<string, string>>): Record<string, string> {
	const added = Object.entries(own).filter(([name]) => env[name] === undefined);
	const names = added.map(([name]) => name).join(",");
	return { ...defined(env), ...Object.fromEntries(added), [OWN]: names };
}

/** The environment as the user gave it: a process that is started with it sets its own, which may be others. */
export function withoutOwn(env: Variables): Record<string, string> {
	const own = new Set([OWN, ...(env[OWN] ?? "").split(",")]);
	return Object.fromEntries(Object.entries(defined(env)).filter(([name]) => !own.has(name)));
}

function defined(env: Variables): Record<string, string> {
	return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
