"""`jobtide export`: a view of history as a file, by GET /v1/export/{view}, written as it comes."""

from __future__ import annotations

from pathlib import Path

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target
from jobtide.streams.errors import ConfigError

VIEWS = ("executions", "failed_executions", "events", "alerts", "rollups", "rollup_hours", "workers", "queue_states", "deploys")
OPENING_S = 630.0  # the embedded engine writes all of it before it sends the first byte


@click.command()
@click.argument("view", type=click.Choice(VIEWS))
@click.option("--last", help="How far back: 36h, 7d.  [default: 24h]")
@click.option("--from", "from_", help="First moment (RFC 3339), instead of --last.")
@click.option("--to", help="First moment that does not belong to it any more.  [default: now]")
@click.option("--format", "format_", type=click.Choice(["csv", "ndjson", "parquet", "arrow"]), default="csv", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format ndjson: a JSON object per row.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, whole or not at all.  [default: standard output]")
@flags.selection
@target
def command(
    url: str, view: str, last: str | None, from_: str | None, to: str | None, format_: str, as_json: bool, out: Path | None, **params: str
) -> None:
    """Export a VIEW of history: all its rows in a range, as CSV, JSON lines, Parquet or Arrow."""
    from jobtide.cli.ask import files
    from jobtide.cli.ask.api import Api

    if last is not None and (from_ is not None or to is not None):
        raise ConfigError("give --last, or --from and --to")
    chosen = "ndjson" if as_json else format_
    asked = {"last": last, "from": from_, "to": to, "format": chosen, **params}
    files.write(Api(url, OPENING_S).pieces("GET", f"/v1/export/{view}", asked), out, chosen)
