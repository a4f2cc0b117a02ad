/** Responses as their upstream has sent them: what differs of one that the router stores, and that clients find under an id of its own. */
import { addField, type Edit, fieldNamed, fieldsOf, splice } from "../../openai/json.ts";
import { objectIn } from "../../openai/usage.ts";
import { withCost } from "../../openai/usage-edits.ts";
import type { DialectCall } from "../dialect.ts";
import { requestIn } from "./request-facts.ts";
import { isItemId, responseIdOf } from "./stored-response.ts";

/**
 * A response, JSON, under the id by which this router's clients find it.
 * @param costUsd told in its usage where it is given
 */
export function ownResponse(response: string, call: DialectCall, costUsd?: number): string {
	const named = call.storage ? splice(response, storedEdits(response, call)) : response;
	return costUsd === undefined ? named : withCost(named, costUsd);
}

function storedEdits(response: string, call: DialectCall): Edit[] {
	const fields = fieldsOf(response);
	const { previous_response_id: previous } = requestIn(call).body;
	const values = {
		id: responseIdOf(call.id),
		store: call.storage!.isLasting,
		...(previous ? { previous_response_id: previous } : {}),
	};
	return Object.entries(values).map(([name, value]) => {
		const json = JSON.stringify(value);
		const field = fieldNamed(fields, name);
		if (field) return { start: field.start, end: field.end, insert: json };
		return addField(response.indexOf("{"), fields.length === 0, name, json);
	});
}

/** The same of an event that holds a response, JSON; what holds none stays as it is. */
export function ownEvent(event: string, call: DialectCall, costUsd?: number): string {
	const field = fieldNamed(fieldsOf(event), "response");
	if (!field) return event;
	const response = ownResponse(event.slice(field.start, field.end), call, costUsd);
	return event.slice(0, field.start) + response + event.slice(field.end);
}

/** The response in an event. */
export function responseIn(event: string): string {
	const field = fieldNamed(fieldsOf(event), "response");
	return field ? event.slice(field.start, field.end) : "{}";
}

/** Stores a response, JSON, under the ids that its upstream has given to its items. */
export function saveOwn(response: string, { storage }: DialectCall): void {
	if (!storage) return;
	const { output } = JSON.parse(response) as { output?: unknown };
	const ids = (Array.isArray(output) ? output : []).map((item) => String(objectIn(item)?.["id"]));
	storage.save(response, ids.filter(isItemId));
}
