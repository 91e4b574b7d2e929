"""`jobtide top`: follows `/v1/live`, keeps its rows, draws them. The stream is absolute: a row that comes replaces the old one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import click
from jobtide.cli.ask.api import Api, Event
from jobtide.cli.ask.pictures import CLASS_COLUMNS, Picture, headline, table
from jobtide.cli.ask.screen import PLAIN_WIDTH, drawn
from jobtide.streams.errors import TransientError
from rich.console import Console
from rich.live import Live

Key = tuple[str, ...]
PARTS = ("tenant", "environment", "system", "queue", "job_class")
ORDERS: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "busy": lambda row: float(row["finished"] + row["failed"] + row["started"] + (row["in_flight"] or 0)),
    "failed": lambda row: float(row["failed"]),
    "waiting": lambda row: float(row["waiting"] or 0),
    "wait": lambda row: row["wait_ms"]["p95"] or 0.0,
    "run": lambda row: row["run_ms"]["p95"] or 0.0,
}
DRAW_EVERY_S = 0.2
BACK_AFTER_S = 1.0
FURNITURE = 5  # lines of the screen that are no rows
PLAIN_ROWS = 50


class Board:
    """The rows of the stream so far."""

    def __init__(self) -> None:
        self.rows: dict[Key, dict[str, Any]] = {}
        self.head: dict[str, Any] | None = None

    def take(self, event: Event) -> None:
        """A snapshot begins anew, a delta replaces, a reset forgets."""
        if event.name == "reset":
            self.rows = {}
            return
        if event.name == "snapshot":
            self.rows = {}
        self.head = {name: value for name, value in event.data.items() if name not in ("classes", "queues", "workers")}
        for row in event.data["classes"]:
            self.rows[tuple(row[name] for name in PARTS)] = row
        for key in event.data["removed"]["classes"]:
            self.rows.pop(tuple(key), None)

    def picture(self, sort: str, height: int) -> Picture:
        """The rows that fit, in order."""
        order = ORDERS[sort]
        rows = sorted(self.rows.items(), key=lambda item: (-order(item[1]), item[0]))
        hidden = len(rows) - height
        below = [f"and {hidden} more"] if hidden > 0 else [] if rows else ["nothing runs, waits or ran in this window"]
        return table([row for _, row in rows[:height]], CLASS_COLUMNS, headline(self.head) if self.head else ["waiting for numbers"], below)


def run(url: str, params: dict[str, Any], sort: str, once: bool, as_json: bool) -> None:
    """Until Ctrl-C, or for one picture. Comes back by itself when the stream breaks, but not when it never began."""
    api, board, console = Api(url), Board(), Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    if as_json or once:
        for event in api.events("/v1/live", params):
            board.take(event)
            if as_json:
                click.echo(json.dumps({"event": event.name, **event.data}, ensure_ascii=False))
            elif event.name == "snapshot":
                console.print(drawn(board.picture(sort, PLAIN_ROWS), console.width))
            if once and event.name == "snapshot":
                return
        return
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        _follow(api, params, board, lambda note: _draw(live, console, board, sort, note))


def _follow(api: Api, params: dict[str, Any], board: Board, draw: Callable[[str], None]) -> None:
    begun, next_s = False, 0.0
    while True:
        try:
            for event in api.events("/v1/live", params):
                begun = True
                board.take(event)
                if time.monotonic() >= next_s:
                    draw("")
                    next_s = time.monotonic() + DRAW_EVERY_S
        except TransientError as error:
            if not begun:
                raise
            draw(f"! {error}")
        time.sleep(BACK_AFTER_S)


def _draw(live: Live, console: Console, board: Board, sort: str, note: str) -> None:
    picture = board.picture(sort, max(3, console.height - FURNITURE))
    noted = Picture(picture.headings, picture.rows, [*picture.above, *([note] if note else [])], picture.below, picture.numbers)
    live.update(drawn(noted, console.width), refresh=True)
