from __future__ import annotations

import pytest
from client_rig import KEY, Stub, says

from opper_batch.client.offers import offers
from opper_batch.errors import Refused, RunStopped


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPPER_API_KEY", raising=False)


def test_the_models_of_all_pages_are_listed_in_order(stub: Stub) -> None:
    pages = [[{"id": f"m/{page}-{entry}", "type": "llm"} for entry in range(2)] for page in range(3)]
    stub.on("/v3/models", *(says(200, {"models": page, "total": 6}) for page in pages))
    assert [offer.id for offer in offers(stub.url)] == [entry["id"] for page in pages for entry in page]
    assert len(stub.seen) == 3


def test_without_a_total_the_listing_ends_at_an_empty_page(stub: Stub) -> None:
    stub.on("/v3/models", says(200, {"models": [{"id": "m/1"}, "not a model"]}), says(200, {"models": []}))
    assert [offer.id for offer in offers(stub.url)] == ["m/1"]


@pytest.mark.parametrize("key", ["", KEY])
def test_the_key_goes_along_only_when_there_is_one(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPPER_API_KEY", key)
    stub.on("/v3/models", says(200, {"models": []}))
    assert offers(stub.url) == []
    assert stub.seen[0].headers.get("authorization") == (f"Bearer {key}" if key else None)


def test_prices_of_any_shape_are_read_or_left_out(stub: Stub) -> None:
    prices = [{"input": [3, 6.5], "output": [15]}, {"input": "3", "output": [None]}, [], None]
    stub.on(
        "/v3/models", says(200, {"models": [{"id": "m", "pricing": price} for price in prices], "total": 4})
    )
    assert [offer.price for offer in offers(stub.url)] == ["3, 6.5 / 15", "– / –", "– / –", "– / –"]


def test_a_gateway_that_wants_another_key_refuses(stub: Stub) -> None:
    stub.on("/v3/models", says(401, {"error": "invalid bearer token"}))
    with pytest.raises(Refused, match="invalid bearer token"):
        offers(stub.url)


@pytest.mark.parametrize("answer", [says(500), says(200, "<html>"), says(302), says(200, "[]")])
def test_a_gateway_that_does_not_list_them_is_a_sentence(stub: Stub, answer: object) -> None:
    stub.on("/v3/models", answer)
    with pytest.raises(RunStopped, match="no list of models from"):
        offers(stub.url)
