from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.seen import Numbers, Seen


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.close()


def digest(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_first_of_equals_is_new_and_the_others_are_repeated_within_a_batch(seen: Seen) -> None:
    assert seen.add([digest(1), digest(2), digest(1), digest(1)]) == [False, False, True, True]


def test_what_an_earlier_batch_held_is_repeated(seen: Seen) -> None:
    seen.add([digest(1), digest(2)])
    assert seen.add([digest(2), digest(3), digest(3)]) == [True, False, True]
    assert len(seen) == 3


def test_none_is_nobody_and_never_repeated(seen: Seen) -> None:
    assert seen.add([None, None, digest(1)]) == [False, False, False]
    assert seen.add([None]) == [False]
    assert len(seen) == 1


def test_an_empty_batch_is_nothing(seen: Seen) -> None:
    assert seen.add([]) == []
    assert len(seen) == 0


def test_batches_larger_than_one_look_up_are_remembered_whole(seen: Seen) -> None:
    many = [digest(number) for number in range(20_001)]
    assert not any(seen.add(many))
    assert all(seen.add(many[::-1]))
    assert len(seen) == 20_001


@settings(max_examples=50)
@given(st.lists(st.lists(st.none() | st.integers(0, 9).map(digest), max_size=12), max_size=6))
def test_it_says_what_a_set_in_memory_would_say(batches: list[list[bytes | None]]) -> None:
    seen, known = Seen(), set[bytes]()
    for batch in batches:
        expected = []
        for entry in batch:
            expected.append(entry in known)
            known |= {entry} if entry is not None else set()
        assert seen.add(batch) == expected
    assert len(seen) == len(known)
    seen.close()


def test_a_digest_that_is_new_in_one_part_of_a_large_batch_is_new_once(seen: Seen) -> None:
    many = [digest(number % 9_000) for number in range(30_000)]
    assert seen.add(many) == [False] * 9_000 + [True] * 21_000


def test_numbers_are_remembered_in_a_bit_each() -> None:
    numbers = Numbers()
    assert numbers.add([0, 7, None, 8, 7, None]) == [False, False, False, False, True, False]
    assert numbers.add([1_000_000, 8, 9, 0]) == [False, True, False, True]
    assert numbers.add([]) == []
    assert numbers.size <= 125_001


@settings(max_examples=50)
@given(st.lists(st.lists(st.none() | st.integers(0, 40), max_size=12), max_size=6))
def test_numbers_say_what_a_set_in_memory_would_say(batches: list[list[int | None]]) -> None:
    numbers, known = Numbers(), set[int]()
    for batch in batches:
        expected = []
        for entry in batch:
            expected.append(entry in known)
            known |= {entry} if entry is not None else set()
        assert numbers.add(batch) == expected
