"""``status --watch``: the same as ``status``, again every second for as long as something runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opper_batch.text import printable

if TYPE_CHECKING:
    from opper_batch.runs import Status

_EVERY_SECONDS = 1.0


def watched(look: Callable[[], Sequence[Status]]) -> None:
    """Show what ``look`` gives until nothing runs any more, or Ctrl-C: the run is none the wiser."""
    from rich.live import Live
    from rich.text import Text

    with _until_ctrl_c(), Live(auto_refresh=False) as shown:
        while True:
            found = look()
            text = "\n".join(printable(str(entry)) for entry in found) or "no pipeline has run here yet"
            shown.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)
            if not any(entry.running for entry in found):
                return
            time.sleep(_EVERY_SECONDS)


@contextmanager
def _until_ctrl_c() -> Iterator[None]:
    """Ctrl-C is the usual way out; the other signals, which are interrupts too, end the program."""
    try:
        yield
    except KeyboardInterrupt as error:
        if type(error) is not KeyboardInterrupt:
            raise
