/** A real nginx in front of a server: what a reverse proxy does to paths and headers. Only where there is one: see needing.ts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./redis.ts";
import { until } from "./until.ts";

/** A running one. */
export interface RunningNginx {
	/** `http://127.0.0.1:<port>`. */
	readonly url: string;
	stop(): Promise<void>;
}

/** Starts one whose paths that begin with `prefix` (`/router/`) are those of `upstream`, without it. */
export async function startNginx(prefix: string, upstream: string): Promise<RunningNginx> {
	const dir = mkdtempSync(join(tmpdir(), "router-nginx-"));
	const port = freePort();
	const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
		.map((kind) => `${kind}_temp_path ${join(dir, kind)};`)
		.join(" ");
	const config = `
daemon off; master_process off; worker_processes 1; pid ${join(dir, "nginx.pid")}; error_log stderr warn;
events { worker_connections 512; }
http {
	${temporary}
	access_log off;
	server {
		listen 127.0.0.1:${port};
		location ${prefix} { proxy_pass ${upstream}/; proxy_http_version 1.1; proxy_set_header Host $host; }
		location / { return 404; }
	}
}
`;
	const file = join(dir, "nginx.conf");
	writeFileSync(file, config);
	const child = Bun.spawn(["nginx", "-p", dir, "-c", file, "-e", "stderr"], { stdout: "ignore", stderr: "inherit" });
	const url = `http://127.0.0.1:${port}`;
	await until(async () => (await fetch(url).catch(() => undefined)) !== undefined);
	return {
		url,
		async stop() {
			child.kill("SIGKILL");
			await child.exited;
			rmSync(dir, { recursive: true, force: true });
		},
	};
}
