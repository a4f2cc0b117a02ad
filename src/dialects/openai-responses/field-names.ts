/** Errors that name a field of the chat which a request became: this wire's clients are told where it stands in what they sent. */
import { RouterError } from "../../errors.ts";
import type { DialectCall } from "../dialect.ts";
import type { MessagePath } from "./input.ts";
import type { ResponsesRequest } from "./request.ts";
import { requestIn } from "./request-facts.ts";

/** The error as this wire's clients read it. @param call undefined where its request was not read */
export function refusal(error: RouterError, call: DialectCall | undefined): RouterError {
	const { param } = error.body.error;
	// What a key may not send is named as it was sent.
	if (param === null || !call || error.errorCode === "model_not_allowed") return error;
	const own = ownName(param, requestIn(call));
	if (own === param) return error;
	const { errorCode, message, status, headers, cause } = error;
	const { type, code } = error.body.error;
	return new RouterError(errorCode, message.replaceAll(`"${param}"`, `"${own}"`), {
		...{ param: own, status, type, headers, cause },
		upstreamCode: code ?? undefined,
	});
}

/** Fields that are called otherwise here. */
const NAMES: Readonly<Record<string, string>> = {
	max_completion_tokens: "max_output_tokens",
	reasoning_effort: "reasoning.effort",
	verbosity: "text.verbosity",
	logprobs: "include",
	response_format: "text.format",
	messages: "input",
	"tool_choice.function.name": "tool_choice.name",
};

/** The field of the request that a field of the chat was made of. */
export function ownName(param: string, { paths, claudeChat }: Pick<ResponsesRequest, "paths" | "claudeChat">): string {
	if (Object.hasOwn(NAMES, param)) return NAMES[param]!;
	const [, field = "", index = "", rest = ""] = /^(messages|tools)\[(\d+)\](.*)$/s.exec(param) ?? [];
	if (field === "tools") {
		const tool = paths.tools[Number(index)];
		return tool === undefined ? param : tool + rest.replace(/^\.function/, "");
	}
	// Of two chats nobody says which one it is about.
	if (field === "messages" && claudeChat) return "input";
	if (field === "messages") return messageField(paths.messages[Number(index)], rest) ?? param;
	return param.replace(/^response_format(?:\.json_schema)?/, "text.format");
}

function messageField(path: MessagePath | undefined, rest: string): string | undefined {
	if (path === undefined) return undefined;
	const { item, parts, calls } = path;
	// Instructions, and input that is a text.
	if (!item.startsWith("input[")) return item;
	const [, call, inCall = ""] = /^\.tool_calls\[(\d+)\](?:\.function)?(.*)$/s.exec(rest) ?? [];
	if (call !== undefined) return (calls?.[Number(call)] ?? item) + inCall;
	const [, part, inPart = ""] = /^\.content\[(\d+)\](.*)$/s.exec(rest) ?? [];
	const place = part === undefined ? undefined : parts?.[Number(part)];
	if (place === undefined) return item + rest.replace(/^\.tool_call_id/, ".call_id");
	return place + inPart.replace(/^\.image_url\.url$/, ".image_url").replace(/^\.file\.(\w+)$/, ".$1");
}
