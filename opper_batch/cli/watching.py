"""``status --watch``: the same as ``status``, again every second for as long as something runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from opper_batch.text import printable

if TYPE_CHECKING:
    from opper_batch.runs import Status

_EVERY_SECONDS = 1.0


def watched(look: Callable[[], Sequence[Status]]) -> None:
    """Show what ``look`` gives until nothing runs any more, or Ctrl-C: the run is none the wiser."""
    from rich.live import Live
    from rich.text import Text

    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as shown:
        while True:
            found = look()
            text = "\n".join(printable(str(entry)) for entry in found) or "no pipeline has run here yet"
            shown.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)
            if not any(entry.running for entry in found):
                return
            time.sleep(_EVERY_SECONDS)
