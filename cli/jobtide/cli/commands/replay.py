"""`jobtide replay FILE`: reads its flags and shows progress; `jobtide.cli.replay` does the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from jobtide.cli.options import target

if TYPE_CHECKING:
    from jobtide.cli.replay.file import EventFile
    from jobtide.cli.replay.post import Outcome

_SHOWN = 10
_PLAIN_EVERY_S = 5.0


@click.command()
@click.argument("file")
@click.option("--live/--history", default=True, help="Live (default): new jobs that happen now. History: as they were.")
@click.option("--speed", type=click.FloatRange(min=0.001), default=1.0, help="Live only: times faster than the file.")
@click.option("--run", "name", help="Live only: go on with an interrupted run; nothing is counted twice.")
@target
def command(file: str, live: bool, speed: float, name: str | None, url: str) -> None:
    """Play FILE (JSON lines of events, .gz too, - for standard input) into a running jobtide.

    --live makes new jobs of the events: times are moved to now and, like all durations, divided by --speed.
    --history keeps their times and ids and marks them as backfill: live numbers do not change, a repetition is
    stored once.
    """
    from jobtide.cli.replay.file import opened
    from jobtide.cli.replay.play import play_history, play_live
    from jobtide.cli.replay.retime import run_name
    from jobtide.streams.errors import TransientError

    name = name or run_name(time.time_ns() // 1000)
    begun = time.monotonic()
    with opened(file) as events, _progress(events) as watch:
        try:
            total = play_live(events, url, name, speed, watch) if live else play_history(events, url, watch)
        except (TransientError, KeyboardInterrupt) as ended:
            again = f"--live --speed {speed:g} --run {name}" if live else "--history"
            click.echo(f"\ninterrupted ({str(ended) or 'Ctrl-C'}); go on with: jobtide replay {file} {again}", err=True)
            raise SystemExit(1) from None
    took_s = time.monotonic() - begun
    click.echo(f"{total.accepted} events accepted in {took_s:.1f} s, {len(total.refused)} refused")
    for number, reason, detail in total.refused[:_SHOWN]:
        click.echo(f"  line {number}: {reason}: {detail}", err=True)
    if total.refused:
        raise SystemExit(1)


@contextmanager
def _progress(file: EventFile) -> Iterator[Callable[[Outcome], None]]:
    """A bar where there is a terminal, else a line every few seconds."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.fields[counted]}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=file.total_bytes or None, counted="0 events")

        def watch(total: Outcome) -> None:
            bar.update(task, completed=file.read_bytes, counted=f"{total.accepted} events")

        yield watch


def _plain_lines() -> Callable[[Outcome], None]:
    next_s = time.monotonic() + _PLAIN_EVERY_S

    def watch(total: Outcome) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _PLAIN_EVERY_S
            click.echo(f"{total.accepted} events accepted", err=True)

    return watch
