"""Draws the demo's table from the API: in place on a terminal, as plain lines every few seconds anywhere else."""

from __future__ import annotations

import http.client
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobtide.cli import identity
from jobtide.cli.ask.pictures import Picture
from jobtide.cli.ask.screen import drawn
from jobtide.cli.demo.table import HEADINGS, attention, headline, row
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

_EVERY_S = 1.0
_PLAIN_EVERY_S = 5.0
_NOTES = 3
_NUMBERS_FROM = 3  # the first column that is a number


def run(url: str, notes: Path | None) -> None:
    """Draw for ever. `notes`: a file whose last lines (restarts of processes) are shown below the table."""
    console = Console()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            _each(url, _EVERY_S, lambda answer: live.update(_picture(answer, notes, console.width), refresh=True))
    else:
        _each(url, _PLAIN_EVERY_S, _print_plain)


def _each(url: str, every_s: float, show: Callable[[dict[str, Any]], None]) -> None:
    while True:
        answer = ask(url)
        # Until the first rows are there it looks often, so that they are seen when they come.
        if answer is not None and answer["items"]:
            show(answer)
            time.sleep(every_s)
        else:
            time.sleep(0.25)


def ask(url: str) -> dict[str, Any] | None:
    """The classes of the last minute; None when there is no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/v1/classes?last=1m&limit=50", headers=identity.headers())
        reply = connection.getresponse()
        body = reply.read()
        return dict(json.loads(body)) if reply.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _picture(answer: dict[str, Any], notes: Path | None, width: int) -> Group:
    table = Picture(HEADINGS, [row(item) for item in answer["items"]], [headline(answer)], numbers=frozenset(HEADINGS[_NUMBERS_FROM:]))
    lines = [Text(f"! {line}", style="yellow") for line in attention(answer["items"])]
    return Group(drawn(table, width), *lines, *(Text(line, style="dim") for line in _tail(notes)))


def _print_plain(answer: dict[str, Any]) -> None:
    print(headline(answer))  # noqa: T201  # what this process is for
    for item in answer["items"]:
        print("  " + "  ".join(f"{heading} {text}" for heading, text in zip(HEADINGS, row(item), strict=True)))  # noqa: T201
    for line in attention(answer["items"]):
        print(f"  ! {line}", flush=True)  # noqa: T201


def _tail(notes: Path | None) -> list[str]:
    if notes is None or not notes.exists():
        return []
    with notes.open(errors="replace") as file:
        return [line.rstrip() for line in deque(file, _NOTES)]
