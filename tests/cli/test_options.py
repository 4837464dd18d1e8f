"""Options that several commands share."""

from __future__ import annotations

from collections import defaultdict

import click

from opper_batch.cli import commands
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
