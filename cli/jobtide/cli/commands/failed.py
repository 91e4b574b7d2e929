"""`jobtide failed`: attempts that failed, newest first."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@click.option("--dead", is_flag=True, help="Only jobs with no tries left.")
@click.option("--error-class", help="Only this class of error.")
@click.option("--worker", "worker_id", help="Only what this worker ran.")
@flags.last
@flags.selection
@flags.limit
@flags.as_json
@target
def command(url: str, as_json: bool, dead: bool, **params: str | int | None) -> None:
    """Failed attempts with their errors, newest first (default: all that history holds)."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api

    answer = Api(url).get("/v1/jobs", {"state": "dead" if dead else "failed", **params})
    screen.show(answer, [] if as_json else [pictures.page(answer, pictures.FAILED_COLUMNS, "nothing failed")], as_json)
