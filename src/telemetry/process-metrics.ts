/**
 * Metrics about the process itself, under the names that prom-client's defaults use. Those defaults are not taken:
 * under Bun 1.4.5 most read 0 or worse (heap spaces, handles, garbage collection; `heap_bytes` is the 6 GB that
 * JavaScriptCore reserves), and their event loop monitor wakes an idle process 115 times a second, 0.7 % of a core.
 */
import { readdirSync } from "node:fs";
import { Counter, Gauge, type Registry } from "./prometheus.ts";

/** Adds CPU, memory, start time and file descriptors to `registry`, prefixed `router_`. Read when the registry is. */
export function addProcessMetrics(registry: Registry): void {
	const registers = [registry];
	const cpu = (name: string, help: string, micros: (usage: NodeJS.CpuUsage) => number) =>
		new Counter({
			name: `router_process_cpu_${name}seconds_total`,
			help,
			registers,
			aggregator: "first",
			collect() {
				this.reset();
				this.inc(micros(process.cpuUsage()) / 1e6);
			},
		});
	/** @param aggregator of several threads: `first` where it is the process's, `sum` where it is the thread's */
	const gauge = (name: string, help: string, aggregator: "first" | "sum", read: () => number) =>
		new Gauge({
			name: `router_${name}`,
			help,
			registers,
			aggregator,
			collect() {
				this.set(read());
			},
		});

	cpu("user_", "User CPU time.", ({ user }) => user);
	cpu("system_", "System CPU time.", ({ system }) => system);
	cpu("", "User and system CPU time.", ({ user, system }) => user + system);
	const started = Date.now() / 1000 - process.uptime();
	gauge("process_start_time_seconds", "When the process started, Unix time.", "first", () => started);
	gauge("process_resident_memory_bytes", "Resident memory.", "first", () => process.memoryUsage.rss());
	gauge("nodejs_heap_size_used_bytes", "JavaScript heap in use.", "sum", () => process.memoryUsage().heapUsed);
	gauge(
		"nodejs_external_memory_bytes",
		"Memory outside the heap that it holds.",
		"sum",
		() => process.memoryUsage().external,
	);
	// One descriptor a client and one an upstream: the limit of the process is met here first.
	if (process.platform === "linux")
		gauge("process_open_fds", "Open file descriptors.", "first", () => readdirSync("/proc/self/fd").length);
}
