"""A server on this machine that answers as an OpenAI-compatible one does."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, *, finish="stop", tokens=(100, 10)):
    """A chat completion as a server sends it."""
    usage = dict(zip(("prompt_tokens", "completion_tokens"), tokens, strict=True))
    choice = {"index": 0, "finish_reason": finish, "message": {"content": content}}
    return {"choices": [choice], "usage": usage}


def verdict(outcome):
    return completion(json.dumps({"outcome": outcome}))


class Server:
    """A server whose `answer(body, number)` gives (status, headers, content) for every request."""

    def __init__(self, answer, *, opens=None):
        self.answer, self.opens = answer, opens  # the only header that opens it; None: any
        self.bodies, self.keys, self.times, self.paths, self.gets = [], [], [], [], []
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                """Refuse all but the right key; there is no list of models."""
                with lock:
                    outer.gets.append(self.path)
                known = outer.opens in (None, self.headers["Authorization"])
                self.send_response(404 if known else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.bodies.append(body)
                    outer.keys.append(self.headers["Authorization"])
                    outer.times.append(time.monotonic())
                    outer.paths.append(self.path)
                    number = len(outer.bodies)
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                status, headers, content = outer.answer(body, number)
                with lock:
                    outer.at_once -= 1
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args):
                """Stay silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self):
        self.http.shutdown()
        self.http.server_close()
