"""An OpenAI-compatible server whose answer depends on the name of the requested model.

Usage: odd_server.py PORT
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def event(fields):
    return f"data: {json.dumps(fields)}\n\n"


def chunk(model, delta, reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, content_type="application/json"):
        body = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model = request["model"]
        if model == "no-workers":
            return self.answer(503, {"message": "no workers", "type": "Service Unavailable", "code": 503})
        if model == "unknown-model":
            return self.answer(404, {"message": f"Model not found: {model}", "type": "Not Found", "code": 404})
        if not request.get("stream"):
            message = {"role": "assistant", "content": "hello"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            fields = {"id": "x", "object": "chat.completion", "created": 1, "model": model}
            return self.answer(200, {**fields, "choices": [choice], "usage": usage})
        stream = chunk(model, {"role": "assistant", "content": "hello"})
        if model == "error-in-stream":
            stream += event({"error": {"message": "engine is dead", "type": "internal", "code": 503}})
        else:
            stream += chunk(model, {}, "stop") + "data: [DONE]\n\n"
        self.answer(200, stream, "text/event-stream")


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
