from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opper_batch.text import printable, shortened


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb", "a\\rb"),
        ("\x9b2J", "\\x9b2J"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_its_escape(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


def test_ordinary_text_of_any_language_is_left_as_it_is() -> None:
    text = "Grüße, 日本語, עברית, emoji 👩‍👩‍👧, a\ttab and\na line"
    assert printable(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_printable_text_can_be_written_anywhere_and_stays_as_it_is(text: str) -> None:
    once = printable(text)
    once.encode()
    assert printable(once) == once
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in once)


def test_long_text_is_cut_to_one_line_with_a_sign_that_it_was() -> None:
    assert shortened("  a\n b\t\tc  ") == "a b c"
    assert shortened("x" * 300) == "x" * 300
    assert shortened("x" * 301) == "x" * 299 + "…"
    assert shortened("abcdef", 3) == "ab…"
