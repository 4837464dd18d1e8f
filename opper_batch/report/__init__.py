"""What runs did: outcomes -> numbers -> text, JSON and one HTML page. Pure: it reads what it is given.

Only ``summary`` and ``words`` are imported with the package; columns and pages are for who asks for them.
"""

from opper_batch.report.summary import (
    Counts,
    Report,
    Summary,
    failures_by_reason,
    summary_text,
    totals_text,
)
from opper_batch.report.words import duration, money

__all__ = [
    "Counts",
    "Report",
    "Summary",
    "duration",
    "failures_by_reason",
    "money",
    "summary_text",
    "totals_text",
]
