"""A gateway over plain sockets, for answers that no server library would send, or not fast enough."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The row's column ``text``; empty where nothing was posted."""
        return str(json.loads(self.body)["input"]["text"]) if self.body else ""


@dataclass(frozen=True)
class Said:
    """An answer: a body that is bytes is framed by its length, any other by chunks until it ends."""

    code: int
    body: bytes | Callable[[], Iterable[bytes]]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RawGateway:
    """``url``, and everything that was ``asked`` there."""

    url: str
    asked: list[Asked]


@contextmanager
def raw_gateway(answer: Callable[[Asked], Said], *, spans: bool = False) -> Iterator[RawGateway]:
    """One that says what ``answer`` gives; without ``spans`` it knows none, and does not count who asks."""
    asked: list[Asked] = []

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if self.path == "/v3/spans" and not spans:
                self._send(Said(404, b"{}"))
                return
            asked.append(Asked(self.command, self.path, headers, body))
            with suppress(OSError):  # the client left, as it should where there is no end
                self._send(answer(asked[-1]))
                return
            self.close_connection = True

        do_GET = do_POST

        def _send(self, said: Said) -> None:
            self.send_response(said.code)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if isinstance(said.body, bytes):
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in said.body():
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield RawGateway(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()
