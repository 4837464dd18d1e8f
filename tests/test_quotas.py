"""What headers say of limits, and what they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opper_batch.quotas import Quota, Quotas, duration, policy_rate


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ('"default";q=600;w=60', 10.0),
        ('"burst";q=100;w=1, "minute";q=600;w=60', 10.0),
        ('"minute";q=600;w=60, "day";q=1000;w=86400', 10.0),
        ("600;w=60", 10.0),
        ("600, 600;w=60", 10.0),
        ("10;w=1, 50;w=60", 50 / 60),
        ('"bytes";q=1000;w=60;qu="content-bytes"', None),
        ('"default";q=600', None),
        ("600", None),
        ("600;w=0", None),
        ("600;w=-1", None),
        ("0;w=60", None),
        ("1;w=300", None),
        ("1000;w=86400", None),
        ("999999999999;w=1", None),
        ("9" * 5000 + ";w=60", None),
        ("nan;w=60", None),
        ("", None),
    ],
)
def test_a_policy_counts_when_its_window_is_stated_and_both_make_sense(
    value: str, rate: float | None
) -> None:
    assert policy_rate({"ratelimit-policy": value}) == rate
    assert Quotas().heard({"ratelimit-policy": value}) == (Quota(requests=rate) if rate else None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("2m", 120), ("7", 7), ("0.5", 0.5)]
    + [("1m20ms", 60.02)]
    + [(text, None) for text in ("", "s", "soon", "-1s", "1d", "1s2m", "9" * 40 + "s", "\x00")],
)
def test_durations_are_read_as_they_are_written(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


def bucket(kind: str, limit: float, used: float, window: float) -> dict[str, str]:
    reset = used / limit * window
    parts = {"limit": f"{limit:.0f}", "remaining": f"{limit - used:.0f}", "reset": f"{1000 * reset:.0f}ms"}
    return {f"x-ratelimit-{part}-{kind}": text for part, text in parts.items()}


@pytest.mark.parametrize("kind", ["requests", "tokens"])
@pytest.mark.parametrize("window", [1.0, 60.0])
def test_two_replies_betray_how_long_a_bucket_takes_to_fill(kind: str, window: float) -> None:
    quotas = Quotas()
    assert quotas.heard(bucket(kind, 3000, 100, window)) is None
    assert quotas.heard(bucket(kind, 3000, 100, window)) is None
    assert quotas.heard(bucket(kind, 3000, 150, window)) == Quota(**{kind: 3000 / window})
    assert quotas.heard(bucket(kind, 3000, 200, window)) is None
    assert quotas.heard(bucket(kind, 6000, 400, window)) == Quota(**{kind: 6000 / window})


def test_a_days_quota_and_a_fixed_window_are_not_taken_for_a_pace() -> None:
    quotas = Quotas()
    for used in (10, 20, 600, 601):
        assert quotas.heard(bucket("requests", 14_400, used, 86_400)) is None
    for used in range(1, 500):
        fixed = {"limit": "600", "remaining": str(600 - used), "reset": f"{60 - used / 10:.1f}s"}
        assert quotas.heard({f"x-ratelimit-{part}-requests": text for part, text in fixed.items()}) is None


def test_a_bare_limit_says_nothing() -> None:
    quotas = Quotas()
    for left in range(100):
        headers = {"x-ratelimit-limit": "600", "x-ratelimit-remaining": str(left), "x-ratelimit-reset": "60"}
        assert quotas.heard(headers) is None


def test_a_gateway_that_says_nothing_is_seldom_looked_at_and_may_begin_to_speak() -> None:
    quotas = Quotas()
    for _ in range(1000):
        assert quotas.heard({"content-type": "application/json"}) is None
    said = [quotas.heard({"ratelimit-policy": "600;w=60"}) for _ in range(60)]
    assert said.count(Quota(requests=10.0)) == 1


@given(
    st.dictionaries(st.sampled_from(["ratelimit-policy", "ratelimit-limit", "x-ratelimit-limit"]), st.text())
)
def test_no_policy_raises_or_is_absurd(headers: dict[str, str]) -> None:
    rate = policy_rate(headers)
    assert rate is None or 0.1 <= rate <= 1e6


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=4))
def test_no_headers_raise_or_are_absurd(replies: list[tuple[str, str, str]]) -> None:
    quotas = Quotas()
    for limit, left, reset in replies:
        names = (f"x-ratelimit-{part}-requests" for part in ("limit", "remaining", "reset"))
        quota = quotas.heard(dict(zip(names, (limit, left, reset), strict=True)))
        assert quota is None or (quota.requests is not None and 0.1 <= quota.requests <= 1e6)
