/** A call as programs make it. The key is a variable of the environment, never the one that was typed. Pure. */

type Body = Record<string, unknown>;

/** In what a call is shown. */
export const CODE_LANGUAGES = ["curl", "Python", "TypeScript"] as const;
/** One of them. */
export type CodeLanguage = (typeof CODE_LANGUAGES)[number];

/** What OpenAI's library for Python takes by name; all else goes into `extra_body`. */
const NAMED = new Set(
	"model messages stream stream_options temperature top_p max_tokens max_completion_tokens tools tool_choice stop seed n response_format reasoning_effort presence_penalty frequency_penalty".split(
		" ",
	),
);

/** The call in a language. @param base `https://router.example/v1`, no slash at the end */
export function callCode(language: CodeLanguage, base: string, body: Body): string {
	const short = withoutImages(body) as Body;
	if (language === "curl") return curlCode(base, short);
	return language === "Python" ? pythonCode(base, short) : typescriptCode(base, short);
}

/** Pictures would fill the page: what stands for them is to be replaced. */
function withoutImages(value: unknown): unknown {
	if (typeof value === "string") return value.replace(/^(data:[\w/+.-]+;base64,).{40,}$/s, "$1IMAGE");
	if (Array.isArray(value)) return value.map(withoutImages);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutImages(each)]));
}

function curlCode(base: string, body: Body): string {
	const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
	return `curl ${body["stream"] ? "-N " : ""}'${base}/chat/completions' \\
  -H "Authorization: Bearer $ROUTER_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${json}'`;
}

function pythonCode(base: string, body: Body): string {
	const extra = Object.entries(body).filter(([name]) => !NAMED.has(name));
	const named = Object.entries(body).filter(([name]) => NAMED.has(name));
	const fields = extra.length > 0 ? [...named, ["extra_body", Object.fromEntries(extra)] as const] : named;
	const args = fields.map(([name, value]) => `    ${name}=${pythonText(value, 1)},`).join("\n");
	const head = `import os
from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=os.environ["ROUTER_API_KEY"])
answer = client.chat.completions.create(
${args}
)
`;
	if (!body["stream"]) return `${head}print(answer.choices[0].message.content)`;
	return `${head}for chunk in answer:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)`;
}

/** As Python writes it. @param depth of the indent */
function pythonText(value: unknown, depth: number): string {
	const [inner, outer] = ["    ".repeat(depth + 1), "    ".repeat(depth)];
	const within = (open: string, parts: readonly string[], close: string) =>
		parts.length === 0
			? open + close
			: `${open}\n${parts.map((part) => `${inner}${part},\n`).join("")}${outer}${close}`;
	if (value === null || (typeof value === "number" && !Number.isFinite(value))) return "None";
	if (typeof value === "boolean") return value ? "True" : "False";
	if (Array.isArray(value))
		return within(
			"[",
			value.map((each) => pythonText(each, depth + 1)),
			"]",
		);
	if (typeof value !== "object") return JSON.stringify(value);
	const fields = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${pythonText(each, depth + 1)}`);
	return within("{", fields, "}");
}

function typescriptCode(base: string, body: Body): string {
	const head = `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: process.env.ROUTER_API_KEY });
const answer = await client.chat.completions.create(${JSON.stringify(body, null, 2)});
`;
	if (!body["stream"]) return `${head}console.log(answer.choices[0]?.message.content);`;
	return `${head}for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta.content ?? "");`;
}
