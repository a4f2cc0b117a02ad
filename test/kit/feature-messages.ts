/** What messages can hold, and what becomes of it at each vendor that is translated. */
import { type Feature, type Outcome, refused, sends, text, user } from "./feature.ts";
import { PIXEL } from "./scenarios.ts";

const claudeSays = (...content: unknown[]): Outcome => sends({ messages: [{ role: "user", content }] });
const geminiSays = (...parts: unknown[]): Outcome => sends({ contents: [{ role: "user", parts }] });
const PNG = PIXEL.slice("data:image/png;base64,".length);
const PDF = "JVBERi0xLjQ=";

/** In the order of claude-and-gemini.md. */
export const MESSAGES: readonly Feature[] = [
	{
		name: "system and developer messages at the beginning",
		ask: { messages: [{ role: "system", content: "A." }, { role: "developer", content: "B." }, user("Hi")] },
		anthropic: sends({ system: [text("A."), text("B.")] }),
		gemini: sends({ systemInstruction: { parts: [{ text: "A." }, { text: "B." }] } }),
	},
	{
		name: "system messages later on (in their place, where need be in the user's turn)",
		ask: { messages: [user("Hi"), { role: "system", content: "B." }] },
		models: { anthropic: "claude-opus-5" },
		anthropic: sends({
			messages: [
				{ role: "user", content: [text("Hi")] },
				{ role: "system", content: [text("B.")] },
			],
		}),
		gemini: geminiSays({ text: "Hi" }, { text: "<system>\nB.\n</system>" }),
	},
	{
		name: "several turns",
		ask: { messages: [user("Hi"), { role: "assistant", content: "Ho" }, user("Hey")] },
		anthropic: sends({
			messages: [
				{ role: "user", content: [text("Hi")] },
				{ role: "assistant", content: [text("Ho")] },
				{ role: "user", content: [text("Hey")] },
			],
		}),
		gemini: sends({
			contents: [
				{ role: "user", parts: [{ text: "Hi" }] },
				{ role: "model", parts: [{ text: "Ho" }] },
				{ role: "user", parts: [{ text: "Hey" }] },
			],
		}),
	},
	{
		name: "names of participants",
		ask: { messages: [{ ...user("Hi"), name: "Ann" }] },
		anthropic: claudeSays(text("Ann: Hi")),
		gemini: geminiSays({ text: "Ann: Hi" }),
	},
	{
		name: "images as data URLs",
		ask: { messages: [user([{ type: "image_url", image_url: { url: PIXEL, detail: "low" } }])] },
		anthropic: claudeSays({ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }),
		gemini: geminiSays({ inlineData: { mimeType: "image/png", data: PNG } }),
	},
	{
		name: "images by https address (Gemini: fetched by the router)",
		ask: { messages: [user([{ type: "image_url", image_url: { url: "https://a.example/cat.png" } }])] },
		anthropic: claudeSays({ type: "image", source: { type: "url", url: "https://a.example/cat.png" } }),
		gemini: geminiSays({ inlineData: { mimeType: "image/webp", data: "ZmV0Y2hlZA==" } }),
	},
	{
		name: "images by http address",
		ask: { messages: [user([{ type: "image_url", image_url: { url: "http://a.example/cat.png" } }])] },
		anthropic: refused("messages[0].content[0].image_url.url"),
		gemini: refused("messages[0].content[0].image_url.url"),
	},
	{
		name: "PDFs as data URLs",
		ask: {
			messages: [
				user([{ type: "file", file: { filename: "a.pdf", file_data: `data:application/pdf;base64,${PDF}` } }]),
			],
		},
		anthropic: claudeSays({
			type: "document",
			source: { type: "base64", media_type: "application/pdf", data: PDF },
			title: "a.pdf",
		}),
		gemini: geminiSays({ inlineData: { mimeType: "application/pdf", data: PDF } }),
	},
	{
		name: "PDFs by https address",
		ask: { messages: [user([{ type: "file", file: { file_data: "https://a.example/a.pdf" } }])] },
		anthropic: claudeSays({ type: "document", source: { type: "url", url: "https://a.example/a.pdf" } }),
		gemini: geminiSays({ inlineData: { mimeType: "image/webp", data: "ZmV0Y2hlZA==" } }),
	},
	{
		name: "plain text files",
		ask: { messages: [user([{ type: "file", file: { file_data: "data:text/plain;base64,R3LDvMOfZQ==" } }])] },
		anthropic: claudeSays({ type: "document", source: { type: "text", media_type: "text/plain", data: "Grüße" } }),
		gemini: geminiSays({ inlineData: { mimeType: "text/plain", data: "R3LDvMOfZQ==" } }),
	},
	{
		name: "citations of documents (`citations: {enabled: true}` beside `file`)",
		ask: {
			messages: [
				user([
					{ type: "file", file: { file_data: "data:text/plain;base64,R3LDvMOfZQ==" }, citations: { enabled: true } },
				]),
			],
		},
		anthropic: claudeSays({
			type: "document",
			source: { type: "text", media_type: "text/plain", data: "Grüße" },
			citations: { enabled: true },
		}),
		gemini: refused("messages[0].content[0].citations"),
	},
	{
		name: "files that the vendor keeps (`file_id`)",
		ask: { messages: [user([{ type: "file", file: { file_id: "files/abc-1" } }])] },
		anthropic: claudeSays({ type: "document", source: { type: "file", file_id: "files/abc-1" } }),
		gemini: geminiSays({ fileData: { fileUri: "https://g.example/v1beta/files/abc-1" } }),
	},
	{
		name: "audio",
		ask: { messages: [user([{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }])] },
		anthropic: refused("messages[0].content[0].type"),
		gemini: geminiSays({ inlineData: { mimeType: "audio/wav", data: "AAAA" } }),
	},
	{
		name: "prompt-cache markers (`cache_control`; Gemini caches by itself)",
		ask: { messages: [user([{ ...text("Hi"), cache_control: { type: "ephemeral", ttl: "1h" } }])] },
		anthropic: claudeSays({ ...text("Hi"), cache_control: { type: "ephemeral", ttl: "1h" } }),
		gemini: geminiSays({ text: "Hi" }),
	},
];
