"""`jobtide sql`: one SELECT over the analysts' views, by POST /v1/query."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target
from jobtide.streams.errors import ConfigError

SLOWER_S = 30.0  # a queue of analysts before us, beside what a query may take


@click.command()
@click.argument("query", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take the SQL from a file.")
@click.option("--tenant", help="Only rows of this tenant.")
@click.option("--views", is_flag=True, help="List the views and their columns instead of asking.")
@click.option("--format", "format_", type=click.Choice(["csv", "ndjson", "parquet", "arrow"]), help="The result as such a file, instead of a table.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="With --format: write it to this file, whole or not at all.")
@flags.as_json
@target
def command(
    url: str, query: str | None, file: Path | None, tenant: str | None, views: bool, format_: str | None, out: Path | None, as_json: bool
) -> None:
    """Ask a SELECT: as an argument, from --file, or (`-`) from standard input. Read-only, with limits on time, memory and rows."""
    from jobtide.cli.ask import files, pictures, screen
    from jobtide.cli.ask.api import TIMEOUT_S, Api

    if views:
        answer = Api(url).get("/v1/query/views", {"tenant": tenant})
        screen.show(answer, [] if as_json else [pictures.views(answer)], as_json)
        return
    if (format_ is None and out is not None) or (format_ is not None and as_json):
        raise ConfigError("--out needs --format" if out else "--json is the API's answer, --format a file: give one of them")
    asked = {"sql": _text(query, file)}
    api = Api(url, TIMEOUT_S + SLOWER_S)
    if format_ is not None:
        pieces = api.pieces("POST", "/v1/query", {"tenant": tenant, "format": format_}, json.dumps(asked).encode())
        files.write(pieces, out, format_)
        return
    answer = api.post("/v1/query", asked, {"tenant": tenant})
    screen.show(answer, [] if as_json else [pictures.result(answer)], as_json)


def _text(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        raise ConfigError("give the SQL once: as an argument, as - (standard input), or with --file")
    try:
        return file.read_text("utf-8") if file is not None else sys.stdin.read() if query == "-" else str(query)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the SQL cannot be read: {error}") from None
