"""The commands about gateways: what one offers, and one of our own to try things on."""

from __future__ import annotations

import json

import click

from opper_batch.cli.options import json_option
from opper_batch.text import printable


@click.command()
@click.option("--base-url", metavar="URL", help="The gateway (or OPPER_BASE_URL).")
@click.option("--search", metavar="TEXT", help="Only models whose id contains TEXT.")
@json_option
def models(base_url: str | None, search: str | None, as_json: bool) -> None:
    """The models the gateway offers, with prices in USD per million tokens (in / out)."""
    from dataclasses import asdict

    from opper_batch.client.offers import offers

    found = [offer for offer in offers(base_url) if not search or search.lower() in offer.id.lower()]
    if as_json:
        click.echo(json.dumps([asdict(offer) for offer in found]))
        return
    width = max((len(offer.id) for offer in found), default=0)
    for offer in found:
        click.echo(printable(f"{offer.id:<{width}}  {offer.type:<10}  {offer.price}{offer.note}"))
    click.echo(f"{len(found)} models; prices in USD, taken to be per million tokens", err=True)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option("--journal", metavar="FILE", help="Append every request to FILE, one JSON object a line.")
@click.option("--latency", metavar="SECONDS", help="How long a call takes.")
@click.option("--rpm", metavar="N", help="Calls per minute; above it 429 with Retry-After.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any other setting of its script."
)
@click.option("--settings", "list_settings", is_flag=True, help="List what --set takes, and end.")
def sandbox(
    port: int, journal: str | None, settings: tuple[str, ...], list_settings: bool, **named: str | None
) -> None:
    """A gateway on loopback that speaks v3 and answers synthetically, for trying out and for your own CI."""
    from dataclasses import fields

    from opper_batch.sandbox import Script, serve

    if list_settings:
        for entry in fields(Script):
            click.echo(f"{entry.name}={entry.default}")
        return
    given = {name: value for name, value in named.items() if value is not None}
    script = Script.from_settings({**_pairs(settings), **given})
    serve(script, port=port, journal_path=journal, announce=click.echo)


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting}: write it as NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs
