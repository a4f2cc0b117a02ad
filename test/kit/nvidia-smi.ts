/** A stand-in for `nvidia-smi`: a program to put on PATH, whose numbers a test sets while others read them. */
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FIELDS = [
	"index",
	"name",
	"uuid",
	"pci.bus_id",
	"memory.total",
	"memory.used",
	"memory.free",
	"utilization.gpu",
	"temperature.gpu",
	"power.draw",
	"driver_version",
	"power.limit",
] as const;

/** What changes about a GPU. `undefined` values and those of GPUs without the sensor read `[N/A]`. */
export interface GpuLoad {
	/** MiB. */
	readonly memoryUsed?: number;
	/** Percent. */
	readonly utilization?: number;
	/** °C. */
	readonly temperature?: number;
	/** Watt. */
	readonly power?: number | "[N/A]";
}

/** A process that holds GPU memory. */
export interface GpuProcess {
	readonly pid: number;
	readonly name: string;
	/** MiB. */
	readonly memory: number;
	/** The GPU's index. */
	readonly gpu: number;
}

/** The program. */
export interface NvidiaSmi {
	/** The directory it lies in: put it in front of PATH. */
	readonly bin: string;
	readonly uuids: readonly string[];
	/** What a GPU reads from now on. */
	set(index: number, load: GpuLoad): void;
	/** What `--query-compute-apps` lists from now on. */
	processes(list: readonly GpuProcess[]): void;
	/** From now on it ends with 9, as without a driver; `false` ends that. */
	fail(failing: boolean): void;
	[Symbol.dispose](): void;
}

/** Hosts as they were seen, idle. */
const HOSTS = {
	"1x24GB": {
		count: 1,
		name: "NVIDIA GeForce RTX 4090",
		total: 24_564,
		used: 1,
		temperature: 34,
		power: 17.21,
		limit: 450,
	},
	"8x80GB": {
		count: 8,
		name: "NVIDIA H100 80GB HBM3",
		total: 81_559,
		used: 4,
		temperature: 29,
		power: 71.38,
		limit: 700,
	},
} as const;

/** Writes the program into a directory of its own; `using` removes it. */
export function nvidiaSmi(kind: keyof typeof HOSTS): NvidiaSmi {
	const host = HOSTS[kind];
	const dir = mkdtempSync(join(tmpdir(), "router-smi-"));
	const bin = join(dir, "bin");
	mkdirSync(bin);
	const program = join(bin, "nvidia-smi");
	writeFileSync(program, PROGRAM.replaceAll("@DIR@", dir));
	chmodSync(program, 0o755);
	const uuids = Array.from({ length: host.count }, (_, at) => `GPU-5a${at}d0e3c-7c1f-4a1b-9e51-0c2f6f3b9d7${at}`);
	const loads: Required<GpuLoad>[] = uuids.map((_, at) => ({
		memoryUsed: host.used,
		utilization: 0,
		temperature: host.temperature + (at % 3),
		power: host.power,
	}));
	// Moved into place: a reader never sees half of it.
	const write = (name: string, rows: readonly (readonly (string | number)[])[]) => {
		writeFileSync(join(dir, "next"), rows.map((row) => `${row.join("\t")}\n`).join(""));
		renameSync(join(dir, "next"), join(dir, name));
	};
	const gpus = () =>
		write("gpus", [
			FIELDS,
			...loads.map(({ memoryUsed, utilization, temperature, power }, at) => [
				at,
				host.name,
				uuids[at]!,
				`00000000:${(at * 16 + 1).toString(16).toUpperCase().padStart(2, "0")}:00.0`,
				host.total,
				memoryUsed,
				host.total - memoryUsed - 500,
				utilization,
				temperature,
				typeof power === "number" ? power.toFixed(2) : power,
				"570.133.20",
				host.limit.toFixed(2),
			]),
		]);
	const processes = (list: readonly GpuProcess[]) =>
		write("apps", [
			["pid", "process_name", "used_memory", "gpu_uuid"],
			...list.map(({ pid, name, memory, gpu }) => [pid, name, memory, uuids[gpu]!]),
		]);
	gpus();
	processes([]);
	return {
		bin,
		uuids,
		set: (index, load) => {
			loads[index] = { ...loads[index]!, ...load };
			gpus();
		},
		processes,
		fail: (failing) => {
			if (failing) write("failing", []);
			else rmSync(join(dir, "failing"), { force: true });
		},
		[Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
	};
}

/** `--query-gpu`, `--query-compute-apps`, `-L`; formats `csv`, `csv,noheader`, `csv,noheader,nounits`. */
const PROGRAM = `#!/bin/sh
dir='@DIR@'
if [ -e "$dir/failing" ]; then
	echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running."
	exit 9
fi
query='' table='' format='' list=''
for argument in "$@"; do
	case $argument in
	--query-gpu=*) query=\${argument#*=} table=gpus ;;
	--query-compute-apps=*) query=\${argument#*=} table=apps ;;
	--format=*) format=\${argument#*=} ;;
	-L | --list-gpus) list=1 ;;
	*) echo "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help."; exit 1 ;;
	esac
done
if [ -n "$list" ]; then
	awk -F '\\t' 'NR > 1 { printf "GPU %s: %s (UUID: %s)\\n", $1, $2, $3 }' "$dir/gpus"
	exit 0
fi
[ -n "$table" ] || { echo "no such look at the GPUs in this stand-in: $*" >&2; exit 1; }
exec awk -F '\\t' -v query="$query" -v format="$format" '
NR == 1 {
	for (i = 1; i <= NF; i++) column[$i] = i
	n = split(query, field, / *, */)
	for (i = 1; i <= n; i++) if (!(field[i] in column)) {
		printf "Field \\"%s\\" is not a valid field to query.\\n\\n", field[i]
		exit 2
	}
	unit["memory.total"] = unit["memory.used"] = unit["memory.free"] = unit["used_memory"] = " MiB"
	unit["utilization.gpu"] = " %"; unit["power.draw"] = unit["power.limit"] = " W"
	bare = format ~ /nounits/
	if (format ~ /noheader/) next
	for (i = 1; i <= n; i++) printf "%s%s%s", field[i], (field[i] in unit ? " [" substr(unit[field[i]], 2) "]" : ""), (i < n ? ", " : "\\n")
	next
}
{
	for (i = 1; i <= n; i++) {
		value = $column[field[i]]
		printf "%s%s%s", value, (bare || value == "[N/A]" ? "" : unit[field[i]]), (i < n ? ", " : "\\n")
	}
}' "$dir/$table"
`;
