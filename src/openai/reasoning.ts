/** Whether a call makes its model think before it answers: its first token may then take minutes. */
/** Names of models that think unless told not to. */
const THINKERS = /(?:^|[/:_-])(?:o\d|gpt-5|gpt-oss|grok-[34]|qwq|magistral|r1)(?:$|[-.:@])|think|reason/i;

/** By the call's own switches, in the words of each vendor; else by the model's name. */
export function isReasoning(body: Readonly<Record<string, unknown>>, model: string): boolean {
	const { reasoning_effort: effort, reasoning, thinking, chat_template_kwargs: template } = body;
	if (typeof effort === "string") return effort !== "none" && effort !== "minimal";
	// OpenRouter
	if (isObject(reasoning)) return reasoning["enabled"] !== false && reasoning["effort"] !== "none";
	// Anthropic
	if (isObject(thinking)) return thinking["type"] !== "disabled";
	// vLLM: Qwen's and DeepSeek's switches
	const isOn = isObject(template) ? (template["enable_thinking"] ?? template["thinking"]) : undefined;
	return typeof isOn === "boolean" ? isOn : THINKERS.test(model);
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null;
}
