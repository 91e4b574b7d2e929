"""`jobtide mcp`: the MCP server over standard input and output, for an assistant that starts its servers itself."""

from __future__ import annotations

import click
from jobtide.cli.options import target


@click.command()
@target
def command(url: str) -> None:
    """Let an assistant ask a running jobtide (Model Context Protocol over stdin and stdout). Its tools only read."""
    from jobtide.cli.ask.assistant import run

    run(url)
