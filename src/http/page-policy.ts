/** What the router's pages for browsers may load and run (CSP): their own files, in nobody's frame. */

/** Inline styles, beside a page's own style sheets: for libraries that set `style` attributes. */
const INLINE_STYLES = " 'unsafe-inline'";

/**
 * The policy as its header has it. Images may be `data:`, because style sheets hold small ones so.
 * @param hasInlineStyles for a page of such a library
 */
export const pagePolicy = (hasInlineStyles: boolean): string =>
	[
		"default-src 'none'",
		"script-src 'self'",
		`style-src 'self'${hasInlineStyles ? INLINE_STYLES : ""}`,
		"img-src 'self' data:",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	].join("; ");
