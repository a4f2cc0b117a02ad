/** Where the artifacts come from: an in-toto statement (v1) with SLSA's provenance (v1). It is not signed. */
import { hex, purl } from "./sbom.ts";

/** What is told. */
export interface Origin {
	readonly version: string;
	/** Every file of the release but this one and SHA256SUMS, with its SHA-256 in hexadecimal. */
	readonly files: readonly { readonly name: string; readonly sha256: string }[];
	/** Of the checkout; `undefined` where there is no repository. `isChanged`: files of it differ from the commit. */
	readonly commit: { readonly id: string; readonly isChanged: boolean } | undefined;
	/** SHA-256 over what is compiled, so that a source without a repository is named, too. */
	readonly source: string;
	/** SHA-256 of bun.lock. */
	readonly lock: string;
	/** Bun's version, and the platform that compiled: bytecode is made by it. */
	readonly builder: { readonly bun: string; readonly platform: string };
	readonly runtimes: readonly { readonly name: string; readonly version: string; readonly integrity: string }[];
}

/** The statement. */
export function provenance({ version, files, commit, source, lock, builder, runtimes }: Origin): object {
	return {
		_type: "https://in-toto.io/Statement/v1",
		subject: files.map(({ name, sha256 }) => ({ name, digest: { sha256 } })),
		predicateType: "https://slsa.dev/provenance/v1",
		predicate: {
			buildDefinition: {
				buildType: "urn:router:make-release:v1",
				externalParameters: { version, command: "make release" },
				resolvedDependencies: [
					...(commit
						? [{ name: "commit", digest: { gitCommit: commit.id }, annotations: { changed: commit.isChanged } }]
						: []),
					{ name: "source", digest: { sha256: source } },
					{ name: "bun.lock", digest: { sha256: lock } },
					...runtimes.map((each) => ({ uri: purl(each), digest: { sha512: hex(each.integrity) } })),
				],
			},
			runDetails: {
				builder: { id: "urn:router:make", version: { bun: builder.bun, platform: builder.platform } },
			},
		},
	};
}
