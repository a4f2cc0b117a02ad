/** Files inside a request. */

import { invalid, unsupported } from "../openai/chat.ts";
import type { Part } from "../openai/chat-schema.ts";
import type { Media } from "./provider.ts";

/** Where a part's file is: its bytes, an address, or a name that the upstream gave it. */
export type MediaSource =
	| ({ readonly kind: "data" } & Media)
	| { readonly kind: "url"; readonly url: string }
	| { readonly kind: "id"; readonly id: string };

/** The source of an `image_url` or `file` part, and the path of the field that holds it. Throws naming that. */
export function sourceOf(part: Part, path: string): { source: MediaSource; param: string } {
	if (part.type === "image_url") {
		const param = `${path}.image_url.url`;
		return { source: addressed(part.image_url.url, param), param };
	}
	if (part.type !== "file") throw unsupported(`${path}.type`, "it is no file");
	const { file_data, file_id } = part.file;
	if (file_data) return { source: addressed(file_data, `${path}.file.file_data`), param: `${path}.file.file_data` };
	if (file_id) return { source: { kind: "id", id: file_id }, param: `${path}.file.file_id` };
	throw invalid(`${path}.file`, "needs file_data or file_id");
}

const DATA_URL = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,/i;

function addressed(text: string, param: string): MediaSource {
	// Only the head is matched: the data may have megabytes.
	const head = DATA_URL.exec(text.slice(0, 200));
	if (head) return { kind: "data", type: typeNamed(head[1]!), data: text.slice(head[0].length) };
	if (/^https:\/\//i.test(text) && URL.canParse(text)) return { kind: "url", url: text };
	throw invalid(param, "must be an https address or a data URL with base64, such as data:image/png;base64,…");
}

/** Media types are the same in any case; `image/jpg` is everywhere and nowhere registered. */
export function typeNamed(type: string): string {
	const lower = type.toLowerCase();
	return lower === "image/jpg" ? "image/jpeg" : lower;
}
