"""What a hostile gateway answers, and what has to come of it: a reason for the row, or exactly that value."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

from raw_gateway import Said

FINE = {"note": "as it should be", "score": 0.5, "count": 7, "extra": None}
META = {"cost": 0.001, "usage": {"input_tokens": 9, "output_tokens": 9}, "models_used": ["m/one"]}
MEGABYTE = b" " * (1 << 20)
# What would retitle the window, clear the screen, hide or colour text, ring, go back, turn the line around.
CODES = "\x1b]0;owned\x07\x1bc\x1b[48;2;6;6;6m\x9b31m\x08\x7f\r\u202eevil\u2066\u2028"
MARKUP = "[red]red[/] [/] [link=https://evil.example]here[/link] [bold"
FORMULA = "=cmd|' /C calc'!A0"


def says(code: int, said: Any, **headers: str) -> Said:
    """``said`` as JSON, or as it is when it is text."""
    return Said(code, said.encode() if isinstance(said, str) else json.dumps(said).encode(), headers)


def answer(**fields: Any) -> Said:
    return says(200, {"data": FINE | fields, "meta": META})


def text(**spelled: str) -> Said:
    """An answer whose fields are spelled as JSON by hand."""
    fields = {name: json.dumps(value) for name, value in FINE.items()} | spelled
    inside = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return says(200, f'{{"data":{{{inside}}},"meta":{json.dumps(META)}}}')


def packed(size: int) -> Said:
    return Said(200, gzip.compress(b'{"data":"' + bytes(size) + b'"}', 9), {"Content-Encoding": "gzip"})


def two_gigabytes(code: int) -> Said:
    def body() -> Iterator[bytes]:
        yield b'{"data": {"note": "'
        for _ in range(2048):
            yield MEGABYTE

    return Said(code, body)


NO_JSON = "the gateway's answer is not JSON"
TOO_LARGE = "the gateway's answer is larger than 16 MB"

# What a row gets, and the reason that it has to have then: a sentence, or a pattern.
FAILING: dict[str, tuple[Said, str]] = {
    "gzip bomb": (packed(300 << 20), NO_JSON),
    "two gigabytes": (two_gigabytes(200), TOO_LARGE),
    "two gigabytes of refusal": (two_gigabytes(400), r'400 \{"data": \{"note": "'),
    "two gigabytes of a 202": (two_gigabytes(202), "the gateway's answer is larger than 1 MB"),
    "nested": (text(extra="[" * 100_000 + "]" * 100_000), NO_JSON),
    "nested objects": (text(extra='{"a":' * 100_000 + "1" + "}" * 100_000), NO_JSON),
    "nested in text": (
        answer(extra="[" * 100_000 + "]" * 100_000),
        "answer does not fit: extra: should be JSON written as text",
    ),
    "nested and cut": (says(200, '{"data":' + "[" * 100_000), NO_JSON),
    "nested refusal": (says(400, "[" * 100_000), r"400 \[{290,}…"),
    "digits": (text(score="1" * 10_000), NO_JSON),
    "digits of a count": (text(count="-" + "9" * 10_000), NO_JSON),
    "as many digits as are read": (
        text(count="9" * 4_300),
        "answer does not fit: count: should be at most .*",
    ),
    "many digits for a double": (
        text(score="9" * 4_300),
        "answer does not fit: score: should be a .*number.*",
    ),
    "exponent": (text(score="1e999999999"), "answer does not fit: score: should be a .*number.*"),
    "nan": (text(score="NaN"), NO_JSON),
    "infinity": (text(score="-Infinity"), NO_JSON),
    "surrogate": (text(note='"\\ud800"'), NO_JSON),
    "surrogates turned around": (text(note='"\\udc00\\ud800"'), NO_JSON),
    "surrogate in a name": (text(**{"\\udfff": "1"}), NO_JSON),
    "nul": (text(note='"\x00"'), NO_JSON),
    "nuls": (Said(200, bytes(5000)), NO_JSON),
    "not utf-8": (Said(200, b'{"data":{"note":"\xff\xfe"}}'), NO_JSON),
    "utf-16": (Said(200, '{"data":{"note":"a"}}'.encode("utf-16")), NO_JSON),
    "codes in a name": (answer(**{CODES: 1}), "answer does not fit: answer: has an unknown field"),
    "a long name": (answer(**{"x" * 5_000_000: 1}), "answer does not fit: answer: has an unknown field"),
    "codes in a refusal": (
        says(400, {"error": f"no {CODES}!"}),
        r"400 no \\x1b\]0;owned\\x07\\x1bc.*evil.*!",
    ),
    "codes beside it": (says(422, f"no {CODES}!"), r"422 no \\x1b\]0;owned\\x07\\x1bc.*!"),
    "markup in a refusal": (says(400, {"error": {"message": MARKUP}}), "400 " + re.escape(MARKUP)),
    "nuls in a refusal": (says(400, {"message": "a\x00b"}), r"400 a\\x00b"),
    "a long refusal": (says(404, {"detail": "no " * 300_000}), "404 (no ){98,}n?o?…"),
    "a refusal that is cut": (says(404, {"detail": "no " * 1_000_000}), r'404 \{"detail": "(no ){90,}n?o?…'),
    "digits in a refusal": (says(400, f'{{"error": {{"message": {"7" * 10_000}}}}}'), "400 .{290,}…"),
    "html": (says(200, f"<html>{CODES}"), "the gateway's answer is a page of HTML"),
    "a list": (says(200, "[" + "{}," * 1000 + "{}]"), "the gateway's answer is not a JSON object"),
    "no data": (says(200, {"message": CODES}), r"the gateway's answer has no data, it says: \\x1b.*evil.*"),
    "a redirect": (says(308, "", location="https://evil.example"), "308: the gateway redirects, .*"),
}

# What a row gets that is odd and still fits, and what the table has to hold then: exactly that.
FITTING: dict[str, tuple[Said, dict[str, Any]]] = {
    "codes": (answer(note=CODES), {"note": CODES}),
    "markup": (answer(note=MARKUP), {"note": MARKUP}),
    "formula": (answer(note=FORMULA), {"note": FORMULA}),
    "escaped nul": (text(note='"a\\u0000b"'), {"note": "a\0b"}),
    "sql": (answer(note="'); DROP TABLE calls; --"), {"note": "'); DROP TABLE calls; --"}),
    "a path": (answer(note="../../../../etc/passwd"), {"note": "../../../../etc/passwd"}),
    "float digits": (text(score="0." + "3" * 10_000), {"score": 1 / 3}),
    "a pair of surrogates": (text(note='"\\ud83d\\ude00"'), {"note": "😀"}),
    "twice the same name": (
        says(200, '{"data":{"note":"a","note":"b","score":1,"count":1,"extra":null}}'),
        {"note": "b"},
    ),
    "codes around it": (
        says(200, {"data": FINE, "meta": META | {"models_used": [CODES], "trace_uuid": CODES + MARKUP}}),
        FINE,
    ),
    "markup around it": (says(200, {"data": FINE, "meta": META | {"models_used": [MARKUP]}}), FINE),
    "digits around it": (
        says(200, f'{{"data":{json.dumps(FINE)},"meta":{{"cost":{"9" * 4_000}}}}}'),
        FINE,
    ),
}
