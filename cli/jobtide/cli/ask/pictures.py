"""Answers of the API as tables: headings, rows of text, and the lines above and below. Pure.

Everything an event may hold (names, messages) is made harmless for a terminal here: control characters become `·`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Item = Mapping[str, Any]
Column = tuple[str, Callable[[Item], str]]  # numbers begin with `>`
MAX_CELL = 120
GAP = 2  # between columns
SENTENCE = 30  # an error's message may be cut to this before columns go
# What a narrow terminal does without, in this order.
FIRST_TO_GO = ("retried", "run max", "next", "run p50", "failing", "worker", "limit", "severity", "system", "wait", "queue", "waiting", "tenant")


@dataclass(frozen=True)
class Picture:
    """What a command shows. `numbers`: the headings that stand to the right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    above: Sequence[str] = ()
    below: Sequence[str] = field(default_factory=tuple)
    numbers: frozenset[str] = frozenset()

    def fitted(self, width: int) -> Picture:
        """As wide as a terminal of `width` characters, if that can be: columns in the order of FIRST_TO_GO go, and a line says which.

        >>> Picture(["class", "run p50"], [["mail.send", "12 ms"]]).fitted(12)
        Picture(headings=['class'], rows=[['mail.send']], above=(), below=['not shown in 12 columns: run p50'], numbers=frozenset())
        """
        widths = {
            name: min(max(map(len, (name, *cells))), SENTENCE if name == "error" else MAX_CELL) + GAP
            for name, *cells in zip(self.headings, *self.rows, strict=True)
        }
        gone: list[str] = []
        for name in FIRST_TO_GO:
            if sum(widths.values()) - GAP <= width:
                break
            if widths.pop(name, 0):
                gone.append(name)
        if not gone:
            return self
        kept = [index for index, name in enumerate(self.headings) if name in widths]
        below = [*self.below, f"not shown in {width} columns: {', '.join(gone)}"]
        rows = [[row[index] for index in kept] for row in self.rows]
        return Picture([self.headings[index] for index in kept], rows, self.above, below, self.numbers)


def clean(text: object, limit: int = MAX_CELL) -> str:
    """Text that does nothing to a terminal, on one line.

    >>> clean("a\\x1b[2Jb\\nc"), clean(None), clean("x" * 5, 3)
    ('a·[2Jb·c', '-', 'xx…')
    """
    if text is None:
        return "-"
    shown = "".join(c if c.isprintable() else "·" for c in str(text))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def count(value: Any) -> str:
    """A number for people.

    >>> count(None), count(1234567), count(0.5)
    ('-', '1 234 567', '0.50')
    """
    if value is None:
        return "-"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.2f}"


def ms(value: float | None) -> str:
    """A duration for people.

    >>> ms(None), ms(0.4), ms(12.3), ms(1500.0), ms(75_000.0), ms(7_200_000.0)
    ('-', '0.4 ms', '12 ms', '1.5 s', '75 s', '2.0 h')
    """
    if value is None:
        return "-"
    for limit, per, unit in ((10, 1, "ms"), (1000, 1, "ms"), (10_000, 1000, "s"), (600_000, 1000, "s"), (7_200_000, 60_000, "min")):
        if abs(value) < limit:
            return f"{value / per:.1f} {unit}" if limit in (10, 10_000) else f"{value / per:.0f} {unit}"
    return f"{value / 3_600_000:.1f} h"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def clock(text: str | None) -> str:
    """A time of an answer, to the second.

    >>> clock("2026-11-22T04:00:01.500000Z"), clock(None)
    ('2026-11-22 04:00:01', '-')
    """
    return "-" if text is None else clean(text[:19].replace("T", " "))


def _of(name: str, show: Callable[[Any], str] = clean) -> Callable[[Item], str]:
    return lambda item: show(item.get(name))


def _stat(name: str, which: str) -> Callable[[Item], str]:
    return lambda item: ms(item[name][which])


