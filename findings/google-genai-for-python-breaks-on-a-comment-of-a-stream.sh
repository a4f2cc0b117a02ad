#!/bin/sh
# Google's client for Python takes a comment in a stream, which servers and proxies send to keep a connection open, for a broken answer.
#
# Seen with google-genai 3.6.1 and Python 3.11 on 2026-11-30.
# The guess: a client of server-sent events passes over a line that begins with a colon, as the specification of event streams says
# (https://html.spec.whatwg.org/multipage/server-sent-events.html), so that a proxy may keep a slow answer's connection open by `: ping`. What is
# so: the comment is parsed as JSON, wherever it stands, and the call fails; so does one whose event has a name. Empty lines are passed over.
# Output seen:
#   no comment: hello
#   empty lines first: hello
#   a comment first: UnknownApiResponseError
#   a comment behind the last event: UnknownApiResponseError
#   an event with a name: UnknownApiResponseError
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check google-genai==3.6.1
cat >seen.py <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google import genai
from google.genai import types

ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP", "index": 0}]}
EVENT = f"data: {json.dumps(ANSWER)}\n\n"


class Handler(BaseHTTPRequestHandler):
    stream = ""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(Handler.stream.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}")
client = genai.Client(api_key="k", http_options=options)


def show(what, stream):
    Handler.stream = stream
    try:
        seen = "".join(chunk.text for chunk in client.models.generate_content_stream(model="m", contents="hi"))
    except Exception as error:
        seen = type(error).__name__
    print(f"{what}: {seen}")


show("no comment", EVENT)
show("empty lines first", "\n\n" + EVENT)
show("a comment first", ": ping\n\n" + EVENT)
show("a comment behind the last event", EVENT + ": ping\n\n")
show("an event with a name", "event: message\n" + EVENT)
PY
python/bin/python seen.py | tee seen
printf '%s\n' 'no comment: hello' 'empty lines first: hello' 'a comment first: UnknownApiResponseError' \
	'a comment behind the last event: UnknownApiResponseError' 'an event with a name: UnknownApiResponseError' | cmp -s - seen ||
	{ echo "changed: see above" >&2; exit 1; }
