from __future__ import annotations

import pytest

from opper_batch.sandbox.catalog import cost_of, listing
from opper_batch.sandbox.refusals import Refusal


def test_the_list_comes_in_pages_of_fifty_that_make_up_the_whole() -> None:
    first = listing({})
    assert (len(first["models"]), first["offset"], first["limit"]) == (50, 0, 50)
    second = listing({"offset": "50"})
    assert first["total"] == second["total"] == 50 + len(second["models"]) > 50
    together = [model["id"] for model in first["models"] + second["models"]]
    assert together == [model["id"] for model in listing({"limit": "500"})["models"]]
    assert len(set(together)) == len(together)


def test_filters_narrow_the_list() -> None:
    assert {model["type"] for model in listing({"type": "embedding"})["models"]} == {"embedding"}
    assert {model["provider"] for model in listing({"provider": "anthropic"})["models"]} == {"anthropic"}
    assert all("sonnet" in model["id"] for model in listing({"q": "SONNET"})["models"])
    both = listing({}, ["vision,pdf", "reasoning"])["models"]
    assert both
    assert all({"vision", "pdf", "reasoning"} <= set(model["capabilities"]) for model in both)
    assert listing({"q": "no such model"})["models"] == []


def test_a_retired_model_names_its_successor() -> None:
    (retired,) = listing({"deprecated": "true"})["models"]
    assert retired["retired_at"] < "2026-02"
    assert retired["successor"] in {model["id"] for model in listing({"limit": "500"})["models"]}
    assert listing({"deprecated": "false"})["total"] == listing({})["total"] - 1


def test_sorting_goes_both_ways() -> None:
    up = [model["id"] for model in listing({"sort": "id", "limit": "500"})["models"]]
    assert up == sorted(up)
    assert [model["id"] for model in listing({"order": "desc", "limit": "500"})["models"]] == up[::-1]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"offset": "-1"}, {"sort": "price"}]
)
def test_a_query_that_makes_no_sense_is_a_400(query: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refused:
        listing(query)
    assert refused.value.status == 400


def test_a_call_costs_its_tokens_at_the_price_listed() -> None:
    (model,) = [model for model in listing({"q": "gpt-4o-mini"})["models"] if model["provider"] == "openai"]
    price = model["pricing"]
    expected = (1000 * price["input"][0] + 200 * price["output"][0]) / 1e6
    assert cost_of("openai/gpt-4o-mini", 1000, 200) == pytest.approx(expected, rel=1e-12)


def test_tiers_apply_above_their_threshold_and_an_alias_has_its_models_price() -> None:
    assert cost_of("anthropic/claude-sonnet-4.6", 200_000, 0) == pytest.approx(0.6)
    assert cost_of("anthropic/claude-sonnet-4.6", 200_001, 0) == pytest.approx(1.200006)
    assert cost_of("anthropic/claude-sonnet-4-6", 1000, 10) == cost_of(
        "anthropic/claude-sonnet-4.6", 1000, 10
    )


def test_an_unlisted_model_has_a_default_price() -> None:
    assert cost_of("acme/none", 1_000_000, 1_000_000) == pytest.approx(5.0)
