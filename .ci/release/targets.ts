/** The platforms of a release: which Bun each is made of, and how its executable begins. */

/** One platform. */
export interface Target {
	/** The end of the artifact's name: `router-<version>-<name>`. */
	readonly name: string;
	/** The npm package that holds Bun for it; its version and sum stand in bun.lock beside this file. */
	readonly runtime: string;
	/** What `bun build --target` calls it. */
	readonly bun: string;
	readonly format: "ELF" | "Mach-O" | "PE";
	readonly machine: "x64" | "arm64";
	/** Who it is for, in the notes. */
	readonly for: string;
	/** How `make try-release` runs it; without one it is built only, and nobody here has ever seen it run. */
	readonly tried?: "as it is" | "under qemu" | "under musl" | "under musl and qemu";
}

/** All of them, in the order of the notes. */
export const TARGETS: readonly Target[] = [
	{
		name: "linux-x64",
		runtime: "@oven/bun-linux-x64",
		bun: "bun-linux-x64-modern",
		format: "ELF",
		machine: "x64",
		for: "Linux with glibc, processors with AVX2 (2013 and later)",
		tried: "as it is",
	},
	{
		name: "linux-x64-baseline",
		runtime: "@oven/bun-linux-x64-baseline",
		bun: "bun-linux-x64-baseline",
		format: "ELF",
		machine: "x64",
		for: "Linux with glibc, every x64 processor with SSE4.2",
		tried: "as it is",
	},
	{
		name: "linux-arm64",
		runtime: "@oven/bun-linux-aarch64",
		bun: "bun-linux-arm64",
		format: "ELF",
		machine: "arm64",
		for: "Linux with glibc",
		tried: "under qemu",
	},
	{
		name: "linux-x64-musl",
		runtime: "@oven/bun-linux-x64-musl",
		bun: "bun-linux-x64-musl",
		format: "ELF",
		machine: "x64",
		for: "Linux with musl 1.2.4 and libstdc++ (Alpine 3.18, apk add libstdc++), processors with AVX2",
		tried: "under musl",
	},
	{
		name: "linux-x64-musl-baseline",
		runtime: "@oven/bun-linux-x64-musl-baseline",
		bun: "bun-linux-x64-musl-baseline",
		format: "ELF",
		machine: "x64",
		for: "Linux with musl 1.2.4 and libstdc++, every x64 processor with SSE4.2",
		tried: "under musl",
	},
	{
		name: "linux-arm64-musl",
		runtime: "@oven/bun-linux-aarch64-musl",
		bun: "bun-linux-arm64-musl",
		format: "ELF",
		machine: "arm64",
		for: "Linux with musl 1.2.4 and libstdc++",
		tried: "under musl and qemu",
	},
	{
		name: "darwin-arm64",
		runtime: "@oven/bun-darwin-aarch64",
		bun: "bun-darwin-arm64",
		format: "Mach-O",
		machine: "arm64",
		for: "macOS on Apple silicon",
	},
	{
		// The only one for Intel: there is a build of Bun for processors without AVX2, and every Mac that macOS 13 runs on has it.
		name: "darwin-x64",
		runtime: "@oven/bun-darwin-x64",
		bun: "bun-darwin-x64",
		format: "Mach-O",
		machine: "x64",
		for: "macOS on Intel",
	},
	{
		name: "windows-x64",
		runtime: "@oven/bun-windows-x64-baseline",
		bun: "bun-windows-x64-baseline",
		format: "PE",
		machine: "x64",
		for: "Windows, the router only: the agent needs a Linux host",
	},
];

/** The artifact's file name. */
export const fileName = (version: string, { name, format }: Target): string =>
	`router-${version}-${name}${format === "PE" ? ".exe" : ""}`;
