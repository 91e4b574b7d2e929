"""`jobtide top`: classes as they change, drawn in place."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target


@click.command()
@click.option("--last", type=click.Choice(["1m", "5m", "15m", "1h"]), default="1m", show_default=True, help="The window of the rows.")
@click.option("--sort", type=click.Choice(["busy", "failed", "waiting", "wait", "run"]), default="busy", show_default=True, help="What is on top.")
@click.option("--once", is_flag=True, help="One picture, then end.")
@click.option("--json", "as_json", is_flag=True, help="The events of the stream, one a line.")
@flags.selection
@target
def command(url: str, last: str, sort: str, once: bool, as_json: bool, **params: str | None) -> None:
    """The job classes of a live window as they change; Ctrl-C ends it."""
    from jobtide.cli.ask import top

    top.run(url, {"last": last, **params}, sort, once, as_json)
