#!/bin/sh
# TypeBox's Value.Default turns a mapping into an empty list where the schema's default is a list, and an empty list into a
# mapping.
#
# Seen with @sinclair/typebox 0.34.52 on 2026-11-29.
# The guess: Value.Default fills in what is missing and leaves a value that is there as it is, so that Value.Check, run behind it,
# refuses what has the wrong shape. What is so: with a default of [] it copies a mapping's properties onto a new list. The list is empty by its
# length and by JSON, and Check accepts it: what somebody wrote is gone, and nothing says so. Shapes have to be checked before.
# Output seen:
#   a mapping where a list belongs: [] accepted: true
#   an empty list where a mapping belongs: {} accepted: true
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent @sinclair/typebox@0.34.52
cat >seen.js <<'JS'
import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
const show = (what, schema, value) => {
	const filled = Value.Default(schema, value);
	console.log(`${what}: ${JSON.stringify(filled)} accepted: ${Value.Check(schema, filled)}`);
};
show("a mapping where a list belongs", Type.Array(Type.String(), { default: [] }), { one: "two" });
show("an empty list where a mapping belongs", Type.Object({}, { default: {} }), []);
JS
node seen.js | tee seen
printf '%s\n' 'a mapping where a list belongs: [] accepted: true' 'an empty list where a mapping belongs: {} accepted: true' |
	cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
