/** A form is passed on while it comes: no more of it is held than is said, wherever its model stands. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FormBody } from "../src/http/form-body.ts";
import type { BodyStream } from "../src/openai/call.ts";

const MB = 1024 * 1024;
const PIECE = 64 * 1024;
const head = (name: string, more = "") =>
	Buffer.from(`--b\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n`);
const MODEL = Buffer.concat([head("model"), Buffer.from("ears\r\n")]);

/** A form with a file of so many bytes, made as it is read, and how much of it was made. */
function longForm(bytes: number, where: "before" | "behind") {
	const made = { bytes: 0 };
	function* pieces(): Generator<Uint8Array> {
		if (where === "before") yield MODEL;
		yield head("file", '; filename="a.wav"');
		for (let left = bytes; left > 0; left -= PIECE) yield Buffer.alloc(Math.min(PIECE, left), left % 251);
		yield Buffer.from("\r\n");
		if (where === "behind") yield MODEL;
		yield Buffer.from("--b--\r\n");
	}
	const left = pieces();
	const body = new ReadableStream<Uint8Array>(
		{
			pull(controller) {
				const { value } = left.next();
				if (!value) return controller.close();
				made.bytes += value.length;
				controller.enqueue(value);
			},
		},
		{ highWaterMark: 0 },
	);
	const headers = { "content-type": "multipart/form-data; boundary=b" };
	return { request: new Request("http://localhost/", { method: "POST", body, headers }), made };
}

async function hashOf(stream: BodyStream): Promise<{ size: number; hash: string }> {
	const hash = new Bun.SHA256();
	let size = 0;
	for (let piece = await stream.read(); piece; piece = await stream.read()) {
		hash.update(piece);
		size += piece.length;
	}
	return { size, hash: hash.digest("hex") };
}

test("with its model in front no more is read ahead than a piece", async () => {
	const { request, made } = longForm(32 * MB, "before");
	const form = (await FormBody.read(request, 64 * MB, "model"))!;
	expect(form.field("model")!.value).toBe("ears");
	expect(made.bytes).toBeLessThan(4 * PIECE);
	const stream = form.stream("model", "ears");
	let sent = 0;
	for (let piece = await stream.read(); piece; piece = await stream.read()) {
		sent += piece.length;
		expect(made.bytes - sent).toBeLessThan(4 * PIECE);
	}
	expect(sent).toBe(made.bytes);
	expect(form.isSpent).toBe(true);
	await form.close();
});

test("with its model behind a long file it can be sent, and sent again", async () => {
	const { request } = longForm(8 * MB, "behind");
	const form = (await FormBody.read(request, 64 * MB, "model"))!;
	const first = await hashOf(form.stream("model", "ears"));
	expect(form.isSpent).toBe(false);
	expect(await hashOf(form.stream("model", "ears"))).toEqual(first);
	const renamed = form.stream("model", "whisper-large");
	expect((await hashOf(renamed)).size).toBe(first.size + "whisper-large".length - "ears".length);
	await form.close();
});

test("a short one can be sent again after a part of it was", async () => {
	const { request } = longForm(300_000, "before");
	const form = (await FormBody.read(request, 64 * MB, "model"))!;
	const broken = form.stream("model", "other");
	await broken.read();
	await broken.read();
	const unread = broken.read();
	const whole = await hashOf(form.stream("model", "ears"));
	// Nobody waits for it any more.
	await unread.catch(() => undefined);
	expect(form.isSpent).toBe(false);
	expect(await hashOf(form.stream("model", "ears"))).toEqual(whole);
	await form.close();
});

test("one that is too long is refused while it comes", async () => {
	const { request } = longForm(3 * MB, "before");
	const form = (await FormBody.read(request, 2 * MB, "model"))!;
	await expect(hashOf(form.stream("model", "ears"))).rejects.toMatchObject({ errorCode: "body_too_large" });
	const behind = longForm(3 * MB, "behind");
	await expect(FormBody.read(behind.request, 2 * MB, "model")).rejects.toMatchObject({ errorCode: "body_too_large" });
});

test("a model that it lacks is put in front", async () => {
	const body = `--b\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\nPNG\r\n--b--\r\n`;
	const headers = { "content-type": "multipart/form-data; boundary=b" };
	const form = (await FormBody.read(new Request("http://localhost/", { method: "POST", body, headers }), MB, "model"))!;
	const stream = form.stream("model", "painter");
	let text = "";
	for (let piece = await stream.read(); piece; piece = await stream.read()) text += Buffer.from(piece).toString();
	expect(stream.length).toBe(text.length);
	const read = await new Response(text, { headers }).formData();
	expect(read.get("model")).toBe("painter");
	expect(await (read.get("image") as unknown as File).text()).toBe("PNG");
	await form.close();
});

describe("where the system's temporary directory takes no file", () => {
	const before = process.env["TMPDIR"];
	let data = "";
	beforeEach(() => {
		data = mkdtempSync(join(tmpdir(), "form-body-"));
		process.env["TMPDIR"] = join(data, "absent");
	});
	afterEach(() => {
		rmSync(data, { recursive: true, force: true });
		if (before === undefined) delete process.env["TMPDIR"];
		else process.env["TMPDIR"] = before;
	});

	test("a long one is refused with what to do, if the data directory takes none either", async () => {
		const read = FormBody.read(longForm(2 * MB, "behind").request, 64 * MB, "model", join(data, "none"));
		expect(await read.then(null, (error) => error.message)).toMatch(/no file can be made.*`model` in front/);
	});

	test("a long one is kept in the data directory, without a name, and can be sent again", async () => {
		const form = (await FormBody.read(longForm(2 * MB, "behind").request, 64 * MB, "model", data))!;
		expect(readdirSync(data)).toEqual([]);
		const first = await hashOf(form.stream("model", "ears"));
		expect(first.size).toBeGreaterThan(2 * MB);
		expect(await hashOf(form.stream("model", "ears"))).toEqual(first);
		await form.close();
	});
});
