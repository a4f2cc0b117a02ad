#!/bin/sh
# Hugging Face's Jinja for JavaScript renders a chat template that prints a list or a mapping to other text than the engines do.
#
# Seen with @huggingface/jinja 0.5.11 and jinja2 3.1.6 (which transformers and vLLM render chat templates with) on 2026-11-30.
# The guess: the package is made to render chat templates as transformers does, so that a prompt counted or hashed by it is the
# engine's. What is so: `{{ value }}` of a list, a mapping or a text within one is written as JSON, where Python writes its own form. Templates that print a tool's
# arguments without `tojson` give another prompt, with another number of tokens and other prefix blocks. So does the rest of a
# negative number. `tojson` itself agrees.
# Output seen:
#   {{ ['a', 1] }}: ["a", 1] | ['a', 1]
#   {{ {'a': none, 'b': true} }}: {"a": null, "b": true} | {'a': None, 'b': True}
#   {{ {'city': "L'Aquila"} }}: {"city": "L'Aquila"} | {'city': "L'Aquila"}
#   {{ 'a b'.split() }}: ["a", "b"] | ['a', 'b']
#   {{ -7 % 3 }}: -1 | 2
#   {{ ['a', 1] | tojson }}: ["a", 1] | ["a", 1]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent @huggingface/jinja@0.5.11
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check jinja2==3.1.6
cat >templates.json <<'JSON'
["{{ ['a', 1] }}", "{{ {'a': none, 'b': true} }}", "{{ {'city': \"L'Aquila\"} }}", "{{ 'a b'.split() }}", "{{ -7 % 3 }}", "{{ ['a', 1] | tojson }}"]
JSON
cat >seen.js <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
for (const template of JSON.parse(readFileSync("templates.json", "utf8"))) console.log(`${template}: ${new Template(template).render({})}`);
JS
cat >seen.py <<'PY'
import json
from jinja2.sandbox import ImmutableSandboxedEnvironment

environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
for template in json.load(open("templates.json")):
    print(environment.from_string(template).render())
PY
node seen.js >javascript
python/bin/python seen.py >python.txt
paste javascript python.txt | awk -F '\t' '{ print $1 " | " $2 }' | tee seen
cat >expected <<'TEXT'
{{ ['a', 1] }}: ["a", 1] | ['a', 1]
{{ {'a': none, 'b': true} }}: {"a": null, "b": true} | {'a': None, 'b': True}
{{ {'city': "L'Aquila"} }}: {"city": "L'Aquila"} | {'city': "L'Aquila"}
{{ 'a b'.split() }}: ["a", "b"] | ['a', 'b']
{{ -7 % 3 }}: -1 | 2
{{ ['a', 1] | tojson }}: ["a", 1] | ["a", 1]
TEXT
cmp -s expected seen || { echo "changed: see above" >&2; exit 1; }
