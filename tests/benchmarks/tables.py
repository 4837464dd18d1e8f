"""The tables that are measured on: 10,000 bank customers' questions, one line each in a CSV."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from tests.benchmarks.gateway import columns, intent_names
from tests.benchmarks.measured import ROOT

BANKING77 = ROOT.parent / "shared" / "data" / "banking77_train.csv"

PIPELINE = """
name = "banking"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "intent"
instructions = "Say what the customer of a bank wants, and how urgent it is."
input = ["text"]
model = "openai/gpt-4o-mini"
[steps.columns]
{columns}
[sink]
path = "out.parquet"
"""

_WORDS = (
    *("I", "my", "the", "card", "a", "is", "account", "how", "do", "to", "transfer", "money", "why", "was"),
    *("payment", "it", "not", "can", "top", "up", "you", "have", "for", "what", "been", "charged", "when"),
    *("still", "in", "need", "get", "exchange", "rate", "cash", "pending", "top-up", "declined", "help"),
)


def texts(rows: int) -> tuple[list[str], str]:
    """``rows`` different questions and where they come from: banking77, or drawn in its likeness."""
    if BANKING77.exists():
        with BANKING77.open(newline="") as file:
            found = [row["text"] for row in csv.DictReader(file)][:rows]
        if len(found) == rows:
            return found, "banking77"
    chance = random.Random(77)
    drawn = (
        f"{' '.join(chance.choices(_WORDS, k=chance.randint(4, 20)))} ({number})?" for number in range(rows)
    )
    return list(drawn), "drawn in the likeness of banking77, which is not there"


def write(folder: Path, rows: int) -> str:
    """``rows.csv``, ``next.csv`` and ``banking.toml`` in ``folder``; gives where the rows come from.

    The second table is that of the next night: as many rows, none of them in the first.
    """
    found, origin = texts(rows)
    _write(folder / "rows.csv", found)
    _write(folder / "next.csv", [f"{text} Thank you." for text in found])
    (folder / "banking.toml").write_text(PIPELINE.replace("{columns}", columns(intent_names())))
    return origin


def _write(path: Path, found: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows((f"R-{number:06}", text) for number, text in enumerate(found))
