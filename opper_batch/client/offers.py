"""What a gateway offers: ``GET /v3/models``, page by page.

Shape: ``{models: [ModelInfo], total, offset, limit}``; a page has 50 models unless ``limit`` says more, at
most 500. The unit of ``pricing`` is not documented; USD per million tokens is what the numbers look like.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from opper_batch.client.gateway import PRODUCTION, Gateway
from opper_batch.client.transport import CONNECT_SECONDS
from opper_batch.errors import CallError, RunStopped
from opper_batch.protocol import MODELS_PATH, decode_object

_PAGE = 500
_MOST_PAGES = 200


@dataclass(frozen=True, slots=True)
class Offer:
    """A model; prices are lists since some have tiers, None when the gateway names none."""

    id: str
    type: str
    input_price: list[float] | None
    output_price: list[float] | None
    retired_at: str | None
    successor: str | None

    @property
    def price(self) -> str:
        return f"{_prices(self.input_price)} / {_prices(self.output_price)}"

    @property
    def note(self) -> str:
        if not self.retired_at:
            return ""
        return f"  retired {self.retired_at}" + (f", use {self.successor}" if self.successor else "")


def offers(base_url: str | None = None) -> list[Offer]:
    """Every model of the gateway, in its order. The key is sent when there is one; none is needed."""
    url = base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION
    gateway = Gateway.at(url, key=os.environ.get("OPPER_API_KEY", "").strip())
    headers = gateway.headers if gateway.key else {"Accept-Encoding": "identity"}
    timeout = httpx.Timeout(60, connect=CONNECT_SECONDS)
    with httpx.Client(headers=headers, timeout=timeout, trust_env=not gateway.is_loopback) as client:
        try:
            return [offer for page in _pages(client, gateway) for offer in page]
        except httpx.TransportError as error:
            raise RunStopped(
                f"{gateway.base_url} does not answer ({type(error).__name__}); try again"
            ) from None
        except CallError as error:
            raise RunStopped(f"{gateway.base_url} does not list its models: {error.message}") from None


def _pages(client: httpx.Client, gateway: Gateway) -> Iterator[list[Offer]]:
    offset = 0
    for _ in range(_MOST_PAGES):
        query = {"limit": _PAGE, "offset": offset}
        response = client.get(gateway.url(MODELS_PATH), params=query)
        fields = decode_object(response.status_code, response.headers, response.content)
        page = [_offer(entry) for entry in fields.get("models") or [] if isinstance(entry, dict)]
        yield page
        offset += len(page)
        if not page or offset >= int(fields.get("total") or 0):
            return


def _offer(entry: dict[str, Any]) -> Offer:
    pricing = entry.get("pricing") or {}
    return Offer(
        id=str(entry.get("id")),
        type=str(entry.get("type")),
        input_price=pricing.get("input"),
        output_price=pricing.get("output"),
        retired_at=entry.get("retired_at"),
        successor=entry.get("successor"),
    )


def _prices(tiers: list[float] | None) -> str:
    return ", ".join(f"{price:g}" for price in tiers) if tiers else "–"
