/** The stand-ins for what a GPU host has besides Docker: nvidia-smi, and the Hub. */
import { expect, test } from "bun:test";
import { HUB_MODELS, startHub } from "./kit/hugging-face.ts";
import { nvidiaSmi } from "./kit/nvidia-smi.ts";

const QUERY =
	"index,name,uuid,pci.bus_id,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,driver_version";

/** Runs the stand-in as the agent would find it. */
async function smi(bin: string, ...args: readonly string[]) {
	const PATH = `${bin}:${process.env["PATH"]}`;
	const child = Bun.spawn(["sh", "-c", 'exec nvidia-smi "$@"', "sh", ...args], { env: { PATH }, stderr: "pipe" });
	const [output, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
	return { output, code };
}

test("nvidia-smi tells one GPU of 24 GB, and eight of 80 GB", async () => {
	using small = nvidiaSmi("1x24GB");
	expect(await smi(small.bin, `--query-gpu=${QUERY}`, "--format=csv,noheader,nounits")).toEqual({
		code: 0,
		output: `0, NVIDIA GeForce RTX 4090, ${small.uuids[0]}, 00000000:01:00.0, 24564, 1, 0, 34, 17.21, 570.133.20\n`,
	});
	using big = nvidiaSmi("8x80GB");
	const { output } = await smi(big.bin, `--query-gpu=${QUERY}`, "--format=csv,noheader,nounits");
	const rows = output
		.trim()
		.split("\n")
		.map((line) => line.split(", "));
	expect(rows.map(([index]) => index)).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
	expect(new Set(rows.map(([, , uuid]) => uuid)).size).toBe(8);
	expect(rows.every((row) => row[1] === "NVIDIA H100 80GB HBM3" && row[4] === "81559")).toBe(true);
	expect((await smi(big.bin, "-L")).output).toContain(`GPU 7: NVIDIA H100 80GB HBM3 (UUID: ${big.uuids[7]})`);
});

test("nvidia-smi tells what a test sets, while it runs", async () => {
	using host = nvidiaSmi("8x80GB");
	host.set(2, { memoryUsed: 70_000, utilization: 97, temperature: 81, power: "[N/A]" });
	const fields = "index,memory.used,memory.free,utilization.gpu,temperature.gpu,power.draw";
	const { output } = await smi(host.bin, `--query-gpu=${fields}`, "--format=csv,noheader");
	expect(output.split("\n")[2]).toBe("2, 70000 MiB, 11059 MiB, 97 %, 81, [N/A]");
	const headed = await smi(host.bin, "--query-gpu=index,memory.used", "--format=csv");
	expect(headed.output).toStartWith("index, memory.used [MiB]\n0, 4 MiB\n");
	host.processes([{ pid: 4711, name: "python3", memory: 9000, gpu: 2 }]);
	const apps = await smi(
		host.bin,
		"--query-compute-apps=pid,process_name,used_memory,gpu_uuid",
		"--format=csv,noheader,nounits",
	);
	expect(apps.output).toBe(`4711, python3, 9000, ${host.uuids[2]}\n`);
});

test("nvidia-smi refuses a field it hasn't, and fails without a driver", async () => {
	using host = nvidiaSmi("1x24GB");
	expect(await smi(host.bin, "--query-gpu=index,colour", "--format=csv,noheader")).toEqual({
		code: 2,
		output: 'Field "colour" is not a valid field to query.\n\n',
	});
	host.fail(true);
	const failed = await smi(host.bin, `--query-gpu=${QUERY}`, "--format=csv,noheader,nounits");
	expect(failed.code).toBe(9);
	expect(failed.output).toContain("couldn't communicate with the NVIDIA driver");
	host.fail(false);
	expect((await smi(host.bin, "-L")).code).toBe(0);
});

test("the Hub tells sizes to those who ask for them, and a model's configuration", async () => {
	await using hub = await startHub();
	const get = async (path: string, token?: string) => {
		const headers = token ? { authorization: `Bearer ${token}` } : undefined;
		const answer = await fetch(`${hub.origin}${path}`, headers && { headers });
		return { status: answer.status, code: answer.headers.get("x-error-code"), text: await answer.text() };
	};
	interface Info {
		readonly gated: boolean | string;
		readonly safetensors: { readonly total: number };
		readonly siblings: readonly { rfilename: string; size?: number; lfs?: { size: number } }[];
	}
	const sized = JSON.parse((await get("/api/models/Qwen/Qwen3-8B?blobs=true")).text) as Info;
	const weights = sized.siblings.filter(({ rfilename }) => rfilename.endsWith(".safetensors"));
	expect(weights.map(({ size }) => size!)).toEqual([...HUB_MODELS["Qwen/Qwen3-8B"].shards]);
	expect([sized.gated, sized.safetensors.total]).toEqual([false, 8_190_735_360]);
	const unsized = JSON.parse((await get("/api/models/Qwen/Qwen3-8B")).text) as Info;
	expect(unsized.siblings.some(({ size }) => size !== undefined)).toBe(false);
	const tree = JSON.parse((await get("/api/models/Qwen/Qwen3-0.6B/tree/main")).text) as {
		path: string;
		size: number;
	}[];
	expect(tree.find(({ path }) => path === "model.safetensors")?.size).toBe(1_503_300_328);
	const config = JSON.parse((await get("/Qwen/Qwen3-8B/resolve/main/config.json")).text);
	expect(config).toMatchObject({
		num_hidden_layers: 36,
		num_key_value_heads: 8,
		head_dim: 128,
		max_position_embeddings: 40_960,
	});

	const gated = "meta-llama/Llama-3.1-8B-Instruct";
	expect(JSON.parse((await get(`/api/models/${gated}`)).text)).toMatchObject({ gated: "manual" });
	expect(await get(`/${gated}/resolve/main/config.json`)).toMatchObject({ status: 401, code: "GatedRepo" });
	expect((await get(`/${gated}/resolve/main/config.json`, "hf_allowed")).status).toBe(200);
	expect((await get(`/api/models/${gated}`, "hf_wrong")).status).toBe(401);
	expect(await get("/api/models/nobody/nothing")).toMatchObject({ status: 401, code: "RepoNotFound" });
	expect(await get("/api/models/nobody/nothing", "hf_allowed")).toMatchObject({ status: 404, code: "RepoNotFound" });
	expect(await get("/Qwen/Qwen3-8B/resolve/main/nothing.json")).toMatchObject({ status: 404, code: "EntryNotFound" });
	hub.fail(500);
	expect((await get("/api/models/Qwen/Qwen3-8B")).status).toBe(500);
	expect(hub.received[0]).toBe("GET /api/models/Qwen/Qwen3-8B?blobs=true");
});
