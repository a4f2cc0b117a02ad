/** What a page of the console is: a file in `pages/` exports one as `page`, and is found there. */
import type { ComponentType } from "preact";

/** A page. */
export interface Page {
	/** Behind the `#/`; "" is the first page. */
	readonly path: string;
	/** In the navigation, and over the page. */
	readonly title: string;
	/** Its place in the navigation: the lowest is first. */
	readonly order: number;
	readonly Component: ComponentType<PageProps>;
}

/** What a page is given. */
export interface PageProps {
	/** What stands behind its path, decoded: of `#/calls/req_1` that is `["req_1"]`. */
	readonly rest: readonly string[];
	/** What stands behind a `?`. */
	readonly query: URLSearchParams;
}
