"""The ways to a gateway: TLS and whom it trusts, proxies, addresses."""

from __future__ import annotations

import asyncio
import base64
import gc
import shutil
import socket
import ssl
import subprocess
import threading
import time
import weakref
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from wire import CARRIERS, Wire, Writer, echo, free_port, post, reply, saying, sent

from opper_batch.client import Transport
from opper_batch.client.bodies import Bodies
from opper_batch.client.downloads import Downloads
from opper_batch.client.lean import LeanTransport
from opper_batch.errors import MachineError, Unreachable
from opper_batch.protocol import OperationStatus
from opper_batch.records import Operation


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def transport(carrier: Any) -> Transport:
    made: Transport = carrier(direct=True, seconds=10.0)
    return made


# TLS, with certificates made on the spot.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server(authority: trustme.CA, name: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
    """A server that ``authority`` vouches for under ``name``."""
    past = datetime.now(UTC) - timedelta(days=1)
    issued = authority.issue_cert(name, not_before=past, not_after=past) if expired else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (issued or authority.issue_cert(name)).configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that trusts ``authority`` and goes past proxies for this machine."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    return path


def test_a_trusted_certificate_is_accepted_and_its_connection_kept(
    carrier: Any, authority: trustme.CA, trusting: Path
) -> None:
    wire = Wire(echo, tls=server(authority))
    answers = sent(wire, *[post("", b"%d" % n) for n in range(5)], transport=carrier(seconds=10.0))
    assert [answer.body for answer in answers] == [b"0", b"1", b"2", b"3", b"4"]
    assert wire.connections == 1


