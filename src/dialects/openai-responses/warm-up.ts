/** A response without an answer: a client sends ahead what its next one begins with (`generate: false`), and goes on from that. */
import type { DialectCall } from "../dialect.ts";
import { requestIn } from "./request-facts.ts";
import { requestText, responseText, usageOf } from "./response-object.ts";
import { responseIdOf } from "./stored-response.ts";

/** Its events, each as JSON. It is stored as any response is. @param createdAt Unix time, s */
export function warmUpEvents(call: DialectCall, createdAt: number): readonly string[] {
	const request = requestIn(call);
	const said = requestText(request, call.storage);
	const facts = { id: responseIdOf(call.id), createdAt, model: request.body.model, output: [] };
	const begun = responseText({ ...facts, status: "in_progress" }, said);
	const usage = usageOf({ input: 0, output: 0 }, false, undefined);
	const done = responseText({ ...facts, status: "completed", completedAt: createdAt, usage }, said);
	call.storage?.save(done);
	const event = (name: string, at: number, response: string) =>
		`{"type":"response.${name}","sequence_number":${at},"response":${response}}`;
	return [event("created", 0, begun), event("in_progress", 1, begun), event("completed", 2, done)];
}
