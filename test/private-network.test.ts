/** The network of an agent's containers: what makes it, and what engines say that know an option of it less. */
import { describe, expect, test } from "bun:test";
import { networkArgs, privateNetwork, UNKNOWN_OPTION } from "../src/agent/docker/private-network.ts";

const joined = (...given: Parameters<typeof networkArgs>) => networkArgs(...given).map((argv) => argv.join(" "));

describe("an agent's network", () => {
	test("is its own, and there is none where each container of a user has a stack of its own", () => {
		expect(privateNetwork("gpu-1", { engine: "docker", isRoot: false })).toBe("router-gpu-1");
		expect(privateNetwork("gpu-1", { engine: "podman", isRoot: true })).toBe("router-gpu-1");
		expect(privateNetwork("gpu-1", { engine: "podman", isRoot: false })).toBeUndefined();
	});

	test("lets no container of Docker's reach another, and is asked for without that where it is not known", () => {
		const [best, last, ...more] = joined("n", "docker");
		expect(best).toContain("--opt=com.docker.network.bridge.enable_icc=false");
		expect([last, more]).toEqual(["network create --label=router.network=agent n", []]);
	});

	test("is as strict under podman as that knows, and needs no name server of podman's", () => {
		expect(joined("n", "podman")).toEqual([
			"network create --label=router.network=agent --disable-dns --opt=isolate=strict n",
			"network create --label=router.network=agent --disable-dns --opt=isolate=true n",
			"network create --label=router.network=agent --disable-dns n",
			"network create --label=router.network=agent n",
		]);
	});

	test.each([
		['{"com.docker.network.driver.mtu":"1450","com.docker.network.bridge.name":"docker0"}\n', "1450"],
		['{"com.docker.network.driver.mtu":"9000"}', "9000"],
	])("has the MTU that the administrator gave Docker's default one: %s", (options, mtu) => {
		expect(joined("n", "docker", options)[0]).toContain(`--opt=com.docker.network.driver.mtu=${mtu}`);
	});

	test.each([
		"",
		"null",
		"{}",
		"[]",
		"no JSON",
		'{"com.docker.network.driver.mtu":"0"}',
		'{"com.docker.network.driver.mtu":"1; x"}',
	])("has the engine's own MTU where that says nothing: %j", (options) =>
		expect(joined("n", "docker", options).join()).not.toContain("mtu"),
	);
});

test.each([
	// podman 4.3.1
	'Error: strconv.ParseBool: parsing "strict": invalid syntax',
	"Error: unsupported bridge network option isolate",
	"Error: unknown flag: --disable-dns",
])("an engine that does not know an option says so: %s", (said) => expect(said).toMatch(UNKNOWN_OPTION));

test.each([
	"Error: network name router-x already used: network already exists",
	"Error response from daemon: all predefined address pools have been fully subnetted",
	"permission denied while trying to connect to the Docker daemon socket",
])("and with these words something else: %s", (said) => expect(said).not.toMatch(UNKNOWN_OPTION));
