"""What the sandbox was asked, request by request, so that a test can judge a client from the other side.

A record holds digests of what was sent, never the content, and the names of headers, never a value.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any

from opper_batch.errors import MachineError


@dataclass(slots=True)
class Record:
    """One request. Times are seconds since 1970; digests are BLAKE2b-128 in hexadecimal.

    ``input_digest`` is over the input's compact JSON with its keys in the order sent, and is None where
    there is no input. ``status`` 0 is a connection closed without an answer. ``paid`` says whether an answer
    was produced, and ``cost`` what it cost in USD, arrived or not. ``fault`` is what the script did.
    ``in_flight`` counts the calls being answered when this one came, itself included.
    """

    number: int
    method: str
    path: str
    arrived: float
    headers: tuple[str, ...]
    in_flight: int = 0
    answered: float = 0.0
    status: int = 0
    function: str | None = None
    body_digest: str | None = None
    input_digest: str | None = None
    paid: bool = False
    cost: float | None = None
    fault: str = ""

    @property
    def is_call(self) -> bool:
        return self.method == "POST" and self.path.endswith("/call")


_FIELDS = tuple(field.name for field in fields(Record))


def _plain(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _FIELDS}


class Journal:
    """The records of the latest ``limit`` requests in order of answering, and totals over all of them.

    With ``path`` every record is also appended there as a line of JSON, before its answer leaves. Reading is
    safe from any thread.
    """

    def __init__(self, path: str | Path | None = None, *, limit: int = 100_000) -> None:
        self.requests = 0
        self.paid = 0
        self.spent = 0.0
        self.high_water = 0
        self._records: deque[Record] = deque(maxlen=limit)
        self._lock = Lock()
        self._file = None
        if path is not None:
            try:
                # Unbuffered: a line has left for the kernel when write returns, whatever happens to us then.
                self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise MachineError(f"The journal {path} cannot be written: {error.strerror}.") from error

    def add(self, record: Record) -> None:
        line = None if self._file is None else json.dumps(_plain(record)).encode() + b"\n"
        with self._lock:
            self._records.append(record)
            self.requests += 1
            self.high_water = max(self.high_water, record.in_flight)
            if record.paid:
                self.paid += 1
                self.spent += record.cost or 0.0
            if self._file is not None and line is not None:
                self._file.write(line)

    @property
    def records(self) -> tuple[Record, ...]:
        with self._lock:
            return tuple(self._records)

    @property
    def calls(self) -> tuple[Record, ...]:
        """The records of calls alone, without polls, downloads and listings."""
        return tuple(record for record in self.records if record.is_call)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self._records)

    def summary(self, last: int | None = None) -> dict[str, Any]:
        """Totals and the ``last`` records (all that are kept by default), ready for JSON."""
        records = self.records
        shown = records if last is None else records[len(records) - min(last, len(records)) :]
        return {
            "synthetic": True,
            "requests": self.requests,
            "paid": self.paid,
            "spent": self.spent,
            "in_flight_high_water": self.high_water,
            "records": [_plain(record) for record in shown],
        }

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
