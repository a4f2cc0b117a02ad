/** nginx's part in the bench: the cheapest upstream for whole answers, and a proxy to compare with. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ANSWER } from "./wire.ts";

/** Everything but the servers: one process in the foreground that keeps connections for ever and writes no log. */
function around(dir: string, servers: string): string {
	const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
		.map((kind) => `${kind}_temp_path ${join(dir, kind)};`)
		.join(" ");
	return `
daemon off; master_process off; worker_processes 1; pid ${join(dir, "nginx.pid")}; error_log stderr warn;
events { worker_connections 8192; }
http {
	${temporary}
	access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;
	client_max_body_size 100m; client_body_buffer_size 4m; open_file_cache max=100; etag off;
	${servers}
}
`;
}

/**
 * `whole` answers from a file, in the wire that the path names. `return` would be the shorter way, but it answers
 * before it has read the request's body, and then `fetch` opens a connection for every call: `mirror` makes nginx
 * read the body first. A POST to a file is a 405 to nginx, hence the error page.
 */
export const upstreamConfig = (dir: string, port: number): string =>
	around(
		dir,
		`server {
		listen 127.0.0.1:${port} backlog=4096; root ${dir}; types {} default_type application/json;
		location = / { return 200 '{}'; }
		location = /none { internal; return 204; }
		location /whole/ { mirror /none; error_page 405 =200 /openai.json; try_files /openai.json =404; }
		location = /whole/v1/responses { mirror /none; error_page 405 =200 /responses.json; try_files /responses.json =404; }
		location = /whole/v1/messages { mirror /none; error_page 405 =200 /claude.json; try_files /claude.json =404; }
		location ~ ^/whole/.*:generateContent$ { mirror /none; error_page 405 =200 /gemini.json; try_files /gemini.json =404; }
	}`,
	);

/** A proxy in front of `upstream` (a URL with the mode as its path), at its cheapest: nothing is buffered to a file. */
export function proxyConfig(dir: string, port: number, upstream: string): string {
	const { host, pathname } = new URL(upstream);
	return around(
		dir,
		`upstream bench { server ${host}; keepalive 1024; keepalive_requests 1000000000; }
	server {
		listen 127.0.0.1:${port} backlog=4096;
		location = / { return 200 '{}'; }
		location / {
			proxy_pass http://bench${pathname}/; proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 1h;
		}
	}`,
	);
}

/** Writes what {@link upstreamConfig} serves into `dir`. */
export function writeAnswers(dir: string): void {
	mkdirSync(dir, { recursive: true });
	for (const [wire, text] of Object.entries(ANSWER)) writeFileSync(join(dir, `${wire}.json`), text);
}
