"""One sandbox and one ledger for the whole corpus: what is asked is the same in every case."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_program import Whole

from opper_batch.sandbox import Sandbox


@pytest.fixture(scope="session")
def corpus_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def whole(here: Path, corpus_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The whole program, from files in the working folder to every sink."""
    return Whole(corpus_sandbox, known=tmp_path_factory.getbasetemp() / "known")
