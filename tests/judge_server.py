"""A judge on loopback that speaks OpenAI's chat API, says what a function says, and counts what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JUDGE = "openai-api/loopback/judge"
Reply = str | tuple[str, str]
"""What is said; with why it ended, where that is not `stop`."""


class Served:
    """What a judge was asked, and where it listens."""

    def __init__(self, address: str) -> None:
        self.environment = {"LOOPBACK_BASE_URL": f"{address}/v1", "LOOPBACK_API_KEY": "none"}
        self.asked: list[str] = []
        self.lock = threading.Lock()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # of five, the default, some that come at once are turned away


@contextmanager
def judge(says: Callable[[str], Reply]) -> Iterator[Served]:
    """A judge that listens until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # the name http.server wants
            told: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = told["messages"][-1]["content"]
            with served.lock:
                served.asked.append(prompt)
            said = says(prompt)
            text, ended = said if isinstance(said, tuple) else (said, "stop")
            usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4, "total_tokens": (len(prompt) + len(text)) // 4}
            message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended}
            body = json.dumps(
                {"id": "1", "object": "chat.completion", "created": 0, "model": told["model"], "choices": [message], "usage": usage}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
