/** The list of what is inside the artifacts, as CycloneDX 1.6 (ECMA-424), JSON. */
import type { LockedPackage } from "./lock.ts";

/** One component's facts. */
export interface Component extends Pick<LockedPackage, "name" | "version" | "integrity" | "dependsOn" | "key"> {
	/** From its package.json: an SPDX id or expression. */
	readonly license: string | undefined;
}

/** What the list is of. */
export interface Product {
	readonly name: string;
	readonly version: string;
	readonly license: string;
	/** Names of its direct dependencies; each is the key of a component. */
	readonly dependsOn: readonly string[];
	/** When the source was committed, ISO 8601; without a repository there is none. */
	readonly committed: string | undefined;
}

/** `pkg:npm/%40scope/name@1.2.3` (package-url). */
export const purl = ({ name, version }: Pick<Component, "name" | "version">): string =>
	`pkg:npm/${name.replace("@", "%40")}@${encodeURIComponent(version)}`;

/** The document. The same input gives the same bytes: it has no random serial number and no time of its own. */
export function sbom(product: Product, components: readonly Component[]): object {
	const root = purl(product);
	const refs = new Map(components.map((each) => [each.key, refOf(each)]));
	const tied = (ref: string, keys: readonly string[]) => ({
		ref,
		dependsOn: [...new Set(keys.map((key) => refs.get(key)!))].sort(),
	});
	return {
		$schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
		bomFormat: "CycloneDX",
		specVersion: "1.6",
		version: 1,
		metadata: {
			...(product.committed && { timestamp: product.committed }),
			component: {
				type: "application",
				"bom-ref": root,
				name: product.name,
				version: product.version,
				...licensed(product.license),
				purl: root,
			},
		},
		components: components.map((each) => ({
			type: "library",
			"bom-ref": refOf(each),
			...named(each.name),
			version: each.version,
			hashes: [{ alg: "SHA-512", content: hex(each.integrity) }],
			...licensed(each.license),
			purl: purl(each),
		})),
		dependencies: [tied(root, product.dependsOn), ...components.map((each) => tied(refOf(each), each.dependsOn))],
	};
}

/** The same package at two places is two components. */
const refOf = ({ key, name, version }: Component) =>
	key === name ? purl({ name, version }) : `${purl({ name, version })}#${key}`;

function named(name: string): object {
	const slash = name.indexOf("/");
	return slash < 0 ? { name } : { group: name.slice(0, slash), name: name.slice(slash + 1) };
}

/** `MIT` is an id, `(MIT OR Apache-2.0)` an expression; what a package does not say is left out. */
function licensed(license: string | undefined): object {
	if (!license) return {};
	const isExpression = /\s(?:OR|AND|WITH)\s/.test(license);
	return { licenses: [isExpression ? { expression: license } : { license: { id: license } }] };
}

/** `sha512-<base64>` as hexadecimal. Throws where it is another algorithm: bun.lock has no other. */
export function hex(integrity: string): string {
	if (!integrity.startsWith("sha512-")) throw new Error(`not a sha512 sum: ${integrity}`);
	return Buffer.from(integrity.slice(7), "base64").toString("hex");
}
