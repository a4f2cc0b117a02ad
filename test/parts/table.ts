/**
 * The real programs that tests and benches use beside the packages of bun.lock, and where they come from. The install
 * (./install.ts), the tests (../kit/needing.ts) and the report at the end of a run (./report.ts) all read this table.
 */
import { existsSync } from "node:fs";
import { dockerProblem } from "../kit/docker.ts";
import { natProblem } from "../kit/nat.ts";
import { NETAVARK, podmanProblem } from "../kit/podman.ts";
import { RECORDINGS } from "../kit/recordings.ts";
import { clientsProblem } from "./clients.ts";
import { LANGCHAIN } from "./langchain.ts";
import { ZEROMQ } from "./zeromq.ts";

/** One of them. */
export interface Part {
	/** What a report calls it. */
	readonly what: string;
	/** Programs and the Debian packages that bring them; the first package that Debian's lists know is installed. */
	readonly programs: Readonly<Record<string, readonly string[]>>;
	/** How a person gets it. */
	readonly how: string;
	/** Why tests can't have it here; `undefined` where they can. Default: the programs that are not on PATH. */
	readonly problem?: () => string | undefined;
}

/** The programs of a browser, by the names that distributions give it. `CHROMIUM` names another. */
const BROWSERS = ["chromium", "chromium-browser", "google-chrome"];

/** Path of the browser, or `undefined`. */
export function browser(): string | undefined {
	const named = process.env["CHROMIUM"];
	if (named) return existsSync(named) ? named : undefined;
	return BROWSERS.map((name) => Bun.which(name)).find((path) => path !== null) ?? undefined;
}

/** A program whose package bears its name. */
const plain = (name: string, how = `apt-get install ${name}`): Part => ({
	what: name,
	programs: { [name]: [name] },
	how,
});

/** All of them. */
export const PARTS = {
	redis: {
		what: "Redis",
		programs: { "redis-server": ["redis-server"] },
		how: "apt-get install redis-server",
	},
	docker: {
		what: "a Docker Engine of the tests' own",
		// From trixie on the client is a package of its own, which docker.io only recommends.
		programs: { dockerd: ["docker.io"], docker: ["docker-cli", "docker.io"], ip: ["iproute2"], tar: ["tar"] },
		how: "Linux, root, and apt-get install docker.io iproute2",
		problem: dockerProblem,
	},
	podman: {
		what: "Podman, for root and for a user",
		programs: {
			podman: ["podman"],
			newuidmap: ["uidmap"],
			// What a user's containers have for a network: up to Podman 4, and from 5 on.
			slirp4netns: ["slirp4netns"],
			pasta: ["passt"],
			// And root's.
			[NETAVARK]: ["netavark"],
			iptables: ["iptables"],
			ip: ["iproute2"],
			setpriv: ["util-linux"],
			tar: ["tar"],
		},
		how: "Linux, root, and apt-get install podman uidmap slirp4netns passt netavark iptables iproute2",
		problem: podmanProblem,
	},
	compose: {
		what: "Docker Compose",
		programs: { "docker-compose": ["docker-compose"] },
		how: "apt-get install docker-compose",
	},
	systemd: {
		what: "systemd-analyze",
		programs: { "systemd-analyze": ["systemd"] },
		how: "apt-get install systemd",
	},
	chromium: {
		what: "Chromium",
		programs: { chromium: ["chromium"] },
		how: "apt-get install chromium, or set CHROMIUM to the path of one",
		problem: () => (browser() ? undefined : "no Chromium is installed"),
	},
	nginx: plain("nginx"),
	prometheus: {
		what: "Prometheus",
		programs: { prometheus: ["prometheus"], promtool: ["prometheus"] },
		how: "apt-get install prometheus",
	},
	zsh: plain("zsh"),
	fish: plain("fish"),
	mandoc: plain("mandoc"),
	langchain: {
		what: "LangChain for Python",
		programs: {},
		how: "make langchain, with python3 and pip3 there",
		problem: () => LANGCHAIN.problem(),
	},
	zeromq: {
		what: "ZeroMQ for Python",
		programs: {},
		how: "make zeromq, with python3 and pip3 there",
		problem: () => ZEROMQ.problem(),
	},
	clients: {
		what: "clients from their packages",
		programs: {},
		how: "make clients",
		problem: clientsProblem,
	},
	recordings: {
		what: "the recorded exchanges, one more test for each",
		programs: {},
		how: "put the folder shared beside the clone",
		problem: () => (existsSync(RECORDINGS) ? undefined : "../shared/wire is not there"),
	},
	waits: {
		what: "waits of more than half a minute",
		programs: {},
		how: "CI=true make test",
		problem: () => (process.env["CI"] === "true" ? undefined : "only CI waits so long"),
	},
	// Of other targets of the Makefile.
	wrk: plain("wrk"),
	debootstrap: plain("debootstrap"),
	curl: plain("curl"),
	jq: plain("jq"),
	qemu: {
		what: "qemu for single programs, and the C library of arm64",
		programs: {
			"qemu-aarch64-static": ["qemu-user-static"],
			"/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1": ["libc6-arm64-cross"],
		},
		how: "apt-get install qemu-user-static libc6-arm64-cross",
	},
	pip: { what: "pip", programs: { pip3: ["python3-pip"] }, how: "apt-get install python3-pip" },
	ip: { what: "ip", programs: { ip: ["iproute2"] }, how: "apt-get install iproute2" },
	nat: {
		what: "network namespaces",
		programs: { ip: ["iproute2"], nft: ["nftables"], nsenter: ["util-linux"] },
		how: "Linux, root, and apt-get install iproute2 nftables",
		problem: natProblem,
	},
} as const satisfies Readonly<Record<string, Part>>;

/** A key of the table. */
export type PartName = keyof typeof PARTS;

/** What `make test` uses, in the order of the table. */
export const OF_TESTS = [
	"redis",
	"docker",
	"podman",
	"nat",
	"compose",
	"systemd",
	"chromium",
	"nginx",
	"prometheus",
	"zsh",
	"fish",
	"mandoc",
	"langchain",
	"zeromq",
	"clients",
	"recordings",
	"waits",
] as const;

/** Why there is no such part on this machine, in a few words; `undefined` where there is one. */
export function problemOf(name: PartName): string | undefined {
	const { programs, problem }: Part = PARTS[name];
	if (problem) return problem();
	const missing = Object.keys(programs).filter((program) => !Bun.which(program));
	return missing.length > 0 ? `${missing.join(", ")} is not installed` : undefined;
}

/** Its programs that are not on PATH. Chromium counts as there under any of its names. */
export function missingPrograms(name: PartName): string[] {
	if (name === "chromium" && browser()) return [];
	return Object.keys(PARTS[name].programs).filter((program) => !Bun.which(program));
}
