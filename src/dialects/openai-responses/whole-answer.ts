/** A whole chat answer as a response. */
import { signedDetails } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import type { DialectCall } from "../dialect.ts";
import { compactionOutput } from "./compaction.ts";
import {
	annotationsIn,
	asksEncrypted,
	callItem,
	type ItemStatus,
	imageItem,
	logprobsIn,
	messageItem,
	ResponseIds,
	reasoningItem,
	refusalPart,
	textPart,
} from "./output-items.ts";
import type { ResponsesRequest } from "./request.ts";
import { requestIn } from "./request-facts.ts";
import { chatUsageText, requestText, responseText } from "./response-object.ts";

/** What the end of a chat's choice means for a response. */
export function endOf(finish: unknown): {
	readonly status: "completed" | "incomplete";
	readonly reason?: "max_output_tokens" | "content_filter";
} {
	if (finish === "length") return { status: "incomplete", reason: "max_output_tokens" };
	if (finish === "content_filter") return { status: "incomplete", reason: "content_filter" };
	return { status: "completed" };
}

/** The response. `answer` is OpenAI's JSON, its counts complete. */
export function wholeResponse(answer: string, call: DialectCall, costUsd: number | undefined): string {
	const request = requestIn(call);
	const chat = objectIn(parsed(answer)) ?? {};
	const choice = objectIn(Array.isArray(chat["choices"]) ? chat["choices"][0] : undefined) ?? {};
	const ids = new ResponseIds(call.id);
	const end = endOf(choice["finish_reason"]);
	const output = request.isCompaction
		? compactionOutput(choice["message"], ids, end.status)
		: outputOf(choice, request, ids, end.status);
	const createdAt = typeof chat["created"] === "number" ? Math.floor(chat["created"]) : 0;
	const text = responseText(
		{
			id: ids.response,
			createdAt,
			completedAt: end.status === "completed" ? createdAt : undefined,
			model: typeof chat["model"] === "string" ? chat["model"] : request.body.model,
			...end,
			output: output.map((item) => JSON.stringify(item)),
			usage: chatUsageText(chat["usage"], costUsd),
			serviceTier: typeof chat["service_tier"] === "string" ? chat["service_tier"] : undefined,
		},
		requestText(request, call.storage),
	);
	call.storage?.save(text);
	return text;
}

function parsed(answer: string): unknown {
	try {
		return JSON.parse(answer);
	} catch {
		return undefined;
	}
}

const textIn = (value: unknown): string => (typeof value === "string" ? value : "");
const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** What the model thought, said, showed and called, in this order: a chat's answer does not say more of it. */
function outputOf(
	choice: Readonly<Record<string, unknown>>,
	request: ResponsesRequest,
	ids: ResponseIds,
	status: ItemStatus,
): object[] {
	const message = objectIn(choice["message"]) ?? {};
	const output: object[] = [];
	const thought = textIn(message["reasoning_content"]) || textIn(message["reasoning"]);
	const isCarried = asksEncrypted(request);
	// Google's stand with their calls as well.
	const details = thought !== "" || isCarried ? signedDetails(message) : listIn(message["reasoning_details"]);
	if (thought !== "" || details.length > 0) {
		output.push(reasoningItem(ids.item("reasoning"), thought, details, isCarried ? details : []));
	}
	const [text, refusal] = [textIn(message["content"]), textIn(message["refusal"])];
	const images = listIn(message["images"]);
	const calls = listIn(message["tool_calls"]);
	const isEmpty = text === "" && refusal === "" && calls.length === 0 && images.length === 0;
	if (text !== "" || refusal !== "" || isEmpty) {
		const logprobs = logprobsIn(objectIn(choice["logprobs"])?.["content"]);
		const parts =
			refusal !== "" && text === "" ? [] : [textPart(text, annotationsIn(message["annotations"]), logprobs)];
		if (refusal !== "") parts.push(refusalPart(refusal));
		output.push(
			messageItem(ids.item("message"), parts, calls.length > 0 ? "completed" : status, message["extra_content"]),
		);
	}
	for (const image of images) {
		const item = imageItem(ids.item("image"), image);
		if (item) output.push(item);
	}
	for (const [index, each] of calls.entries()) {
		const call = objectIn(each) ?? {};
		const fn = objectIn(call["function"]) ?? {};
		const soFar = {
			callId: textIn(call["id"]) || ids.callId(),
			name: textIn(fn["name"]),
			args: textIn(fn["arguments"]),
			extra: call["extra_content"],
		};
		output.push(callItem(ids.item("call"), soFar, request, index === calls.length - 1 ? status : "completed"));
	}
	return output;
}
