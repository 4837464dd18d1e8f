"""Which gateway is called, and with which key. The key is never shown and goes to this origin only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from opper_batch.errors import DefinitionError

PRODUCTION = "https://api.opper.ai"
SANDBOX_ORIGIN = "sandbox"


@dataclass(frozen=True, slots=True)
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
        parts = urlsplit(base_url.strip().rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DefinitionError(f"base URL {base_url!r} is not one; write it like {PRODUCTION}")
        if parts.username or parts.query or parts.fragment:
            raise DefinitionError("base URL holds more than scheme, host, port and path; leave the rest out")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise DefinitionError(f"base URL {base_url!r} would send the key in clear; use https")
        if not key.isascii() or any(character.isspace() for character in key):
            raise DefinitionError("OPPER_API_KEY holds spaces or characters no key has; set it again")
        origin = SANDBOX_ORIGIN if sandbox else f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"
        return cls(parts.geturl(), key, origin)

    @classmethod
    def from_environment(cls, base_url: str | None = None) -> Gateway:
        """From ``OPPER_API_KEY`` and ``OPPER_BASE_URL``; an empty value counts as unset."""
        key = os.environ.get("OPPER_API_KEY", "").strip()
        if not key:
            raise DefinitionError(
                "no key: set OPPER_API_KEY to call the gateway, "
                "or add --sandbox to try it with synthetic answers"
            )
        return cls.at(base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION, key=key)

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    def url(self, path: str) -> str:
        return self.base_url + path

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the gateway carries; identity encoding, against decompression bombs."""
        return {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "opper-batch",
        }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
