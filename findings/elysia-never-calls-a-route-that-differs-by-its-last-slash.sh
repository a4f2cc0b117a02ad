#!/bin/sh
# Elysia never calls the second of two routes that differ by a slash at their end: the first answers both paths.
#
# Seen with elysia 1.4.30 on 2026-11-29.
# The guess: that `/a` answers `/a/`, too, is a help for paths that no route has, so that a route of its own for `/a/` goes before it. What is
# so: the first route takes both paths, in whatever order they stand, and the second is dropped without a word. With `strictPath: true`
# each has its own, and a path without a route is a 404.
# Output seen:
#   /a, then /a/: /a by "/a", /a/ by "/a"
#   /a/, then /a: /a by "/a/", /a/ by "/a/"
#   /a, then /a/, strictPath: /a by "/a", /a/ by "/a/"
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent elysia@1.4.30
cat >seen.js <<'JS'
import { Elysia } from "elysia";
async function show(what, paths, options) {
	const app = new Elysia(options);
	for (const path of paths) app.get(path, () => path);
	const by = async (path) => `${path} by "${await (await app.handle(new Request(`http://localhost${path}`))).text()}"`;
	console.log(`${what}: ${await by("/a")}, ${await by("/a/")}`);
}
await show("/a, then /a/", ["/a", "/a/"]);
await show("/a/, then /a", ["/a/", "/a"]);
await show("/a, then /a/, strictPath", ["/a", "/a/"], { strictPath: true });
JS
node seen.js | tee seen
printf '%s\n' '/a, then /a/: /a by "/a", /a/ by "/a"' '/a/, then /a: /a by "/a/", /a/ by "/a/"' \
	'/a, then /a/, strictPath: /a by "/a", /a/ by "/a/"' | cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
