"""What the environment says of the way to a gateway: which proxy leads there, and whose certificates count.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``; ``SSL_CERT_FILE``, ``SSL_CERT_DIR``.
"""

from __future__ import annotations

import ssl
from urllib.request import getproxies, proxy_bypass

import httpx

from opper_batch.errors import MachineError


def proxy_to(url: httpx.URL) -> str | None:
    """The proxy that the environment names for ``url``."""
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{named}" if named and "://" not in named else named


def trusted(*, direct: bool) -> ssl.SSLContext:
    """The authorities of the environment, or certifi's; loading them takes time, so only for https."""
    try:
        return httpx.create_ssl_context(trust_env=not direct)
    except OSError as error:  # ssl.SSLError among them: a file without a certificate in it
        raise MachineError(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read ({error.strerror})"
        ) from None
