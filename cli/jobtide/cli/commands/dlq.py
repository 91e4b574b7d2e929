"""`jobtide dlq list` and `jobtide dlq replay`: flags and text around `jobtide.cli.dead_letters`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jobtide.cli.dead_letters import Fault, Letter

_reasons = click.option("--reason", "reasons", multiple=True, help="Only letters with this reason; may be repeated.")


@click.group()
def command() -> None:
    """List or replay dead letters: events that were refused."""


@command.command("list")
@_reasons
@click.option("--samples", type=click.IntRange(0, 1000), default=3, show_default=True, help="Newest examples per reason.")
def list_letters(reasons: tuple[str, ...], samples: int) -> None:
    """Count refused events by reason and show examples."""
    import asyncio

    from jobtide.cli.dead_letters import summary
    from jobtide.cli.options import start

    total = asyncio.run(summary(start(), reasons, samples))
    click.echo(f"{sum(total.events.values())} refused events in {total.letters} letters")
    for reason, count in total.events.most_common():
        click.echo(f"{reason}: {count}")
        for letter, fault in total.samples[reason]:
            click.echo(f"  {_described(letter, fault)}")


@command.command()
@_reasons
@click.option("--dry-run", is_flag=True, help="Say what would be sent, send nothing.")
def replay(reasons: tuple[str, ...], dry_run: bool) -> None:
    """Send refused events again that the contract accepts now, after a fix.

    The bytes are the original ones; doing it twice changes nothing.
    """
    import asyncio

    from jobtide.cli.dead_letters import replay as send_again
    from jobtide.cli.options import start

    done = asyncio.run(send_again(start(), reasons, dry_run))
    click.echo(f"{done.sent} events {'would be sent' if dry_run else 'sent'} to job.events")
    for reason, count in done.still_refused.most_common():
        click.echo(f"{count} still refused: {reason}")


def _described(letter: Letter, fault: Fault) -> str:
    at = datetime.fromtimestamp(letter.at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    start = letter.value[:100].decode(errors="backslashreplace")
    return f"{at}  job.events {letter.key}[{fault.index}]  {fault.detail}  {start!r}"
