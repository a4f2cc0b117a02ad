/** NOTES.md of a release: what there is, for whom, and what of it has been run. */
import type { Target } from "./targets.ts";

/** One artifact. */
export interface Artifact {
	readonly target: Target;
	readonly file: string;
	readonly bytes: number;
	/** In hexadecimal. */
	readonly sha256: string;
}

/** The text. */
export function notes(version: string, artifacts: readonly Artifact[]): string {
	return `# router ${version}

| file | for | size | run | SHA-256 |
| --- | --- | --- | --- | --- |
${artifacts.map(row).join("\n")}

"Run" is how \`make try-release\` starts the file and calls it. What is "built only" nobody has run: Bun compiled it on another
platform, and no more than the head of the file was checked.
${same(artifacts)}
\`install.sh\` picks the file, checks its sum and puts it in place: \`ROUTER_RELEASES=<this folder or its URL> sh install.sh\`.
\`sha256sum --check SHA256SUMS\` checks all. \`router-${version}.cdx.json\` lists what is inside (CycloneDX),
\`router-${version}.provenance.json\` what it was made of (in-toto, SLSA; not signed). \`make release\` of the same commit gives
the same bytes in every folder on x64. Compiled by Bun for arm64 they differ in one byte, a flag of Bun's near the end.
`;
}

const row = ({ target, file, bytes, sha256 }: Artifact) =>
	`| \`${file}\` | ${target.for} | ${Math.round(bytes / 1e6)} MB | ${state(target)} | \`${sha256}\` |`;

const state = ({ tried, format }: Target) => tried ?? `built only, ${format} header checked`;

/** Some versions of Bun put the same program into two packages. */
function same(artifacts: readonly Artifact[]): string {
	const twins = artifacts.flatMap(({ file, sha256 }, at) => {
		const first = artifacts.findIndex((each) => each.sha256 === sha256);
		return first < at
			? [
					`\`${file}\` is byte for byte \`${artifacts[first]!.file}\`, as this version of Bun has one program for both.\n`,
				]
			: [];
	});
	return twins.length > 0 ? `\n${twins.join("")}` : "";
}
