"""A service on loopback that speaks OpenAI's chat completions, for examples that talk to a model once there is a key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelStub:
    """Says how many messages it was shown.

    ``gate``: while it is closed, a streamed answer stops after its first piece. ``abandoned`` is set when a client has gone away then.
    """

    def __init__(self) -> None:
        self.seen: list[list[dict[str, Any]]] = []
        self.gate, self.abandoned = threading.Event(), threading.Event()
        self.gate.set()
        self.url = ""

    @property
    def settings(self) -> dict[str, str]:
        """What makes a program talk to it."""
        return {"OPENAI_API_KEY": "a-key", "OPENAI_BASE_URL": self.url, "OPENAI_MODEL": "gpt-4o-mini"}


@contextmanager
def serving() -> Iterator[ModelStub]:
    stub = ModelStub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.seen.append(body["messages"])
            text = f"I see {len(body['messages'])}."
            if body.get("stream"):
                self.stream(text)
            else:
                self.whole(text, body["model"])

        def whole(self, text: str, model: str) -> None:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            document = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
            self.start("application/json")
            self.wfile.write(json.dumps(document).encode())

        def stream(self, text: str) -> None:
            self.start("text/event-stream")
            for word in text.split():
                piece = {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                if not stub.gate.is_set() and self.connection.recv(1) == b"":
                    stub.abandoned.set()
                    return
            self.wfile.write(b"data: [DONE]\n\n")

        def start(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield stub
        server.shutdown()
        thread.join()
