"""`jobtide job ID`: the story of one job."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@click.argument("job_id")
@flags.selection
@click.option("--limit", type=click.IntRange(1, 1000), default=500, show_default=True, help="Most events.")
@flags.as_json
@target
def command(url: str, job_id: str, as_json: bool, **params: str | int | None) -> None:
    """Every attempt and event of the job JOB_ID, over all queues and backends that used it."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api, path_of

    answer = Api(url).get(path_of("v1", "jobs", job_id, "timeline"), params)
    screen.show(answer, [] if as_json else pictures.job(answer), as_json)
