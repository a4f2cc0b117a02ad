/**
 * The tools of a request as functions, which is all that every upstream has: tools in namespaces get a name that holds both, tools that take a
 * text become functions of one text. What the model calls is told to the client under the name that it gave. Tools that OpenAI runs itself, such
 * as `web_search`, are left out.
 */
import { objectIn } from "../../openai/usage.ts";
import { hashedToolName, sentToolName } from "../tool-names.ts";
import { checkField, checkOf, invalidField, unsupportedField } from "./field-checks.ts";
import { type CustomTool, type FunctionTool, TOOL_CHOICES, TOOLS } from "./request-schema.ts";

/** A function in OpenAI's chat. */
export interface ChatTool {
	readonly type: "function";
	readonly function: {
		readonly name: string;
		readonly description?: string;
		readonly parameters?: Readonly<Record<string, unknown>>;
		readonly strict?: true;
	};
}

/** A tool as the client knows it. */
export interface ToolIdentity {
	readonly name: string;
	readonly namespace?: string | undefined;
	/** It takes a text, no JSON. */
	readonly isCustom: boolean;
}

type SentTool = { readonly type: string } & Readonly<Record<string, unknown>>;

const ODD = /[^\w-]/g;

/** The tools of one request, in both forms. */
export class ToolForms {
	/** As functions of a chat. */
	readonly functions: ChatTool[] = [];
	/** Where each of them stands in the request: `tools[3].tools[0]`. */
	readonly paths: string[] = [];
	/** Kinds of tools that are left out, each once: `tools.web_search`. */
	readonly leftOut = new Set<string>();
	readonly #identities = new Map<string, ToolIdentity>();
	/** By namespace and name, and all of them. */
	readonly #sentNames = new Map<string, string>();
	readonly #taken = new Set<string>();
	/** Of tools in namespaces, by their own names; null where several have one. */
	readonly #inside = new Map<string, string | null>();

	/** Throws `invalid_value` naming a field of a tool that is wrong. */
	constructor(tools: readonly SentTool[]) {
		// Plain names first: they stay what they are, whatever a namespace's come to.
		for (const [index, tool] of tools.entries()) {
			const path = `tools[${index}]`;
			if (tool.type !== "namespace") checkTool(tool, path);
			if (tool.type === "function" || tool.type === "custom")
				this.#claim({ name: nameOf(tool), isCustom: isCustom(tool) }, path);
		}
		for (const [index, tool] of tools.entries()) this.#add(tool, `tools[${index}]`);
	}

	/** What a function that the model calls is to the client; undefined where the client knows it by that very name. Models leave out namespaces, too. */
	identityOf(called: string): ToolIdentity | undefined {
		const identity = this.#identities.get(called);
		if (identity || this.#taken.has(called)) return identity;
		const inside = this.#inside.get(called);
		return inside ? this.#identities.get(inside) : undefined;
	}

	/** The function's name for a tool of the client's. One in no namespace may be meant that stands in one, as long as that is clear. */
	sentNameOf(name: string, namespace?: string | null): string {
		const sent = this.#sentNames.get(keyOf(name, namespace));
		if (sent !== undefined) return sent;
		if (namespace) return joinedName(namespace, name);
		return this.#inside.get(name) ?? sentToolName(name);
	}

	#add(tool: SentTool, path: string, namespace?: string): void {
		if (tool.type === "function" || tool.type === "custom") {
			const identity = { name: nameOf(tool), namespace, isCustom: isCustom(tool) };
			const sentName = namespace === undefined ? this.sentNameOf(identity.name) : this.#claim(identity, path);
			this.functions.push(
				isCustom(tool) ? textFunction(tool as never, sentName) : plainFunction(tool as never, sentName),
			);
			this.paths.push(path);
		} else if (tool.type === "namespace" && namespace === undefined) {
			checkField(TOOLS["namespace"]!, tool, path);
			const { name, tools } = tool as unknown as { name: string; tools: readonly SentTool[] };
			for (const [index, inner] of tools.entries()) {
				checkTool(inner, `${path}.tools[${index}]`);
				this.#add(inner, `${path}.tools[${index}]`, name);
			}
		} else {
			this.leftOut.add(`tools.${tool.type}`);
		}
	}

