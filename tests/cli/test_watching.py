"""``status --watch``: Ctrl-C is its way out; other signals end the program as they end every command."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from opper_batch.cli.signals import HungUp, Terminated
from opper_batch.cli.watching import watched
from opper_batch.runs import Status


@pytest.mark.parametrize("interrupt", [Terminated, HungUp])
def test_a_signal_that_is_not_ctrl_c_keeps_its_exit_code(interrupt: type[KeyboardInterrupt]) -> None:
    def look() -> Sequence[Status]:
        raise interrupt

    with pytest.raises(interrupt):
        watched(look)


def test_ctrl_c_is_a_way_out() -> None:
    def look() -> Sequence[Status]:
        raise KeyboardInterrupt

    watched(look)
