"""The only truth: every outcome by its key, durable before anything relies on it.

``Ledger`` is the one writer, ``View`` what everybody else reads through, ``ledger.sql`` the tables.
"""

from opper_batch.ledger.faults import holds_something
from opper_batch.ledger.findings import findings, kept_report, report_before
from opper_batch.ledger.journal import Journal
from opper_batch.ledger.known import Found, Known
from opper_batch.ledger.sampling import Paid, paid, prices, sample
from opper_batch.ledger.view import RunRecord, Totals, View
from opper_batch.ledger.writer import Ledger

__all__ = [
    "Found",
    "Journal",
    "Known",
    "Ledger",
    "Paid",
    "RunRecord",
    "Totals",
    "View",
    "findings",
    "holds_something",
    "kept_report",
    "paid",
    "prices",
    "report_before",
    "sample",
]
