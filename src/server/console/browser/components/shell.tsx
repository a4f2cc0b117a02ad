/** What stands around every page: navigation, theme, who is signed in. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { hrefOf } from "../address.ts";
import type { Page } from "../page.ts";
import { useSession } from "../session.ts";
import { chooseTheme, chosenTheme, type ThemeChoice } from "../theme.ts";

interface ShellProps {
	readonly pages: readonly Page[];
	/** Of the page that is shown. */
	readonly path: string;
	readonly title: string;
	readonly signOut: () => void;
	readonly children: ComponentChildren;
}

/** The frame. */
export function Shell({ pages, path, title, signOut, children }: ShellProps) {
	const { name, role, version, open } = useSession();
	const heading = useRef<HTMLHeadingElement>(null);
	const isFirst = useRef(true);
	// Who has gone to another page hears which one it is.
	useEffect(() => {
		if (!isFirst.current) heading.current?.focus();
		isFirst.current = false;
	}, [path]);
	return (
		<div class="shell">
			<button type="button" class="skip" onClick={() => heading.current?.focus()}>
				Skip to the page
			</button>
			<header class="top">
				<a class="brand" href="#/">
					router
				</a>
				<span class="spacer" />
				<ThemeSwitch />
				<span class="who">
					<span class="name">{name}</span>
					{role === "viewer" && <span class="badge">read only</span>}
				</span>
				{!open && (
					<button type="button" class="quiet" onClick={signOut}>
						Sign out
					</button>
				)}
			</header>
			<nav class="pages" aria-label="Pages">
				<ul>
					{pages.map((page) => (
						<li key={page.path}>
							<a href={hrefOf(page.path)} aria-current={page.path === path ? "page" : undefined}>
								{page.title}
							</a>
						</li>
					))}
				</ul>
				<p class="version">
					<a href="swagger">API</a> · {version}
				</p>
			</nav>
			<main id="main">
				<h1 ref={heading} tabIndex={-1}>
					{title}
				</h1>
				{children}
			</main>
		</div>
	);
}

const CHOICES: readonly (readonly [choice: ThemeChoice, label: string])[] = [
	["system", "System"],
	["light", "Light"],
	["dark", "Dark"],
];

function ThemeSwitch() {
	const [choice, setChoice] = useState(chosenTheme);
	const choose = (event: { readonly currentTarget: HTMLSelectElement }) => {
		const chosen = event.currentTarget.value as ThemeChoice;
		chooseTheme(chosen);
		setChoice(chosen);
	};
	return (
		<label class="theme">
			<span class="unseen">Theme</span>
			<select value={choice} onChange={choose}>
				{CHOICES.map(([value, label]) => (
					<option key={value} value={value}>
						{label}
					</option>
				))}
			</select>
		</label>
	);
}
