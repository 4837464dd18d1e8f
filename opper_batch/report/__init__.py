"""What runs did: outcomes -> numbers -> text, JSON and one HTML page. Pure: it reads what it is given.

Only ``summary`` is imported with the package; columns and pages are for those who ask for them.
"""

from opper_batch.report.summary import (
    Counts,
    Report,
    Summary,
    duration,
    failures_by_reason,
    money,
    summary_text,
    totals_text,
)

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