	/** The name to send for a tool, remembered in both directions. Throws `invalid_value` where the same tool stands there twice. */
	#claim(identity: ToolIdentity, path: string): string {
		const { name, namespace } = identity;
		const key = keyOf(name, namespace);
		if (this.#sentNames.has(key)) throw invalidField(`${path}.name`, "is the name of another tool, too");
		let sent = namespace === undefined ? sentToolName(name) : joinedName(namespace, name);
		// Where another tool comes to the same name.
		for (let more = key; this.#taken.has(sent); more += key) sent = hashedToolName(sent, more);
		this.#taken.add(sent);
		this.#sentNames.set(key, sent);
		if (namespace !== undefined) this.#inside.set(name, this.#inside.has(name) ? null : sent);
		if (sent !== name || identity.isCustom) this.#identities.set(sent, identity);
		return sent;
	}
}

const NONE = new ToolForms([]);

/** The tools of a request; of all without tools the same, which no one fills. Throws as the constructor does. */
export const toolFormsOf = (tools: readonly SentTool[] | null | undefined): ToolForms =>
	tools?.length ? new ToolForms(tools) : NONE;

const keyOf = (name: string, namespace?: string | null): string => `${namespace ?? ""}\n${name}`;
const nameOf = (tool: SentTool): string => (tool as unknown as FunctionTool).name;
const isCustom = ({ type }: SentTool): boolean => type === "custom";

function checkTool(tool: SentTool, path: string): void {
	const check = checkOf(TOOLS, tool.type);
	if (check) checkField(check, tool, path);
}

/** `crm` and `find` are `crm__find`; MCP's namespaces end with the underscores already. */
function joinedName(namespace: string, name: string): string {
	const space = namespace.replace(ODD, "_");
	return sentToolName(space === "" || space.endsWith("__") ? space + name : `${space}__${name}`);
}

function plainFunction({ description, parameters, strict }: FunctionTool, name: string): ChatTool {
	return {
		type: "function",
		function: {
			name,
			...(description ? { description } : {}),
			...(parameters ? { parameters: parameters as Record<string, unknown> } : {}),
			...(strict ? { strict } : {}),
		},
	};
}

/** What the text of a custom tool is called in the function that stands for it. */
const TEXT_FIELD = "input";

function textFunction({ description, format }: CustomTool, name: string): ChatTool {
	const { type, syntax, definition } = (format ?? {}) as { type?: unknown; syntax?: unknown; definition?: unknown };
	const isBound = type === "grammar" && typeof definition === "string";
	const grammar = isBound
		? `The text must match this ${syntax === "regex" ? "regular expression" : "Lark grammar"}:\n${definition}`
		: "";
	const about = [description ?? "", grammar].filter((each) => each !== "").join("\n\n");
	const text = { type: "string", description: "The whole input of the tool, as plain text." };
	return {
		type: "function",
		function: {
			name,
			...(about === "" ? {} : { description: about }),
			parameters: {
				type: "object",
				properties: { [TEXT_FIELD]: text },
				required: [TEXT_FIELD],
				additionalProperties: false,
			},
		},
	};
}

/** The arguments of the function that stands for a custom tool. */
export const customArguments = (text: string): string => JSON.stringify({ [TEXT_FIELD]: text });

/** The text in such arguments; what a model wrote otherwise is taken for the text itself. */
export function customInput(args: string): string {
	try {
		const text = objectIn(JSON.parse(args))?.[TEXT_FIELD];
		if (typeof text === "string") return text;
	} catch {
		// No JSON: a model may have written the text alone.
	}
	return args;
}

/** What a chat request says of its tools. */
export interface ChatToolFields {
	readonly tools?: readonly ChatTool[];
	readonly tool_choice?: unknown;
	readonly parallel_tool_calls?: false;
}

/**
 * The fields of a chat for tools and their choice. Where some of the tools are allowed, only they are sent: not every upstream knows that choice,
 * and no tool may be called that is not among them. `paths` says where each function that is sent stands in the request. Throws `invalid_value` for
 * a tool that is not there, and `unsupported_parameter` for one that the router leaves out and the call insists on.
 */
export function chatToolFields(
	forms: ToolForms,
	choice: unknown,
	isParallel: boolean | null | undefined,
): { readonly fields: ChatToolFields; readonly paths: readonly string[] } {
	const { functions: all, paths } = forms;
	let chosen = all;
	let sentChoice: unknown;
	if (typeof choice === "string") {
		if (!["auto", "none", "required"].includes(choice))
			throw invalidField("tool_choice", 'must be "auto", "none" or "required"');
		if (choice === "required" && all.length === 0) throw requiredButNone(forms, "tool_choice");
		if (choice !== "auto") sentChoice = choice;
	} else if (choice) {
		const { type } = choice as { readonly type: string };
		const check = checkOf(TOOL_CHOICES, type);
		if (!check) throw unsupportedField("tool_choice.type", "the tools of that kind are none that it can offer here");
		checkField(check, choice, "tool_choice");
		if (type === "allowed_tools") {
			const { mode, tools } = choice as unknown as { mode?: string | null; tools: readonly NamedTool[] };
			const names = allowedNames(forms, tools);
			chosen = all.filter(({ function: fn }) => names.has(fn.name));
			if (mode === "required" && chosen.length === 0) throw requiredButNone(forms, "tool_choice.tools");
			if (mode === "required") sentChoice = "required";
		} else {
			const { name, namespace } = choice as unknown as NamedTool;
			const sent = forms.sentNameOf(name ?? "", namespace);
			if (!all.some(({ function: fn }) => fn.name === sent))
				throw invalidField("tool_choice.name", "is the name of none of the tools");
			sentChoice = { type: "function", function: { name: sent } };
		}
	}
	if (chosen.length === 0) return { fields: {}, paths: [] };
	const sent = new Set(chosen);
	const kept = chosen === all ? paths : paths.filter((_, index) => sent.has(all[index]!));
	const fields = {
		tools: chosen,
		...(sentChoice === undefined ? {} : { tool_choice: sentChoice }),
		// More than one at a time is what upstreams do unless they are told not to.
		...(isParallel === false ? { parallel_tool_calls: false as const } : {}),
	};
	return { fields, paths: kept };
}

interface NamedTool {
	readonly type?: unknown;
	readonly name?: string;
	readonly namespace?: string | null;
}

function requiredButNone({ leftOut }: ToolForms, param: string) {
	if (leftOut.size === 0) return invalidField(param, "asks for a tool, and there are none");
	return unsupportedField(param, "it asks for a tool, and those that are there OpenAI alone runs");
}

/** The functions that may be called. What is left out anyway is passed over. */
function allowedNames(forms: ToolForms, tools: readonly NamedTool[]): ReadonlySet<string> {
	const names = new Set<string>();
	const known = new Set(forms.functions.map(({ function: fn }) => fn.name));
	for (const [index, { type, name, namespace }] of tools.entries()) {
		if (type !== undefined && type !== "function" && type !== "custom") continue;
		const sent = forms.sentNameOf(name ?? "", namespace);
		if (!known.has(sent)) {
			throw invalidField(`tool_choice.tools[${index}].name`, "is the name of none of the tools");
		}
		names.add(sent);
	}
	return names;
}
