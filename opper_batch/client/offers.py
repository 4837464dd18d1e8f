"""What a gateway offers: ``GET /v3/models``, page by page.

Shape: ``{models: [ModelInfo], total, offset, limit}``; a page has 50 models unless ``limit`` says more, at
most 500. The unit of ``pricing`` is not documented; USD per million tokens is what the numbers look like.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opper_batch.client.exchange import exchange
from opper_batch.client.gateway import PRODUCTION, Gateway
from opper_batch.client.transport import HttpxTransport, Request
from opper_batch.errors import AccessRefused, CallError, Refused, RunStopped
from opper_batch.protocol import MODELS_PATH, decode_object

_PAGE = 500
_MOST_PAGES = 200
_SECONDS = 60.0


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
    """Every model of the gateway, in its order. The key is sent when there is one; none is needed.

    Raises RunStopped when the gateway does not say, Refused when it wants another key.
    """
    url = base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION
    gateway = Gateway.at(url, key=os.environ.get("OPPER_API_KEY", "").strip())
    try:
        return asyncio.run(_all(gateway))
    except AccessRefused as error:
        raise Refused(f"{gateway.base_url} does not list its models: {error.message}") from None
    except CallError as error:
        raise RunStopped(f"{gateway.base_url} does not list its models: {error.message}") from None


async def _all(gateway: Gateway) -> list[Offer]:
    transport = HttpxTransport(direct=gateway.is_loopback, seconds=_SECONDS)
    entries: list[object] = []
    try:
        for _ in range(_MOST_PAGES):
            fields = await _page(transport, gateway, offset=len(entries))
            page, total = fields.get("models"), fields.get("total")
            entries += page if isinstance(page, list) else []
            if not page or (isinstance(total, int) and len(entries) >= total):
                break
    finally:
        await transport.close()
    return [_offer(entry) for entry in entries if isinstance(entry, dict)]


async def _page(transport: HttpxTransport, gateway: Gateway, *, offset: int) -> Mapping[str, Any]:
    headers = dict(gateway.headers)
    if not gateway.key:
        del headers["Authorization"]
    url = gateway.url(f"{MODELS_PATH}?limit={_PAGE}&offset={offset}")
    response = await exchange(gateway, transport, Request("GET", url, headers))
    return decode_object(response.status, response.headers, response.body)


def _offer(entry: dict[str, Any]) -> Offer:
    pricing = entry.get("pricing")
    pricing = pricing if isinstance(pricing, dict) else {}
    return Offer(
        id=str(entry.get("id")),
        type=str(entry.get("type")),
        input_price=_tiers(pricing.get("input")),
        output_price=_tiers(pricing.get("output")),
        retired_at=entry.get("retired_at"),
        successor=entry.get("successor"),
    )


def _tiers(prices: object) -> list[float] | None:
    """One price for each tier; None for anything that is no list of numbers."""
    if not isinstance(prices, list) or not all(isinstance(price, int | float) for price in prices):
        return None
    return prices


def _prices(tiers: list[float] | None) -> str:
    return ", ".join(f"{price:g}" for price in tiers) if tiers else "–"
