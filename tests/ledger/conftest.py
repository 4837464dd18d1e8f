from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_values import begun

from opper_batch.ledger import Journal, Ledger, View


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tickets.ledger"


@pytest.fixture
def open_ledger(path: Path) -> Iterator[tuple[Ledger, Journal]]:
    ledger, journal = begun(path)
    yield ledger, journal
    ledger.close()


@pytest.fixture
def ledger(open_ledger: tuple[Ledger, Journal]) -> Ledger:
    return open_ledger[0]


@pytest.fixture
def journal(open_ledger: tuple[Ledger, Journal]) -> Journal:
    return open_ledger[1]


@pytest.fixture
def view(ledger: Ledger) -> Iterator[View]:
    with ledger.view() as view:
        yield view
