#!/usr/bin/env python3
"""Replaces the Python of a Dynamo runtime: a frontend that lists one model and returns one fixed answer, and workers
that only run. `tests/contracts/local.rs` installs it where the plugin looks for a runtime."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

EVENTS = [
    {"choices": [{"delta": {"content": "good"}}]},
    {
        "choices": [{"delta": {"content": " day"}, "finish_reason": "stop"}],
        "nvext": {"worker_id": {"prefill_worker_id": 1, "decode_worker_id": 2}},
    },
    {
        "choices": [],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
    },
]


class Frontend(BaseHTTPRequestHandler):
    def reply(self, kind, text):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        if self.path.endswith("/models"):
            document = {"object": "list", "data": [{"id": "tiny"}]}
        else:
            instances = [{"endpoint": "generate", "instance_id": number} for number in range(4)]
            document = {"status": "healthy", "instances": instances}
        self.reply("application/json", json.dumps(document))

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        lines = [f"data: {json.dumps(event)}\n\n" for event in EVENTS]
        self.reply("text/event-stream", "".join(lines) + "data: [DONE]\n\n")


def main(arguments):
    print("started", arguments, flush=True)
    if "--http-port" in arguments:
        port = int(arguments[arguments.index("--http-port") + 1])
        HTTPServer(("127.0.0.1", port), Frontend).serve_forever()
    while True:
        time.sleep(3600)


main(sys.argv[1:])
