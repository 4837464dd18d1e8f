"""What a gateway offers: ``GET /v3/models``, page by page.

Shape: ``{models: [ModelInfo], total, offset, limit}``; a page has 50 models unless ``limit`` says more, at
most 500. The unit of ``pricing`` is not documented; USD per million tokens is what the numbers look like.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opper_batch.client.exchange import exchange
from opper_batch.client.gateway import PRODUCTION, Gateway
from opper_batch.client.network import network
from opper_batch.client.transport import Request, Transport
from opper_batch.errors import AccessRefused, CallError, Refused, RunStopped
from opper_batch.protocol import MODELS_PATH, decode_object
from opper_batch.text import printable, shortened

_PAGE = 500
_MOST_PAGES = 200
_SECONDS = 60.0
_MOST_ALIASES = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """A model; prices are lists since some have tiers, None when the gateway names none."""

    id: str
    type: str
    input_price: list[float] | None
    output_price: list[float] | None
    retired_at: str | None
    successor: str | None
    thresholds: list[int] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)

    def cost(self, input_tokens: float, output_tokens: float) -> float | None:
        """USD of a call by the price; None when there is none. A tier counts above its threshold."""
        if not self.input_price or not self.output_price:
            return None
        tier = bisect_left(self.thresholds, input_tokens)
        prices = (tiers[min(tier, len(tiers) - 1)] for tiers in (self.input_price, self.output_price))
        return sum(
            price * tokens / 1e6 for price, tokens in zip(prices, (input_tokens, output_tokens), strict=True)
        )

    @property
    def price(self) -> str:
        return f"{_prices(self.input_price)} / {_prices(self.output_price)}"

    @property
    def note(self) -> str:
        if not self.retired_at:
            return ""
        return f"  retired {self.retired_at}" + (f", use {self.successor}" if self.successor else "")


def offers(base_url: str | None = None, *, seconds: float = _SECONDS) -> list[Offer]:
    """Every model of the gateway, in its order. The key is sent when there is one; none is needed.

    ``seconds`` is how long each page is waited for. Raises RunStopped when the gateway does not say, Refused
    when it wants another key.
    """
    url = base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION
    gateway = Gateway.at(url, key=os.environ.get("OPPER_API_KEY", "").strip())
    try:
        return asyncio.run(_all(gateway, seconds))
    except AccessRefused as error:
        raise Refused(f"no list of models from {gateway.base_url}: {error.message}") from None
    except CallError as error:
        raise RunStopped(f"no list of models from {gateway.base_url}: {error.message}") from None


async def _all(gateway: Gateway, seconds: float) -> list[Offer]:
    transport = network(direct=gateway.is_loopback, seconds=seconds)
    entries: list[Offer | None] = []
    try:
        for _ in range(_MOST_PAGES):
            fields = await _page(transport, gateway, offset=len(entries))
            page, total = fields.get("models"), fields.get("total")
            # Read page by page, and no more of each than was asked for: what is kept stays small.
            entries += map(read_offer, page[:_PAGE]) if isinstance(page, list) else []
            if not page or (isinstance(total, int) and len(entries) >= total):
                break
    finally:
        await transport.close()
    return [entry for entry in entries if entry]


async def _page(transport: Transport, gateway: Gateway, *, offset: int) -> Mapping[str, Any]:
    headers = dict(gateway.headers)
    if not gateway.key:
        del headers["Authorization"]
    url = gateway.url(f"{MODELS_PATH}?limit={_PAGE}&offset={offset}")
    response = await exchange(gateway, transport, Request("GET", url, headers))
    return decode_object(response.status, response.headers, response.body)


def read_offer(entry: object) -> Offer | None:
    """The model as ``GET /v3/models`` lists it; None for what is no model."""
    if not isinstance(entry, dict):
        return None
    pricing = entry.get("pricing")
    pricing = pricing if isinstance(pricing, dict) else {}
    return Offer(
        id=_label(entry.get("id")),
        type=_label(entry.get("type")),
        input_price=_tiers(pricing.get("input")),
        output_price=_tiers(pricing.get("output")),
        retired_at=_label(entry["retired_at"]) if entry.get("retired_at") else None,
        successor=_label(entry["successor"]) if entry.get("successor") else None,
        thresholds=_thresholds(pricing.get("thresholds")),
        aliases=_aliases(entry),
    )


def _label(said: object) -> str:
    """What the gateway calls something, as one short line that a terminal shows and does not obey."""
    return shortened(printable(str(said)[:1000]), 100)


def _tiers(prices: object) -> list[float] | None:
    """One price for each tier; None for anything that is no list of numbers that can be prices."""
    if not isinstance(prices, list) or not all(map(_is_price, prices)):
        return None
    return prices


def _thresholds(said: object) -> list[int]:
    numbers = isinstance(said, list) and all(type(number) is int and number > 0 for number in said)
    return sorted(said) if numbers and isinstance(said, list) else []


def _aliases(entry: Mapping[str, Any]) -> list[str]:
    """Further names that mean this model."""
    said = entry.get("aliases")
    names = [_label(name) for name in said[:_MOST_ALIASES]] if isinstance(said, list) else []
    return [*names, f"{_label(entry.get('provider'))}/{_label(entry.get('model_id'))}"]


def _is_price(price: object) -> bool:
    return isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price < 1e9


def _prices(tiers: list[float] | None) -> str:
    return ", ".join(f"{price:g}" for price in tiers) if tiers else "–"
