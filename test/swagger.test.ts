import { afterAll, describe, expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Type } from "@sinclair/typebox";
import { Ajv2020 } from "ajv/dist/2020.js";
import { version } from "swagger-ui-dist/package.json";
import { apiRoutes } from "../src/api/routes.ts";
import { type ErrorCode, RouterError } from "../src/errors.ts";
import { finishDocument } from "../src/http/openapi.ts";
import { answer, errorResponses, streamed, wildcard } from "../src/http/route-docs.ts";
import { base, listenOn } from "./kit/http-base.ts";

// biome-ignore lint/suspicious/noExplicitAny: an OpenAPI document is looked into at will here
type Document = any;

/** Schemas with everything that OpenAPI 3.0 would not have allowed. */
const Request = Type.Object(
	{
		model: Type.Literal("dummy"),
		user: Type.Optional(Type.Union([Type.String(), Type.Null()])),
		temperature: Type.Optional(Type.Number({ exclusiveMinimum: 0, examples: [0.7] })),
		logit_bias: Type.Optional(Type.Record(Type.String(), Type.Number())),
	},
	{ $id: "Request" },
);
const CODES: ErrorCode[] = ["invalid_json", "invalid_value", "model_not_found", "internal_error"];

const server = base();
server.app
	.post("/v1/chat/completions", () => "x", {
		parse: "none",
		body: Request,
		detail: {
			operationId: "chat",
			responses: { 200: streamed("The answer.", { id: "1" }, [{ id: "1" }]), ...errorResponses(...CODES) },
		},
	})
	.get("/v1/models/*", () => "x", {
		detail: { ...wildcard("model", "Its name.", "dummy"), responses: { 200: answer("It.", { id: "dummy" }) } },
	})
	.get("/plain", () => ({ a: "x" }), { response: Type.Object({ a: Type.String() }, { title: "Plain" }) });
const listening = listenOn(server);
afterAll(() => listening.stop(true));
const get = (path: string, init?: BunFetchRequestInit) =>
	fetch(new URL(path, `${listening.url}/swagger`), { redirect: "manual", ...init });
const spec = async (): Promise<Document> => (await get("/swagger/json")).json();

describe("the document", () => {
	test("is valid OpenAPI 3.1 by the official schema", async () => {
		const { valid, errors } = await new Validator().validate(await spec());
		expect(errors).toBeUndefined();
		expect(valid).toBe(true);
	});

	test("holds only schemas that are valid JSON Schema 2020-12 and refer to what exists", async () => {
		const document = await spec();
		const schemas: Document[] = Object.values(document.components.schemas);
		for (const item of Object.values<Document>(document.paths))
			for (const operation of Object.values<Document>(item))
				for (const part of [operation.requestBody, ...Object.values<Document>(operation.responses)])
					for (const media of Object.values<Document>(part?.content ?? {})) schemas.push(media.schema);
		expect(schemas.length).toBeGreaterThan(8);
		for (const schema of schemas) {
			const ajv = new Ajv2020({ strict: false });
			const resolvable = JSON.parse(JSON.stringify(schema).replaceAll("#/components/schemas/", "#/$defs/"));
			expect(() => ajv.compile({ ...resolvable, $defs: document.components.schemas })).not.toThrow();
		}
	});

	test("says the error shape on every operation, and its schema fits a real error", async () => {
		const document = await spec();
		for (const item of Object.values<Document>(document.paths))
			for (const operation of Object.values<Document>(item))
				expect(operation.responses.default).toEqual({ $ref: "#/components/responses/Error" });
		const fits = new Ajv2020({ strict: false }).compile(document.components.schemas.Error);
		expect(fits(new RouterError("invalid_value", "m", { param: "p" }).body)).toBe(true);
		expect(fits({ error: { message: "m" } })).toBe(false);
	});

	test("groups error answers by status, one example a code", async () => {
		const { responses } = (await spec()).paths["/v1/chat/completions"].post;
		expect(Object.keys(responses).sort()).toEqual(["200", "400", "404", "500", "default"]);
		expect(Object.keys(responses["400"].content["application/json"].examples)).toEqual([
			"invalid_json",
			"invalid_value",
		]);
	});

	test("shows a streamed route's JSON and its event stream, which ends in [DONE]", async () => {
		const { content } = (await spec()).paths["/v1/chat/completions"].post.responses["200"];
		expect(content["application/json"].example).toEqual({ id: "1" });
		expect(content["text/event-stream"].example).toBe('data: {"id":"1"}\n\ndata: [DONE]\n\n');
	});

	test("takes JSON alone where the route parses the body itself (trap: parse none)", async () => {
		const { requestBody } = (await spec()).paths["/v1/chat/completions"].post;
		expect(Object.keys(requestBody.content)).toEqual(["application/json"]);
		expect(requestBody.content["application/json"].schema.properties.model).toMatchObject({ const: "dummy" });
	});

	test("shows a wildcard path by its parameter's name, and no page of its own", async () => {
		const { paths } = await spec();
		expect(paths["/v1/models/{model}"].get.parameters).toHaveLength(1);
		expect(Object.keys(paths).filter((path) => path.includes("swagger"))).toEqual([]);
	});

	test("asks for the key everywhere but on health and metrics", async () => {
		const document = await spec();
		expect(document.security).toEqual([{ key: [] }]);
		expect(document.components.securitySchemes.key).toMatchObject({ type: "http", scheme: "bearer" });
		for (const path of ["/health/live", "/health/ready", "/metrics"])
			expect(document.paths[path].get.security).toEqual([]);
		expect(document.paths["/v1/chat/completions"].post.security).toBeUndefined();
	});

	test("of the real routes is valid too", async () => {
		const real = base({ role: "agent" });
		const app = real.app.use(apiRoutes({} as never));
		const response = await app.handle(new globalThis.Request("http://localhost/swagger/json"));
		const document: Document = await response.json();
		expect((await new Validator().validate(document)).errors).toBeUndefined();
		expect(Object.keys(document.paths)).toContain("/v1/chat/completions");
		expect(Object.keys(document.paths)).toContain("/health");
	});

	test("follows routes that were added after it was first read", async () => {
		const late = base();
		const read = async () =>
			(await (await late.app.handle(new globalThis.Request("http://localhost/swagger/json"))).json()) as Document;
		expect((await read()).paths["/late"]).toBeUndefined();
		late.app.get("/late", () => "x");
		expect((await read()).paths["/late"]).toBeDefined();
	});

	test("keeps a response without description valid, and drops what is no part of one", () => {
		const draft = { paths: { "/a": { get: { responses: { 200: { type: "object", $id: "X" } } } } } };
		const document: Document = finishDocument(draft);
		expect(document.paths["/a"].get.responses["200"]).toEqual({ description: "Success." });
	});
});

