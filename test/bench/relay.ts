/** The bare relay that everything is compared with, the smallest one Bun can be: `bun relay.ts PORT UPSTREAM_URL`. */
const [, , port, upstream] = process.argv;

Bun.serve({
	hostname: "127.0.0.1",
	port: Number(port),
	idleTimeout: 0,
	development: false,
	fetch: (request) => fetch(upstream + new URL(request.url).pathname, request),
});
