"""`jobtide why QUEUE`: what made the jobs of a queue wait."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@click.argument("queue")
@flags.last
@click.option("--tenant", help="Only this tenant.")
@click.option("--environment", help="Only this environment.")
@click.option("--system", help="Only this system.")
@flags.as_json
@target
def command(url: str, as_json: bool, **params: str | None) -> None:
    """Why the jobs of QUEUE waited (default: in the last hour): the verdict, its evidence, and the other causes."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api

    answer = Api(url).get("/v1/why-slow", params)
    screen.show(answer, [] if as_json else [pictures.why(answer)], as_json)
