/** The bare relay that everything is compared with, the smallest one Bun can be: `bun relay.ts PORT UPSTREAM_URL`. */
const [, , port, upstream] = process.argv;

Bun.serve({
	hostname: "127.0.0.1",
	port: Number(port),
	idleTimeout: 0,
	development: false,
	async fetch(request) {
		if (request.method === "GET") return new Response("ok");
		const answer = await fetch(upstream + new URL(request.url).pathname, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: await request.arrayBuffer(),
			signal: request.signal,
		});
		return new Response(answer.body, { headers: { "content-type": answer.headers.get("content-type") ?? "" } });
	},
});
