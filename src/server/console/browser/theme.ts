/** Dark or light: as the system has it, unless the reader has chosen. */
import { useEffect, useState } from "preact/hooks";

/** What the reader wants. */
export type ThemeChoice = "system" | "light" | "dark";
/** What is shown. */
export type Theme = "light" | "dark";

const STORED = "router-console-theme";
const CHANGED = "router-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** What was chosen. */
export function chosenTheme(): ThemeChoice {
	try {
		const stored = localStorage.getItem(STORED);
		return stored === "light" || stored === "dark" ? stored : "system";
	} catch {
		// A browser that keeps nothing for pages.
		return "system";
	}
}

/** Chooses. */
export function chooseTheme(choice: ThemeChoice): void {
	try {
		if (choice === "system") localStorage.removeItem(STORED);
		else localStorage.setItem(STORED, choice);
	} catch {
		// It holds until the page is loaded anew.
	}
	show(choice);
}

/** What is shown now. */
export const shownTheme = (): Theme => (document.documentElement.dataset["theme"] === "dark" ? "dark" : "light");

/** Shows what was chosen, and follows the system. */
export function startTheme(): void {
	show(chosenTheme());
	dark.addEventListener("change", () => show(chosenTheme()));
}

/** The theme that is shown, for what draws with colours of its own. */
export function useTheme(): Theme {
	const [theme, setTheme] = useState(shownTheme);
	useEffect(() => {
		const changed = () => setTheme(shownTheme());
		addEventListener(CHANGED, changed);
		return () => removeEventListener(CHANGED, changed);
	}, []);
	return theme;
}

function show(choice: ThemeChoice): void {
	document.documentElement.dataset["theme"] = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
	dispatchEvent(new Event(CHANGED));
}
