#!/usr/bin/env python3
"""Replaces the Python of a Dynamo runtime: a frontend that lists one model and returns one fixed answer, and workers
that only run. Their metrics grow with each read. `tests/contracts/local.rs` installs it where the plugin looks for a runtime."""

import json
import os
import sys
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

FRONTEND_METRICS = """\
dynamo_frontend_requests_total{status="success",error_type=""} %d0
dynamo_frontend_requests_total{status="error",error_type="validation"} %d
dynamo_frontend_inflight_requests 1
dynamo_frontend_queued_requests 0
dynamo_frontend_time_to_first_token_seconds_bucket{le="0.1"} %d
dynamo_frontend_time_to_first_token_seconds_bucket{le="+Inf"} %d
dynamo_frontend_inter_token_latency_seconds_bucket{le="0.1"} 0
dynamo_frontend_inter_token_latency_seconds_bucket{le="+Inf"} %d
dynamo_frontend_input_sequence_tokens_sum %d0
dynamo_frontend_cached_tokens_sum %d
dynamo_frontend_output_tokens_total %d
"""
WORKER_METRICS = """\
dynamo_component_requests_total{dynamo_endpoint="generate"} %d
dynamo_component_errors_total{dynamo_endpoint="generate"} %d
vllm:num_requests_running 1
vllm:num_requests_waiting 2
vllm:kv_cache_usage_perc 0.5
vllm:num_preemptions_total %d
"""
READS = iter(range(1, 1000))


class Metrics(BaseHTTPRequestHandler):
    text = WORKER_METRICS

    def reply(self, kind, text):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.reply("text/plain", self.text.replace("%d", str(next(READS))))


class Frontend(Metrics):
    text = FRONTEND_METRICS

    def do_GET(self):
        if self.path == "/metrics":
            return super().do_GET()
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
    HTTPServer(("127.0.0.1", int(os.environ["DYN_SYSTEM_PORT"])), Metrics).serve_forever()


main(sys.argv[1:])