_PLACE: tuple[Column, ...] = (("tenant", _of("tenant")), ("system", _of("system")), ("queue", _of("queue")))
_COUNTS: tuple[Column, ...] = (
    (">running", _of("in_flight", count)),
    (">waiting", _of("waiting", count)),
    (">finished", _of("finished", count)),
    (">failed", _of("failed", count)),
    (">dead", _of("dead", count)),
    (">failing", _of("failure_rate", percent)),
    (">wait p95", _stat("wait_ms", "p95")),
    (">run p50", _stat("run_ms", "p50")),
    (">run p95", _stat("run_ms", "p95")),
)
CLASS_COLUMNS: tuple[Column, ...] = (*_PLACE, ("class", _of("job_class")), *_COUNTS)
QUEUE_COLUMNS: tuple[Column, ...] = (
    *_PLACE,
    (">ready", lambda item: count((item.get("depth") or {}).get("ready"))),
    ("paused", lambda item: {True: "yes", False: "", None: ""}[item.get("paused")]),
    *_COUNTS,
)
FAILED_COLUMNS: tuple[Column, ...] = (
    ("at", _of("at", clock)),
    ("queue", _of("queue")),
    ("class", _of("job_class")),
    ("job", _of("job_id")),
    (">attempt", _of("attempt", count)),
    ("dead", lambda item: "dead" if item["dead"] else ""),
    ("error", lambda item: clean(f"{item['error']['class']}: {item['error']['message']}") if item.get("error") else ""),
)
ATTEMPT_COLUMNS: tuple[Column, ...] = (
    ("queue", _of("queue")),
    ("class", _of("job_class")),
    (">attempt", _of("attempt", count)),
    ("state", lambda item: clean(item["state"]) + (" (dead)" if item["dead"] else "")),
    ("started", _of("started_at", clock)),
    (">wait", _of("wait_ms", ms)),
    (">run", _of("run_ms", ms)),
    ("worker", _of("worker_id")),
    ("error", lambda item: clean(f"{item['error']['class']}: {item['error']['message']}") if item.get("error") else ""),
)
STUCK_COLUMNS: tuple[Column, ...] = (
    ("verdict", _of("verdict")),
    ("severity", _of("severity")),
    *_PLACE,
    ("class", _of("job_class")),
    ("job", _of("job_id")),
    (">attempt", _of("attempt", count)),
    (">for", _of("age_ms", ms)),
    (">limit", _of("limit_ms", ms)),
    ("worker", _of("worker_id")),
    ("next", _of("next")),
)
EVENT_COLUMNS: tuple[Column, ...] = (
    ("at", _of("at", clock)),
    ("event", _of("type")),
    (">attempt", _of("attempt", count)),
    (">since before", _of("since_previous_ms", ms)),
    ("worker", _of("worker_id")),
)


def _about(item: Item) -> str:
    """What an alert is about, by its labels."""
    labels = item["labels"]
    return clean(" / ".join(labels[name] for name in ("tenant", "system", "queue", "job_class", "worker_id") if labels.get(name)))


def _silenced(item: Item) -> str:
    return "silenced" if item.get("silenced_by") else ""


ALERT_COLUMNS: tuple[Column, ...] = (
    ("at", _of("at", clock)),
    ("state", _of("state")),
    ("severity", _of("severity")),
    ("rule", _of("rule")),
    ("about", _about),
    (">value", lambda item: "-" if item["value"] is None else f"{item['value']:.6g}"),
    ("condition", _of("condition")),
    ("began", _of("started_at", clock)),
)


def alerts(answer: Item) -> Picture:
    """What fires now."""
    below = [] if answer["items"] else ["nothing fires"]
    return table(answer["items"], (*ALERT_COLUMNS, ("", _silenced)), (), [*below, *(["there is more: raise --limit"] if answer["truncated"] else [])])


def result(answer: Item) -> Picture:
    """The rows of a SELECT."""
    headings = [clean(column["name"]) for column in answer["columns"]]
    kinds = {clean(column["name"]): column["type"].removeprefix("Nullable(") for column in answer["columns"]}
    numbers = frozenset(name for name, kind in kinds.items() if kind.startswith(("Int", "UInt", "Float", "Decimal")))
    rows = [[clean(value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False)) for value in row] for row in answer["rows"]]
    cut = ", cut off: ask for less" if answer["truncated"] else ""
    return Picture(headings, rows, (), [f"{count(len(rows))} rows{cut}, {ms(answer['elapsed_ms'])}"], numbers)