describe("the page (trap: @elysiajs/swagger loads scripts from a CDN)", () => {
	test("names no other host and no inline script, and its policy allows neither", async () => {
		const response = await get("/swagger");
		expect(response.status).toBe(200);
		expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
		const html = await response.text();
		expect(html).not.toMatch(/https?:|\/\//);
		expect(html).not.toMatch(/<script>|<script(?![^>]*src=)/);
		const policy = response.headers.get("content-security-policy");
		expect(policy).toContain("default-src 'none'");
		expect(policy).toContain("script-src 'self';");
		expect(policy).toContain("connect-src 'self'");
	});

	test("each file it names is served with its type, and may be kept for ever where its path has the version", async () => {
		const html = await (await get("/swagger")).text();
		const files = [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => String(match[1]));
		const seen: Record<string, string[]> = {};
		for (const path of files) {
			const response = await get(path);
			expect(response.status).toBe(200);
			expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(100);
			const header = (name: string) => String(response.headers.get(name));
			seen[path.replace(/.*\//, "")] = [header("content-type"), header("cache-control")];
		}
		const forever = "public, max-age=31536000, immutable";
		expect(seen).toEqual({
			"favicon-32x32.png": ["image/png", forever],
			"swagger-ui.css": ["text/css; charset=utf-8", forever],
			"swagger-ui-bundle.js": ["text/javascript; charset=utf-8", forever],
			"init.js": ["text/javascript; charset=utf-8", "no-cache"],
		});
	});

	test("sends its files compressed to who takes that, and as they are to who does not", async () => {
		for (const name of ["swagger-ui.css", "swagger-ui-bundle.js"]) {
			const whole = await Bun.file(Bun.resolveSync(`swagger-ui-dist/${name}`, import.meta.dir)).bytes();
			const path = `swagger/${version}/${name}`;
			for (const [accepted, encoding] of [
				["identity", null],
				["gzip;q=0", null],
				["gzip, br", "gzip"],
			] as const) {
				const response = await get(path, { headers: { "accept-encoding": accepted }, decompress: false });
				expect(response.headers.get("content-encoding")).toBe(encoding);
				expect(response.headers.get("vary")).toContain("accept-encoding");
				const bytes = new Uint8Array(await response.arrayBuffer());
				expect(Bun.hash(encoding ? Bun.gunzipSync(bytes) : bytes)).toBe(Bun.hash(whole));
			}
		}
	});

	test("names its files, its document and its server by relative addresses: a proxy may have put a path before them", async () => {
		const html = await (await get("/swagger")).text();
		for (const [, address] of html.matchAll(/(?:href|src)="([^"]+)"/g)) expect(address).toMatch(/^swagger\//);
		expect(await (await get("/swagger/init.js")).text()).toContain('"url":"swagger/json"');
		expect((await spec()).servers).toEqual([{ url: ".." }]);
	});

	test("is one address: the other, with a slash behind it, leads to it, under a path, too", async () => {
		const response = await get("/swagger/?x");
		expect([response.status, response.headers.get("location")]).toEqual([308, "../swagger"]);
		expect(new URL("../swagger", "http://proxy/router/swagger/").pathname).toBe("/router/swagger");
	});

	test("does not send the document's address to a validator on the internet", async () => {
		expect(await (await get("/swagger/init.js")).text()).toContain('"validatorUrl":null');
	});
});
