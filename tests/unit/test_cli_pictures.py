"""Tables of the asking commands: text of events cannot steer a terminal, and a stream's rows are kept right."""

from typing import Any

from jobtide.cli.ask.api import Event
from jobtide.cli.ask.pictures import FAILED_COLUMNS, Picture, table
from jobtide.cli.ask.screen import drawn
from jobtide.cli.ask.top import Board
from rich.console import Console

STATS = {"count": 1, "p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0}


def printed(picture: Picture) -> str:
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(drawn(picture, 200))
    return captured.get()


def test_names_and_messages_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07[bold red]\r\n\u202e\x9b31m"
    item = {
        "at": "2026-11-22T04:00:00.000000Z", "queue": evil, "job_class": evil, "job_id": evil, "attempt": 1, "dead": False,
        "error": {"class": evil, "message": evil},
    }  # fmt: skip
    shown = printed(table([item], FAILED_COLUMNS))
    assert not set("\x1b\x07\r\x9b\u202e") & set(shown)
    assert "[bold red]" in shown  # as it is written, not as markup


def row(job_class: str, failed: int) -> dict[str, Any]:
    counts = dict.fromkeys(("finished", "started", "in_flight", "waiting", "dead"), 0)
    return {
        "tenant": "t", "environment": "e", "system": "s", "queue": "q", "job_class": job_class, "failed": failed, "failure_rate": None,
        "wait_ms": STATS, "run_ms": STATS, **counts,
    }  # fmt: skip


def event(name: str, *rows: dict[str, Any], gone: list[list[str]] | None = None) -> Event:
    head = {"range": {"from": "2026-11-22T04:00:00Z", "to": "2026-11-22T04:01:00Z", "last": "1m"}, "source": "live"}
    return Event(name, "b:1", {**head, "classes": list(rows), "queues": [], "workers": [], "removed": {"classes": gone or []}})


def test_a_board_replaces_removes_and_forgets() -> None:
    board = Board()
    board.take(event("snapshot", row("A", 1), row("B", 2)))
    board.take(event("delta", row("A", 5)))
    assert [cells[1] for cells in board.picture("failed", 10).rows] == ["A", "B"]
    assert board.picture("failed", 1).below == ["and 1 more"]
    board.take(event("delta", gone=[["t", "e", "s", "q", "A"]]))
    assert [key[4] for key in board.rows] == ["B"]
    board.take(Event("reset", "b:2", {"reason": "too long ago"}))
    assert not board.rows
