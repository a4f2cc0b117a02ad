/** How many CPUs the process may use, by what the system says. */

import { describe, expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import { allowedCpus, cgroupCpus } from "../src/server/threads/cpus.ts";

/** A system of these files. */
const cpus = (files: Record<string, string>) => cgroupCpus((path) => files[path]);
const V1 = "12:memory:/x\n4:cpu,cpuacct:";

describe("cgroups limit nothing", () => {
	test.each([
		["there are none", {}],
		["theirs is none", { "/proc/self/cgroup": "0::/\n" }],
		["it is max", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n" }],
		[
			"it is -1",
			{
				"/proc/self/cgroup": `${V1}/\n`,
				"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
				"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
			},
		],
		[
			"the files are not what they were to be",
			{ "/proc/self/cgroup": "nonsense\n::\n0::/\n", "/sys/fs/cgroup/cpu.max": "\n" },
		],
	] as [string, Record<string, string>][])("where %s", (_, files) => {
		expect(cpus(files)).toBe(Number.POSITIVE_INFINITY);
	});
});

describe("cgroups limit the process", () => {
	test("by its own group of version 2", () => {
		const unit = { "/proc/self/cgroup": "0::/system.slice/router.service\n" };
		expect(cpus({ ...unit, "/sys/fs/cgroup/system.slice/router.service/cpu.max": "250000 100000\n" })).toBe(2.5);
	});

	test("by the least of a group and all that it is in", () => {
		const files = {
			"/proc/self/cgroup": "0::/a/b\n",
			"/sys/fs/cgroup/a/b/cpu.max": "400000 100000",
			"/sys/fs/cgroup/a/cpu.max": "150000 50000",
			"/sys/fs/cgroup/cpu.max": "max 100000",
		};
		expect(cpus(files)).toBe(3);
	});

	test("in a container whose paths are the host's, or lead out of it", () => {
		for (const path of ["/docker/0123", "/../../0123", "/"]) {
			expect(cpus({ "/proc/self/cgroup": `0::${path}\n`, "/sys/fs/cgroup/cpu.max": "200000 100000" })).toBe(2);
		}
	});

	test.each(["cpu,cpuacct", "cpu"])("of version 1, mounted as %s", (mount) => {
		const files = {
			"/proc/self/cgroup": `${V1}/docker/0123\n`,
			[`/sys/fs/cgroup/${mount}/cpu.cfs_quota_us`]: "50000\n",
			[`/sys/fs/cgroup/${mount}/cpu.cfs_period_us`]: "100000\n",
		};
		expect(cpus(files)).toBe(0.5);
	});
});

test("this process may use some CPU, and no more than it may run on", () => {
	expect(allowedCpus()).toBeGreaterThan(0);
	expect(allowedCpus()).toBeLessThanOrEqual(availableParallelism());
});
