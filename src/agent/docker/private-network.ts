/**
 * The network that an agent's containers are in: one of its own, in which no container of somebody else's is, and none reaches another. vLLM asks for its key
 * under `/v1` alone; on the engine's default network every container of the host could use the rest. Pure.
 */

/** Its name; undefined where containers need none: podman gives each of a user's containers a stack of its own. */
export function privateNetwork(
	agent: string,
	{ engine, isRoot }: { readonly engine: "docker" | "podman"; readonly isRoot: boolean },
): string | undefined {
	return engine === "podman" && !isRoot ? undefined : `router-${agent}`;
}

/** What asks for the options of Docker's default network. Their MTU is often set to that of a cloud's network, and no other network gets it. */
export const DEFAULT_NETWORK_ARGS = ["network", "inspect", "--format", "{{json .Options}}", "bridge"] as const;
const MTU = "com.docker.network.driver.mtu";

/**
 * The arguments that make it, the best first: an engine that does not know an option is asked without.
 * @param options what `DEFAULT_NETWORK_ARGS` printed
 */
export function networkArgs(name: string, engine: "docker" | "podman", options = ""): readonly (readonly string[])[] {
	const label = "--label=router.network=agent";
	const create = ["network", "create", label];
	// podman's own name server is one program more that can be missing: containers ask the host's. Without `strict`, which podman 4.3 does not know, only
	// networks that are isolated themselves are kept out.
	if (engine === "podman") {
		return [
			[...create, "--disable-dns", "--opt=isolate=strict", name],
			[...create, "--disable-dns", "--opt=isolate=true", name],
			[...create, "--disable-dns", name],
			[...create, name],
		];
	}
	const mtu = mtuIn(options);
	const known = mtu === undefined ? [] : [`--opt=${MTU}=${mtu}`];
	return [
		[...create, "--driver=bridge", "--opt=com.docker.network.bridge.enable_icc=false", ...known, name],
		[...create, name],
	];
}

/** What engines say of an option that they don't know. */
export const UNKNOWN_OPTION = /unsupported|unknown|unrecognized|invalid.*option|not supported|invalid syntax/i;

function mtuIn(options: string): number | undefined {
	try {
		const mtu = Number((JSON.parse(options) as Record<string, unknown> | null)?.[MTU]);
		return Number.isInteger(mtu) && mtu >= 576 && mtu <= 65_535 ? mtu : undefined;
	} catch {
		return undefined;
	}
}
