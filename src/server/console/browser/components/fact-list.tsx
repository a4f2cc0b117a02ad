/** What is known of one thing, by names: a term and its description each. */
import type { ComponentChildren } from "preact";

/** A name, and what it is; undefined: not known, and not shown. */
export type Fact = readonly [name: string, value: ComponentChildren | undefined];

/** The list. */
export function FactList({ facts }: { readonly facts: readonly Fact[] }) {
	return (
		<dl class="facts">
			{facts.map(([name, value]) =>
				value === undefined ? null : (
					<div key={name}>
						<dt>{name}</dt>
						<dd>{value}</dd>
					</div>
				),
			)}
		</dl>
	);
}
