"""`jobtide queues`: one row per queue, or per job class."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@click.option("--classes", is_flag=True, help="One row per job class instead.")
@flags.last
@flags.selection
@flags.limit
@flags.as_json
@target
def command(url: str, as_json: bool, classes: bool, **params: str | int | None) -> None:
    """Queues with their counts, wait and run times (default: the last 15 minutes)."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api

    answer = Api(url).get("/v1/classes" if classes else "/v1/queues", params)
    columns = pictures.CLASS_COLUMNS if classes else pictures.QUEUE_COLUMNS
    screen.show(answer, [] if as_json else [pictures.page(answer, columns, "nothing ran, waited or was enqueued")], as_json)
