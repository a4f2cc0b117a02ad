/** The edits a call's text needs before an upstream that speaks OpenAI gets it. */
import type { Call } from "../openai/call.ts";
import { addField, type Edit, type Field, fieldNamed, fieldsOf } from "../openai/json.ts";
import type { Row } from "./table.ts";

/** Nothing to escape: `JSON.stringify` costs 0.9 µs. */
const PLAIN = /^[\w.:/@-]+$/;

/**
 * `model` where the upstream calls it something else; `stream_options.include_usage` on streams, since settling needs the
 * usage; and the row's defaults. A field the client set is never changed but for these.
 */
export function splicesFor(call: Call, model: string, defaults: Row["defaults"]): Edit[] {
	const edits: Edit[] = [];
	if (call.body.model !== model) {
		const field = fieldNamed(call.fields, "model")!;
		edits.push({
			start: field.start,
			end: field.end,
			insert: PLAIN.test(model) ? `"${model}"` : JSON.stringify(model),
		});
	}
	if (call.stream && call.body.stream_options?.include_usage !== true) {
		edits.push(setInside(call, "stream_options", "include_usage", true));
	}
	if (call.operation !== "chat" || !defaults) return edits;
	for (const [name, values] of Object.entries(defaults)) {
		const present = call.body[name];
		for (const [key, value] of Object.entries(values)) {
			const isSet = typeof present === "object" && present !== null && key in present;
			if (!isSet) edits.push(setInside(call, name, key, value));
		}
	}
	return edits;
}

/** The edit that makes `name: { key: value }` true, whether `name` is there, null, or not there at all. */
function setInside(call: Call, name: string, key: string, value: unknown): Edit {
	const json = JSON.stringify(value);
	const field = fieldNamed(call.fields, name);
	const whole = `{${JSON.stringify(key)}:${json}}`;
	if (!field) return addField(call.raw.indexOf("{"), call.fields.length === 0, name, whole);
	if (call.raw[field.start] !== "{") return { start: field.start, end: field.end, insert: whole };
	const inner: Field[] = fieldsOf(call.raw, field.start);
	const old = fieldNamed(inner, key);
	return old ? { start: old.start, end: old.end, insert: json } : addField(field.start, inner.length === 0, key, json);
}
