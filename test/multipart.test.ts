/** Forms: their fields are found however the bytes come, and what two servers could read in two ways is refused. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import { boundaryOf, FormScanner } from "../src/openai/multipart.ts";
import { random } from "./kit/random.ts";

const part = (name: string, value: string, more = "") =>
	`--b\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const END = "--b--\r\n";

function scanned(text: string, sizes: () => number = () => 65_536): FormScanner {
	const scanner = new FormScanner("b");
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; ) {
		const size = Math.max(1, sizes());
		scanner.push(bytes.subarray(at, at + size));
		at += size;
	}
	return scanner;
}

test.each([
	["multipart/form-data; boundary=abc", "abc"],
	['multipart/form-data; charset=utf-8; boundary="a b"', "a b"],
	["Multipart/Form-Data; Boundary=abc", "abc"],
	["multipart/mixed; boundary=abc", undefined],
	["multipart/form-data", undefined],
	["application/json", undefined],
])("the boundary of %s is %p", (type, boundary) => {
	expect(boundaryOf(type)).toBe(boundary);
});

test("fields are found where they stand, cut anywhere", () => {
	const file = "\r\n-\r\n--\r\n-b\r--b\r\n".repeat(50);
	const text = part("purpose", "") + part("file", file, '; filename="a; name=model.wav"') + part("model", "wörk") + END;
	const source = random(7);
	for (let run = 0; run < 200; run++) {
		const scanner = scanned(text, () => source.below(run % 10 === 0 ? 3 : 40));
		expect(scanner.isDone).toBe(true);
		expect(scanner.names).toEqual(["purpose", "file", "model"]);
		const { value, start, end } = scanner.field("model")!;
		expect(value).toBe("wörk");
		expect(Buffer.from(text).toString("utf8", start, end)).toBe("wörk");
		expect(scanner.field("purpose")!.value).toBe("");
	}
});

test("what a FormData makes is read", async () => {
	const form = new FormData();
	form.append("file", new File(["x".repeat(100_000)], 'ü "quoted".wav'));
	form.append("model", "whisper-1");
	const made = new Response(form);
	const scanner = new FormScanner(boundaryOf(made.headers.get("content-type")!)!);
	scanner.push(new Uint8Array(await made.arrayBuffer()));
	expect(scanner.field("model")!.value).toBe("whisper-1");
	expect(scanner.isDone).toBe(true);
});

const MODEL = part("model", "a");
describe("refused is", () => {
	test.each([
		["two models", MODEL + MODEL + END, "duplicate_key"],
		["a model that is a file", part("model", "a", '; filename="x"') + END, "invalid_value"],
		["a model in another case", part("Model", "a") + END, "invalid_value"],
		["a list of models", part("model[]", "a") + END, "invalid_value"],
		["a model behind a bare line feed", MODEL.replace(/\r\n$/, "\n") + MODEL + END, "invalid_value"],
		["a boundary that goes on", `--bx\r\n${MODEL.slice(5)}${END}`, "invalid_value"],
		["words before the first boundary", `hello\r\n${MODEL}${END}`, "invalid_value"],
		[
			"a boundary right behind a head",
			`--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n${MODEL}${END}`,
			"invalid_value",
		],
		[
			"a name inside another parameter",
			'--b\r\ncontent-disposition: form-data; x="; name=y"; name="model"; name="z"\r\n\r\na\r\n--b--',
			"invalid_value",
		],
		["a name with a backslash", part("mod\\el", "a") + END, "invalid_value"],
		[
			"an extended name",
			"--b\r\ncontent-disposition: form-data; name*=utf-8''model\r\n\r\na\r\n--b--",
			"invalid_value",
		],
		["a folded head", '--b\r\ncontent-disposition: form-data;\r\n name="model"\r\n\r\na\r\n--b--', "invalid_value"],
		[
			"two dispositions",
			'--b\r\ncontent-disposition: form-data; name="x"\r\ncontent-disposition: form-data; name="model"\r\n\r\na\r\n--b--',
			"invalid_value",
		],
		[
			"an encoded part",
			'--b\r\ncontent-disposition: form-data; name="model"\r\ncontent-transfer-encoding: base64\r\n\r\nYQ==\r\n--b--',
			"invalid_value",
		],
		["a part without a head", "--b\r\n\r\na\r\n--b--", "invalid_value"],
		["a head without an end", `--b\r\n${"x".repeat(10_000)}`, "invalid_value"],
		[
			"a model that is too long",
			`--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n${"x".repeat(20_000)}`,
			"invalid_value",
		],
	])("%s", (_, text, code) => {
		let thrown: unknown;
		try {
			scanned(text);
		} catch (error) {
			thrown = error;
		}
		expect(thrown).toBeInstanceOf(RouterError);
		expect((thrown as RouterError).errorCode).toBe(code as RouterError["errorCode"]);
	});
});
