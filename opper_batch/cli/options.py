"""Options that several commands share, each spelled once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

if TYPE_CHECKING:
    from opper_batch.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., Any])

pipeline_argument = click.argument("path", metavar="PIPELINE", type=click.Path(dir_okay=False))


class Duration(click.ParamType[float]):
    """``90s``, ``30m``, ``2h``, ``30d``: seconds. A number alone could be any of them; only 0 is the same."""

    name = "duration"
    _SECONDS: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip())
        if not match:
            self.fail(f"{value!r} is no duration; write it like 90s, 30m, 2h or 30d", param, ctx)
        number, unit = match.groups()
        if not unit and float(number):
            ways = f"{number}s (seconds), {number}m (minutes), {number}h (hours) or {number}d (days)"
            self.fail(f"{value!r} says no unit; write {ways}", param, ctx)
        return float(number) * self._SECONDS[unit or "s"]


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator; ``--help`` lists them in this order."""

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


_state_dir_option = click.option(
    "--state-dir", metavar="DIR", help="Where ledgers lie (or OPPER_BATCH_HOME) [.opper_batch]."
)

# Which gateway's answers are meant, over which rows, and where state lies.
place_options = _together(
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows."),
    click.option("--source", metavar="PATH", help="Read these rows instead."),
    click.option("--since", metavar="VALUE", help="Rows from VALUE on, in the column of source.since."),
    click.option("--all", "all_rows", is_flag=True, help="Every row, whatever source.since says."),
    click.option(
        "--sandbox", is_flag=True, help="Synthetic answers from an embedded gateway; no key needed."
    ),
    click.option("--base-url", metavar="URL", help="The gateway (or OPPER_BASE_URL)."),
    _state_dir_option,
)
# Which runs are meant, for those who only look at them or steer them.
ledger_options = _together(
    click.option("--sandbox", is_flag=True, help="The sandbox's runs."), _state_dir_option
)
# Which of the rows that were asked before are asked again.
asking_options = _together(
    click.option(
        "--retry-failed/--no-retry-failed", default=True, show_default=True, help="Ask failed rows again."
    ),
    click.option("--refresh", is_flag=True, help="Ask every row anew, whatever is known."),
    click.option("--max-age", type=Duration(), metavar="TIME", help="Ask anew what is older (12h, 30d)."),
)
concurrency_option = click.option(
    "--concurrency", type=click.IntRange(min=1), metavar="N", help="Calls in flight at most."
)
rpm_option = click.option(
    "--rpm",
    "requests_per_minute",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Requests per minute at most.",
)
sink_option = click.option("--sink", metavar="PATH", help="Write the result there instead.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, as the last line."
)


def max_cost_option(meaning: str) -> Callable[[Command], Command]:
    """A cap in USD; what it holds for differs."""
    return click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help=meaning)


def load(path: str) -> Pipeline:
    """The pipeline of the argument PIPELINE."""
    from opper_batch.pipeline import load

    return load(path)


def name_of(path: str) -> str:
    """The name of that pipeline: to look at its ledger takes no more, and to load all of it takes a while.

    Whatever does not say it plainly is loaded, which says what is wrong with it.
    """
    if path.endswith(".toml"):
        with suppress(OSError, ValueError):
            name = tomllib.loads(Path(path).read_text("utf-8-sig")).get("name")
            if isinstance(name, str) and re.fullmatch(r"\w+", name, re.ASCII):
                return name
    return load(path).name
