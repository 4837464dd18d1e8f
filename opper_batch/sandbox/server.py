"""The sandbox as a server on loopback: in a thread of its own, or in the foreground for a shell."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

from opper_batch.errors import DefinitionError, MachineError
from opper_batch.sandbox.doorway import Doorway
from opper_batch.sandbox.gateway import Gateway
from opper_batch.sandbox.journal import Journal
from opper_batch.sandbox.listening import BACKLOG, Server
from opper_batch.sandbox.routes import ABOUT, application
from opper_batch.sandbox.script import Script

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


class Sandbox:
    """A gateway that speaks v3 at ``url`` and does what ``script`` says, inside ``with`` or until ``stop``.

    ``port`` 0 takes a free one; only loopback addresses are served. ``journal`` is what was asked; with
    ``journal_path`` it is also appended there, line by line. Raises MachineError when the port is taken.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        journal_path: str | Path | None = None,
        journal_limit: int = 100_000,
    ) -> None:
        _check_loopback(host)
        self.script = script or Script()
        self._socket = _bound(host, port)
        try:
            self.journal = Journal(journal_path, limit=journal_limit)
        except MachineError:
            self._socket.close()
            raise
        address = f"[{host}]" if ":" in host else host
        self.url = f"http://{address}:{self._socket.getsockname()[1]}"
        gateway = Gateway(self.script)
        self._server = Server(Doorway(application(gateway, self.journal), self.script, self.journal))
        self._thread = threading.Thread(target=self._run, name="opper-sandbox", daemon=True)

    def start(self) -> Sandbox:
        """Serve until ``stop``; ready when this returns."""
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            raise MachineError(f"The sandbox at {self.url} did not start within {_START_SECONDS:.0f} s.")
        return self

    def stop(self) -> None:
        """Close every connection, answered or not, and end. Stopping twice is fine."""
        self._server.end()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._socket.close()
        self.journal.close()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Sandbox {self.url}, synthetic answers>"

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def serve(
    script: Script,
    port: int = 0,
    journal_path: str | Path | None = None,
    announce: Callable[[str], None] = print,
    host: str = "127.0.0.1",
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then return; ``announce`` is told what and where."""
    stop = threading.Event()
    with _until_signal(stop), Sandbox(script, port=port, host=host, journal_path=journal_path) as sandbox:
        announce(banner(sandbox.url))
        while not stop.wait(1.0):
            pass


def banner(url: str) -> str:
    """What a person is told at the start."""
    return f"{ABOUT}\nServing at {url} (OPPER_BASE_URL={url}, any OPPER_API_KEY); Ctrl-C stops it."


@contextmanager
def _until_signal(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop`` in here, and mean what they meant before afterwards."""

    def asked_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, asked_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, meaning in before.items():
            signal.signal(number, meaning or signal.SIG_DFL)


def _check_loopback(host: str) -> None:
    with suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    raise DefinitionError(
        f"The sandbox serves this machine only and cannot listen on {host!r}: use 127.0.0.1."
    )


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that no connection is refused while the server starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Told that it is TCP, asyncio turns off the delay that would hold back each reply's second packet.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        found.close()
        why = getattr(error, "strerror", None) or str(error)
        raise MachineError(
            f"The sandbox cannot listen on {host}:{port} ({why}); choose another port."
        ) from error
    return found
