"""`jobtide stats`: the installation, or a part of it, at a glance."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@flags.last
@flags.selection
@flags.as_json
@target
def command(url: str, as_json: bool, **params: str | None) -> None:
    """Totals, workers, the slowest queues and the classes that fail most (default: the last 15 minutes)."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api

    answer = Api(url).get("/v1/overview", params)
    screen.show(answer, [] if as_json else [pictures.overview(answer)], as_json)
