"""`jobtide stuck`: attempts that are late, slow, lost or run twice, now."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@click.option("--verdict", type=click.Choice(["late", "slow", "lost", "duplicate"]), multiple=True, help="Only these; may be repeated.")
@click.option("--severity", type=click.Choice(["low", "medium", "high", "critical"]), multiple=True, help="Only these; may be repeated.")
@flags.selection
@flags.limit
@flags.as_json
@target
def command(url: str, as_json: bool, **params: object) -> None:
    """What is stuck now, the longest first, with what to do next."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api

    answer = Api(url).get("/v1/stuck", params)
    screen.show(answer, [] if as_json else [pictures.page(answer, pictures.STUCK_COLUMNS, "nothing is stuck")], as_json)