def test_a_folder_of_certificates_is_trusted_too(
    carrier: Any, authority: trustme.CA, trusting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    folder = trusting.parent / "authorities"
    folder.mkdir()
    hashed = subprocess.run(
        [openssl(), "x509", "-hash", "-noout", "-in", str(trusting)],
        capture_output=True,
        check=True,
        text=True,
    )
    trusting.rename(folder / f"{hashed.stdout.strip()}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    (answer,) = sent(Wire(echo, tls=server(authority)), post("", b"x"), transport=carrier(seconds=10.0))
    assert answer.body == b"x"


def openssl() -> str:
    return shutil.which("openssl") or pytest.skip(
        "naming a certificate by its hash needs the openssl command"
    )


@pytest.mark.parametrize(
    ("name", "expired", "said"),
    [
        ("elsewhere.example", False, "certificate.*IP address mismatch"),
        ("127.0.0.1", True, "certificate has expired"),
    ],
)
def test_a_certificate_of_another_host_or_time_is_refused_before_anything_is_sent(
    carrier: Any, authority: trustme.CA, trusting: Path, name: str, expired: bool, said: str
) -> None:
    wire = Wire(echo, tls=server(authority, name, expired=expired))
    with pytest.raises(Unreachable, match=said) as caught:
        sent(wire, post(""), transport=carrier(seconds=10.0))
    assert not caught.value.paid
    assert wire.requests == []


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    transport: Transport, authority: trustme.CA
) -> None:
    wire = Wire(echo, tls=server(authority))
    with pytest.raises(Unreachable, match="certificate") as caught:
        sent(wire, post(""), transport=transport)
    assert not caught.value.paid
    assert wire.requests == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_certificates_that_cannot_be_read_is_a_sentence(
    carrier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "missing.pem"
    if content:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(MachineError, match="SSL_CERT_FILE"):
        asyncio.run(carrier(seconds=1.0).send(post("https://127.0.0.1:9/v3/call")))


def test_a_server_that_speaks_no_tls_was_not_paid(transport: Transport) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(plain, "127.0.0.1", 0) as wire:
            port = wire.sockets[0].getsockname()[1]
            with pytest.raises(Unreachable) as caught:
                await transport.send(post(f"https://127.0.0.1:{port}/v3/call"))
            assert not caught.value.paid
            await transport.close()

    asyncio.run(run())


@pytest.mark.parametrize("end", ["abort", "close"])
def test_an_end_over_tls_that_only_asyncio_has_heard_of_costs_no_attempt(
    authority: trustme.CA, trusting: Path, end: str
) -> None:
    """asyncio tells a protocol over TLS a turn of the loop late; a request may leave before."""
    writers: list[Writer] = []

    async def answer(request: bytes, writer: Writer) -> None:
        writers.append(writer)
        await echo(request, writer)

    async def run() -> None:
        transport = LeanTransport(seconds=10.0)
        async with Wire(answer, tls=server(authority)) as wire:
            await transport.send(post(wire.url))
            (kept,) = transport._dialer._open
            getattr(writers[0].transport, end)()
            async with asyncio.timeout(5):
                while not kept._transport.is_closing():
                    await asyncio.sleep(0)
            assert (await transport.send(post(wire.url, b"next"))).body == b"next"
            assert (wire.connections, len(wire.requests)) == (2, 2)
            await transport.close()

    asyncio.run(run())


def test_requests_over_tls_cancelled_at_any_moment_leave_nothing(
    authority: trustme.CA, trusting: Path
) -> None:
    async def run() -> None:
        transport = LeanTransport(seconds=10.0)
        async with Wire(echo, tls=server(authority)) as wire:
            for moment in (0.0, 0.001, 0.002, 0.004, 0.008, 0.016):
                tasks = [asyncio.create_task(transport.send(post(wire.url, b"x"))) for _ in range(5)]
                await asyncio.sleep(moment)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert (await transport.send(post(wire.url, b"whole"))).body == b"whole"
            await transport.close()

    asyncio.run(run())
    gc.collect()  # what was left open would warn now


def test_nothing_is_trusted_before_something_is_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**settings: Any) -> None:
        raise AssertionError("authorities were loaded")

    monkeypatch.setattr("httpx.create_ssl_context", never)
    assert sent(Wire(echo), post("", b"plain"), transport=LeanTransport(direct=True))[0].body == b"plain"


# Addresses.


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_both_kinds_of_address_work_by_number_and_by_name(transport: Transport, host: str) -> None:
    async def run() -> None:
        try:
            wire = await Wire(echo, host=host).__aenter__()
        except OSError:
            pytest.skip("this machine has no IPv6")
        try:
            for name in ["[::1]"] if ":" in host else [host, "localhost"]:
                url = f"http://{name}:{wire.port}/v3/call"
                assert (await transport.send(post(url, b"x"))).body == b"x"
                assert f"Host: {name}:{wire.port}".lower().encode() in wire.requests[-1].lower()
        finally:
            await transport.close()
            await wire.__aexit__()

    asyncio.run(run())


# Proxies that the environment names.


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used_and_never_sees_the_key(
    carrier: Any, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async def run() -> None:
        async with Wire(saying(reply(b"", status="403 Forbidden"))) as proxy:
            monkeypatch.setenv("https_proxy", f"{scheme}127.0.0.1:{proxy.port}")
            transport = carrier(seconds=10.0)
            with pytest.raises(Unreachable) as caught:
                await transport.send(post("https://gateway.example/v3/call"))
            assert not caught.value.paid
            assert proxy.requests[0].startswith(b"CONNECT gateway.example:443 ")
            assert b"Bearer" not in b"".join(proxy.requests)

    asyncio.run(run())


def test_a_direct_transport_goes_past_the_environments_proxy(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert sent(Wire(echo), post("", b"direct"), transport=transport)[0].body == b"direct"


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://127.0.0.1:1",
        "carrier-pigeon://127.0.0.1",
        "http://127.0.0.1:secret",
        "http://ann:secret/word@127.0.0.1:1",
        "http://[::1",
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_sentence(
    carrier: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: str
) -> None:
    async def download() -> None:
        ready = OperationStatus("completed", url="https://files.example/a")
        share = Bodies().share()
        downloads = Downloads(tmp_path, loopback=False)
        await downloads.fetch(Operation("a", "image"), ready, name="a", share=share)

    monkeypatch.setenv("https_proxy", proxy)
    for going in (carrier(seconds=1.0).send(post("https://gateway.example/v3/call")), download()):
        with pytest.raises(MachineError, match="names a proxy that cannot be used") as caught:
            asyncio.run(going)
        assert "secret" not in str(caught.value)


def test_a_proxys_port_that_no_machine_has_is_a_sentence(
    carrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:99999")
    with pytest.raises(MachineError, match="there is no such port"):
        asyncio.run(carrier(seconds=1.0).send(post("https://gateway.example/v3/call")))


class Tunnel:
    """A proxy that leads every CONNECT to ``port``; ``asked`` holds what it was told."""

    def __init__(self, port: int) -> None:
        self.asked: list[bytes] = []
        self._port = port
        self._running: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Tunnel:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await asyncio.gather(*(task for task in self._running if task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._running.add(asyncio.current_task())
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, away = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, away), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


def test_calls_go_through_a_proxy_that_wants_a_password(
    carrier: Any, authority: trustme.CA, trusting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        wire = Wire(echo, tls=server(authority, "gateway.example"))
        async with wire, Tunnel(wire.port) as proxy:
            monkeypatch.setenv("https_proxy", f"http://ann:p%40ss@127.0.0.1:{proxy.port}")
            transport = carrier(seconds=10.0)
            for number in range(3):
                answer = await transport.send(post("https://gateway.example/v3/call", b"%d" % number))
                assert answer.body == b"%d" % number
            assert len(proxy.asked) == 1
            assert proxy.asked[0].startswith(b"CONNECT gateway.example:443 ")
            assert b"Basic " + base64.b64encode(b"ann:p@ss") in proxy.asked[0]
            assert b"Bearer" not in proxy.asked[0]
            await transport.close()

    asyncio.run(run())
    gc.collect()


def test_what_no_proxy_names_is_reached_directly(
    carrier: Any, authority: trustme.CA, trusting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    (answer,) = sent(Wire(echo, tls=server(authority)), post("", b"x"), transport=carrier(seconds=10.0))
    assert answer.body == b"x"


@pytest.mark.parametrize("tls", [False, True])
def test_what_is_closed_is_not_kept(authority: trustme.CA, trusting: Path, tls: bool) -> None:
    """Over TLS each would hold a quarter of a megabyte until somebody looks for garbage."""

    async def ending(request: bytes, writer: Writer) -> None:
        writer.write(reply(b"", "Connection: close"))

    async def run() -> None:
        transport = LeanTransport(seconds=10.0)
        async with Wire(ending, tls=server(authority) if tls else None) as wire:
            await transport.send(post(wire.url))
            gone = [weakref.ref(connection) for connection in transport._dialer._open]
            async with asyncio.timeout(5):
                while transport._dialer.open:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert [ref() for ref in gone] == [None]
            await transport.close()

    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()


def test_a_large_answer_over_tls_is_whole_though_the_connection_ends_behind_it(
    authority: trustme.CA, trusting: Path
) -> None:
    """All of it, and the end, lie there when the client's loop, which was busy, looks."""
    large = b"x" * 1_000_000

    def serve(listening: socket.socket) -> None:
        for _ in range(times):
            plain, _ = listening.accept()
            with server(authority).wrap_socket(plain, server_side=True) as connection:
                connection.recv(10_000)
                connection.sendall(reply(large, "Connection: close"))

    async def busy() -> None:
        await asyncio.sleep(0.003)
        for _ in range(8):
            time.sleep(0.005)
            await asyncio.sleep(0)

    async def run(port: int) -> None:
        transport = LeanTransport(seconds=10.0)
        for _ in range(times):
            meanwhile = asyncio.create_task(busy())
            assert (await transport.send(post(f"https://127.0.0.1:{port}/v3/call"))).body == large
            await meanwhile
        await transport.close()

    times = 15
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)
        serving = threading.Thread(target=serve, args=(listening,), daemon=True)
        serving.start()
        asyncio.run(run(listening.getsockname()[1]))
        serving.join(10)
