"""Options that several commands share."""

from __future__ import annotations

from collections import defaultdict

import click
import pytest

from opper_batch.cli import commands
from opper_batch.cli.options import Duration
from opper_batch.grace import GRACE_SECONDS
from opper_batch.runs import Options


def test_an_option_is_spelled_alike_wherever_it_is() -> None:
    spelled: dict[str, set[str]] = defaultdict(set)
    for verb, command in commands.commands.items():
        for option in command.params:
            if isinstance(option, click.Option) and verb != "sandbox":  # its settings are a script's texts
                takes = f"{option.name} {option.type!r} {option.metavar} {option.default}"
                spelled[option.opts[0]].add(takes)
    assert len(spelled) > 20
    assert {name: ways for name, ways in spelled.items() if len(ways) > 1} == {}


def test_calls_in_flight_have_as_long_from_a_shell_as_from_a_script() -> None:
    grace = next(option for option in commands.commands["run"].params if option.name == "grace")
    context = click.Context(commands.commands["run"])
    assert grace.type_cast_value(context, grace.get_default(context)) == Options().grace == GRACE_SECONDS


@pytest.mark.parametrize(
    ("said", "seconds"), [("90s", 90), ("1.5m", 90), ("2 h", 7_200), ("30d", 2_592_000), ("0", 0), ("0m", 0)]
)
def test_a_duration_is_a_number_and_its_unit(said: str, seconds: float) -> None:
    assert Duration().convert(said, None, None) == seconds


def test_a_number_without_its_unit_is_nobodys_seconds() -> None:
    with pytest.raises(click.BadParameter) as refused:
        Duration().convert("3", None, None)
    said = "'3' says no unit; write 3s (seconds), 3m (minutes), 3h (hours) or 3d (days)"
    assert refused.value.message == said
