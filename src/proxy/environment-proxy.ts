/** Which proxy the environment names for an address (the conventions of curl and most tools). */

type Environment = Readonly<Record<string, string | undefined>>;

/** `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case. The function gives a proxy URL or undefined. */
export function proxyFromEnvironment(env: Environment): (url: string) => string | undefined {
	const read = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
	const proxies = { "https:": read("HTTPS_PROXY"), "http:": read("HTTP_PROXY") };
	const all = read("ALL_PROXY");
	const exempt = (read("NO_PROXY") ?? "")
		.split(",")
		.map((entry) => entry.trim().toLowerCase())
		.filter(Boolean);
	if (!proxies["https:"] && !proxies["http:"] && !all) return () => undefined;
	const known = new Map<string, string | undefined>();
	return (url) => {
		// A router has a handful of upstreams and thousands of calls a second.
		if (!known.has(url)) known.set(url, choose(url));
		return known.get(url);
	};

	function choose(url: string): string | undefined {
		const { protocol, hostname, port } = new URL(url);
		if (exempt.some((entry) => isExempt(entry, hostname, port))) return undefined;
		return proxies[protocol as keyof typeof proxies] ?? all;
	}
}

/** `*`, `host`, `.domain`, `*.domain` (subdomains, too) and `host:port`. */
function isExempt(entry: string, hostname: string, port: string): boolean {
	if (entry === "*") return true;
	const [, name = entry, wanted] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
	if (wanted !== undefined && wanted !== port) return false;
	const domain = name.replace(/^\*?\./, "");
	return hostname === domain || hostname.endsWith(`.${domain}`);
}
