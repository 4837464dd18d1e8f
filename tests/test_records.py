from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from opper_batch.records import Call, Outcome, Usage


def test_unknown_usage_is_not_zero() -> None:
    assert Usage() + Usage() == Usage(None, None, None)
    assert Usage(0.0, 0, 0) + Usage() == Usage(0.0, 0, 0)
    assert Usage().tokens is None


def test_usage_adds_up_what_is_known() -> None:
    assert Usage(0.25, 10, None) + Usage(None, 5, 2) == Usage(0.25, 15, 2)
    assert Usage(None, 10, None).tokens == 10
    assert Usage(None, 10, 3).tokens == 13


def test_an_outcome_is_ok_exactly_when_it_has_no_error() -> None:
    assert Outcome(b"k", error=None).ok
    assert not Outcome(b"k", error="").ok


def test_what_travels_cannot_be_changed_on_the_way() -> None:
    with pytest.raises(FrozenInstanceError):
        Call(b"k", b"{}").key = b"other"  # type: ignore[misc]
