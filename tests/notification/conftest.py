"""A service that is told of events, as webhooks are: a real server on this machine."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import pytest


@dataclass
class Service:
    """What it is told, and how it answers."""

    port: int
    told: "Queue[dict[str, Any]]" = field(default_factory=Queue)
    status: int = 200
    is_to_answer: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """As apprise has it, with a secret in it."""
        return f"json://user:sesame@127.0.0.1:{self.port}/hook"

    def next(self) -> dict[str, Any]:
        """What it is told next."""
        return self.told.get(timeout=60)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service that answers at once; clear `is_to_answer`, and it hangs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.is_to_answer.wait(60)
            found.told.put(json.loads(body))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Service(server.server_address[1])
        found.is_to_answer.set()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        found.is_to_answer.set()
        server.shutdown()
        thread.join()