def views(answer: Item) -> Picture:
    """What can be asked."""
    rows = [[clean(view["name"]), clean(view["description"])] for view in answer["items"]]
    columns = [f"{clean(view['name'])}: {clean(', '.join(c['name'] for c in view['columns']), 2000)}" for view in answer["items"]]
    return Picture(("view", "what it holds"), rows, (), [*columns, f"functions: {clean(', '.join(answer['functions']), 20_000)}"])


def table(items: Sequence[Item], columns: Sequence[Column], above: Sequence[str] = (), below: Sequence[str] = ()) -> Picture:
    """Rows of items. A tenant or system that is the same in all of them is not worth a column."""
    kept = [c for c in columns if c[0] not in ("tenant", "system") or len({item.get(c[0]) for item in items}) > 1]
    names = [name.removeprefix(">") for name, _ in kept]
    numbers = frozenset(name[1:] for name, _ in kept if name.startswith(">"))
    return Picture(names, [[show(item) for _, show in kept] for item in items], above, below, numbers)


def headline(answer: Item) -> list[str]:
    """Which range, how far the numbers have come, what they have seen, and what is out of reach."""
    span, seen = answer["range"], answer.get("completeness") or {}
    ratio = seen.get("ratio")
    complete = "completeness unknown" if ratio is None else f"{ratio:.2%} of numbered events seen"
    about = f"last {span['last']}" if span.get("last") else f"{clock(span['from'])} to {clock(span['to'])}"
    lines = [f"{about}, complete until {clock(answer.get('complete_until'))} UTC, {complete} ({answer['source']})"]
    return lines + [f"! {clean(line, 300)}" for line in answer.get("degraded", [])]


def page(answer: Item, columns: Sequence[Column], empty: str) -> Picture:
    """A list."""
    items = answer["items"]
    below = [] if items else [empty]
    if answer.get("next_cursor"):
        below.append("there is more: raise --limit, or narrow it down")
    return table(items, columns, headline(answer), below)


def overview(answer: Item) -> Picture:
    """The installation at a glance: the sums, then the classes that fail most."""
    sums, workers = answer["totals"], answer.get("workers")
    lines = [
        *headline(answer),
        f"{count(answer['queues'])} queues, {count(answer['classes'])} classes"
        + ("" if workers is None else f", workers: {workers['alive']} of {workers['total']} alive, {workers['busy']} busy"),
        f"enqueued {count(sums['enqueued'])} · finished {count(sums['finished'])} · failed {count(sums['failed'])}"
        f" · retried {count(sums['retried'])} · dead {count(sums['dead'])} · running {count(sums['in_flight'])} · waiting {count(sums['waiting'])}",
        f"failing {percent(sums['failure_rate'])} · wait p95 {ms(sums['wait_ms']['p95'])} · run p50 {ms(sums['run_ms']['p50'])}"
        f" · run p95 {ms(sums['run_ms']['p95'])} · {count(sums['throughput_per_s'])} per second",
    ]
    slow = [
        f"slowest: {clean(q['system'])} {clean(q['queue'])}, wait p95 {ms(q['wait_ms']['p95'])}, {count(q['waiting'])} waiting"
        for q in answer["slowest_queues"]
        if q["wait_ms"]["p95"] is not None
    ]
    return table(answer["failing_classes"], CLASS_COLUMNS, lines, [*slow, *([] if answer["failing_classes"] else ["no class failed"])])


def why(answer: Item) -> Picture:
    """The verdict of why-slow, its evidence, and what else had a share."""
    verdict = f"{clean(answer['verdict'])}, confidence {percent(answer['confidence'])}"
    rows = [[clean(c["reason"]), percent(c["share"]), clean("; ".join(c["evidence"]))] for c in answer["causes"]]
    evidence = [f"  {clean(line, 300)}" for line in answer["evidence"]]
    return Picture(("cause", "share", "evidence"), rows, [*headline(answer), verdict, *evidence], (), frozenset({"share"}))


def job(answer: Item) -> list[Picture]:
    """The story of one job: its attempts, then its events."""
    about = f"{clean(answer['job_id'])}: {clean(answer['state'])}{' (dead)' if answer['dead'] else ''}, turnaround {ms(answer['turnaround_ms'])}"
    more = ["there are more events: --limit"] if answer["next_cursor"] else []
    return [table(answer["attempts"], ATTEMPT_COLUMNS, [about]), table(answer["events"], EVENT_COLUMNS, (), more)]
