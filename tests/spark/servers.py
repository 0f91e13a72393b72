"""A server for tests of what a run tells others."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """A server that keeps what it is sent, and answers with the statuses that it is given, in turn."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    address: str = ""

    def bodies(self, path: str) -> list[Any]:
        return [json.loads(body) for _, where, _, body in self.received if where == path]


@contextmanager
def serve() -> Iterator[Server]:
    """Such a server, until the block ends."""
    kept = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept.received.append((self.command, self.path, dict(self.headers), body))
            self.send_response(kept.statuses.pop(0) if kept.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    kept.address = f"http://127.0.0.1:{http.server_address[1]}"
    yield kept
    http.shutdown()
    http.server_close()
    thread.join()
