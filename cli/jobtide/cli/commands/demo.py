"""`jobtide demo load|view` (hidden): the two processes of `up --demo` that are not workers."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click


@click.group(hidden=True)
def command() -> None:
    """Parts of `jobtide up --demo`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # lets the terminal be put in order


@command.command()
def load() -> None:
    """Enqueue the demo's jobs."""
    from jobtide.cli.demo.load import run

    run()


@command.command()
@click.option("--url", required=True)
@click.option("--notes", type=click.Path(path_type=Path))
def view(url: str, notes: Path | None) -> None:
    """Draw the demo's table."""
    from jobtide.cli.demo.view import run

    run(url, notes)
