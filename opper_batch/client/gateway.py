"""Which gateway is called, and with which key. The key is never shown and goes to this origin only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

import httpx

from opper_batch.errors import DefinitionError
from opper_batch.text import printable

PRODUCTION = "https://api.opper.ai"
SANDBOX_ORIGIN = "sandbox"
_SHORTEST_SECRET = 8
_KEY = re.compile(r"[!-~]*")  # visible ASCII: anything else could break out of its header


@dataclass(frozen=True)
class Gateway:
    """A gateway's base URL (a path prefix is kept), the key for it, and the origin that keys answers.

    The sandbox's origin is a name and not its address, since its port changes from run to run.
    """

    base_url: str
    key: str = field(repr=False)
    origin: str

    @classmethod
    def at(cls, base_url: str, *, key: str, sandbox: bool = False) -> Gateway:
        """The gateway at ``base_url``; DefinitionError when it is none, or would get the key in clear."""
        url = _parsed(base_url.strip().rstrip("/"))
        if url.scheme == "http" and not is_loopback(url.host):
            raise DefinitionError(f"base URL {_shown(base_url)} would send the key in clear; use https")
        if not _KEY.fullmatch(key):
            raise DefinitionError("OPPER_API_KEY holds spaces or characters no key has; set it again")
        return cls(str(url), key, SANDBOX_ORIGIN if sandbox else str(url))

    @classmethod
    def from_environment(cls, base_url: str | None = None) -> Gateway:
        """From ``OPPER_API_KEY`` and ``OPPER_BASE_URL``; an empty value counts as unset."""
        key = os.environ.get("OPPER_API_KEY", "").strip()
        if not key:
            raise DefinitionError(
                "no key: set OPPER_API_KEY to call the gateway, "
                "or add --sandbox (in Python sandbox=True) to try it with synthetic answers "
                "(README.md#try-it)"
            )
        return cls.at(base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION, key=key)

    @cached_property
    def is_loopback(self) -> bool:
        return is_loopback(httpx.URL(self.base_url).host)

    def url(self, path: str) -> str:
        return self.base_url + path

    def without_key(self, body: bytes) -> bytes:
        """``body`` with the key taken out, plain or as JSON may write it: some gateways echo what they got.

        Escapes count, and escapes of escapes, since an answer may be JSON in JSON text.
        A key of a few letters is no secret, and taking it out would damage every word that holds it.
        """
        for form in self._spellings:
            body = body.replace(form, b"[key]")
        return self._escaped.sub(b"[key]", body) if self._spellings and b"\\u00" in body else body

    @cached_property
    def _spellings(self) -> tuple[bytes, ...]:
        if len(self.key) < _SHORTEST_SECRET:
            return ()
        in_json = json.dumps(self.key)[1:-1]
        return tuple({form.encode() for form in (self.key, in_json, in_json.replace("/", "\\/"))})

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        """The key with any of its characters as ``\\u00XX``, in JSON in JSON up to four deep.

        It never goes back: a body made to be slow to search is searched as fast as any other.
        """
        letters = []
        for letter in self.key:
            before = r"\\{0,16}+" if letter in '"/' else r"\\{1,8}?" if letter == "\\" else ""
            plain = before if letter == "\\" else before + re.escape(letter)
            letters.append(rf"(?:\\{{1,8}}+u00(?i:{ord(letter):02x})|{plain})")
        return re.compile("".join(letters).encode())

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What every request to the gateway carries; identity encoding, against decompression bombs."""
        return {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "opper-batch",
        }


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, so that plain http shows nothing to anybody."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parsed(text: str) -> httpx.URL:
    """The URL, its scheme and host in lower case and without the scheme's own port."""
    if re.search(r"[@?#]", text):  # not shown: what stands before an @ may be a password
        raise DefinitionError("base URL holds more than scheme, host, port and path; leave the rest out")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    in_range = url.port is None or 0 < url.port < 2**16
    if url.scheme not in ("http", "https") or not re.fullmatch(r"[^\s%]+", url.host) or not in_range:
        raise DefinitionError(f"base URL {_shown(text)} is not one; write it like {PRODUCTION}")
    return url


def _shown(base_url: str) -> str:
    return repr(printable(base_url))
