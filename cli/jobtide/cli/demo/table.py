"""The demo's picture of one answer of `/v1/classes?last=1m`: rows of text, and lines on what needs attention. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEADINGS = (
    "system", "queue", "class", "running", "waiting", "done/min", "failed", "retried", "dead",
    "wait p95", "run p50", "run p95", "run max",
)  # fmt: skip
FAILURE_RATE, MIN_SAMPLES = 0.10, 10
OUTLIER = 10


def row(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts under HEADINGS for one class."""
    done = item["finished"] + item["failed"]
    counts = (item["in_flight"], item["waiting"], done, item["failed"], item["retried"], item["dead"])
    run = item["run_ms"]
    times = (item["wait_ms"]["p95"], run["p50"], run["p95"], run["max"])
    return (
        item["system"], item["queue"], short_class(item["job_class"]), *map(_count, counts), *map(_ms, times),
    )  # fmt: skip


def attention(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a person should look at, worst first: jobs without tries left, failing classes, runs beyond the usual."""
    lines: list[tuple[float, str]] = []
    for item in items:
        name = f"{item['system']} {short_class(item['job_class'])}"
        if item["dead"]:
            lines.append((3 + item["dead"], f"{name}: {item['dead']} out of tries in the last minute"))
        ended, rate = item["finished"] + item["failed"], item["failure_rate"]
        if ended >= MIN_SAMPLES and rate is not None and rate > FAILURE_RATE:
            lines.append((2 + rate, f"{name}: {rate:.0%} of {ended} attempts failed"))
        run = item["run_ms"]
        if run["p50"] and run["max"] > OUTLIER * run["p50"] and run["max"] > 1000:
            lines.append((1, f"{name}: one ran {_ms(run['max'])} where {_ms(run['p50'])} is usual"))
    return [line for _, line in sorted(lines, key=lambda found: (-found[0], found[1]))]


def short_class(name: str) -> str:
    """The last two parts of a dotted name, which is what tells classes apart on a screen.

    >>> short_class("jobtide.cli.demo.warehouse.sync_stock"), short_class("mail.send")
    ('warehouse.sync_stock', 'mail.send')
    """
    return ".".join(name.split(".")[-2:])


def headline(answer: Mapping[str, Any]) -> str:
    """How far the numbers have come and what they have seen."""
    seen = answer.get("completeness") or {}
    ratio = seen.get("ratio")
    complete = "nothing numbered yet" if ratio is None else f"{ratio:.2%} of numbered events seen"
    return f"last minute, up to {(answer.get('complete_until') or '-')[11:19]} UTC · {complete}"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _ms(value: float | None) -> str:
    """A duration for people.

    >>> _ms(None), _ms(0.4), _ms(12.3), _ms(1500.0), _ms(75_000.0)
    ('-', '0.4 ms', '12 ms', '1.5 s', '75 s')
    """
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f} ms"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 10_000 else f"{value / 1000:.0f} s"
