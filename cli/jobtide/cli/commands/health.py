"""`jobtide health`: prints what `jobtide.cli.checks` finds; exit code 1 if something is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import click
from jobtide.cli.up.data import DEFAULT, read_addresses


@click.command()
@click.option("--url", help="Address of the running jobtide.  [default: of the `up` on --data, else port 8321]")
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="Directory of that `up`.")
def command(url: str | None, data: Path) -> None:
    """Say what works and what does not. Exit code 0 if everything does."""
    import asyncio
    import logging

    from jobtide.cli.checks import all_findings
    from jobtide.streams.settings import load

    logging.disable()  # clients complain at length of what the report says in a line
    addresses = read_addresses(data)
    settings = load(
        os.environ,
        broker=addresses.get("broker"),
        redis_url=addresses.get("redis"),
        clickhouse_url=addresses.get("clickhouse"),
    )
    url = url or addresses.get("http", f"http://{settings.http_host}:{settings.http_port}")
    findings = asyncio.run(all_findings(settings, url))
    for finding in findings:
        click.echo(f"{'ok ' if finding.good else 'BAD'} {finding.what}: {finding.detail}")
    if not all(finding.good for finding in findings):
        raise SystemExit(1)
