"""The demo's table and its jobs: what is drawn of an answer, and that every kind of end happens."""

import os
import random
from typing import Any

import pytest
from jobtide.cli.ask.pictures import Picture
from jobtide.cli.ask.screen import drawn
from jobtide.cli.demo import table, work
from rich.console import Console


def item(**changes: Any) -> dict[str, Any]:
    """A class row as /v1/classes gives it."""
    none = {"count": 0, "p50": None, "p90": None, "p95": None, "p99": None, "max": None}
    return {
        "system": "rq", "queue": "q", "job_class": "shop.jobs.mail.Send", "in_flight": 2, "waiting": None, "finished": 90,
        "failed": 5, "retried": 4, "dead": 0, "failure_rate": 5 / 95, "wait_ms": none,
        "run_ms": none | {"count": 95, "p50": 12.0, "p95": 55.0, "max": 60.0}, **changes,
    }  # fmt: skip


def test_a_row_has_a_text_for_every_heading() -> None:
    row = dict(zip(table.HEADINGS, table.row(item()), strict=True))
    assert row == {
        "system": "rq", "queue": "q", "class": "mail.Send", "running": "2", "waiting": "-", "done/min": "95",
        "failed": "5", "retried": "4", "dead": "0", "wait p95": "-", "run p50": "12 ms", "run p95": "55 ms",
        "run max": "60 ms",
    }  # fmt: skip


def test_attention_is_worst_first_and_silent_when_all_is_well() -> None:
    assert table.attention([item()]) == []
    slow = item(job_class="slow", run_ms={"p50": 600.0, "p95": 700.0, "max": 20_000.0})
    failing = item(job_class="failing", failed=30, failure_rate=0.25)
    dead = item(job_class="dead", dead=2)
    few = item(job_class="few", finished=1, failed=1, failure_rate=0.5)
    assert table.attention([slow, few, failing, dead]) == [
        "rq dead: 2 out of tries in the last minute",
        "rq failing: 25% of 120 attempts failed",
        "rq slow: one ran 20 s where 600 ms is usual",
    ]


def test_the_headline_says_how_much_was_seen() -> None:
    answer = {"complete_until": "2026-11-22T05:28:41.370197Z", "completeness": {"ratio": 0.99987}}
    assert table.headline(answer) == "last minute, up to 05:28:41 UTC · 99.99% of numbered events seen"
    assert "nothing numbered yet" in table.headline({"complete_until": None, "completeness": None})


def test_every_kind_of_end_happens_in_some_class(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = [*work.CELERY.values(), *work.RQ.values()]
    ends: list[str] = []
    naps: list[float] = []
    monkeypatch.setattr(work.time, "sleep", naps.append)
    monkeypatch.setattr(os, "kill", lambda pid, how: ends.append("died"))
    dice = random.Random(7)
    monkeypatch.setattr(work.random, "Random", lambda: dice)
    for profile in profiles:
        for _ in range(500):
            try:
                work.perform(profile)
                ends.append("finished")
            except (work.CorruptImageError, work.GatewayTimeoutError) as error:
                ends.append(type(error).__name__)
    assert set(ends) == {"finished", "died", "CorruptImageError", "GatewayTimeoutError"}
    assert work.HANG_S in naps
    assert ends.count("finished") > len(ends) / 2


def test_chances_are_met() -> None:
    """A class that fails eight times in a hundred does so, and not the kinds it has no chance for."""
    profile = work.Profile(run_s=0.0, fails=0.08)
    failed = 0
    for _ in range(3000):
        try:
            work.perform(profile)
        except work.CorruptImageError:
            failed += 1
    assert 150 < failed < 340


def test_on_a_narrow_terminal_whole_columns_go_and_none_is_cut() -> None:
    long = item(job_class="warehouse.recalculate_all", system="celery", queue="warehouse-bulk")
    picture = Picture(table.HEADINGS, [table.row(long)]).fitted(80)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(drawn(picture, 80))
    assert "…" not in captured.get()
    assert {"class", "running", "failed", "dead", "wait p95", "run p95"} <= set(picture.headings)
    assert picture.below == ["not shown in 80 columns: retried, run max, run p50, system, queue, waiting"]
    assert Picture(table.HEADINGS, [table.row(long)]).fitted(160).headings == table.HEADINGS
