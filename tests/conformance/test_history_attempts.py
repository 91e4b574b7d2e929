"""What the tables say of attempts and minutes equals what the stream's facts say: for any order, repetition, cut and crash, on both engines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jobtide.sinks.clickhouse.migrate import prepare
from jobtide.streams.events import Kind, decode, time_us
from jobtide.streams.folds.attempts import (
    FAILED,
    FINISHED,
    STARTED,
    AttemptFacts,
    AttemptKey,
    Outcome,
    contributions,
    facts_of,
    join,
    run_us,
    start_us,
    wait_us,
)
from jobtide.streams.settings import Settings
from jobtide.streams.sketches import histogram

from tests.fakes.history_log import SteppedWriter, log_of
from tests.proof.job_events import SECOND, value_of
from tests.properties.searching import searching
from tests.properties.test_attempts import job_events

COUNTS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "dead", "retried")  # in the order of the fields
UNCOUNTED = (Kind.HEARTBEAT, Kind.PROGRESS)
databases = iter(range(10**9))


def facts_by_attempt(events: Iterable[dict[str, Any]]) -> dict[AttemptKey, AttemptFacts]:
    """The reference: `facts_of` and `join`, one event after the other."""
    known: dict[AttemptKey, AttemptFacts] = {}
    for raw in events:
        event = decode(value_of(raw))[0]
        if event.kind in UNCOUNTED:
            continue
        for key, facts in facts_of(event.kind, event.data, event.time_us):  # type: ignore[arg-type]
            known[key] = join(known[key], facts) if key in known else facts
    return known


def minutes_of(known: dict[AttemptKey, AttemptFacts]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """(tenant, environment, system, queue, class, minute) → what `rollups` should hold: counts, negative waits, histograms, sums."""
    counts: defaultdict[tuple[Any, ...], Counter[int]] = defaultdict(Counter)
    samples: defaultdict[tuple[Any, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for key, facts in known.items():
        for c in contributions(facts):
            place = (*key[:4], facts.job_class, c.time_us // 60_000_000 * 60)
            counts[place][c.field] += 1
            if c.sample_us is not None:
                samples[place][c.field].append(c.sample_us)
    read: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for place, counted in counts.items():
        kept = [samples[place][field] for field in (STARTED, FINISHED, FAILED)]
        clipped = [[max(v, 0) for v in values] for values in kept]
        read[place] = (
            *(counted[field] for field in range(len(COUNTS))),
            sum(v < 0 for v in kept[0]),
            *(histogram.of(values) for values in clipped),
            *(sum(values) for values in clipped),
        )
    return read


def rollups(writer: SteppedWriter) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    found = writer.rows(
        f"SELECT tenant, environment, system, queue, job_class, toUnixTimestamp(minute), {', '.join(COUNTS)}, negative_waits,"
        " wait_hist, run_ok_hist, run_failed_hist, wait_sum_us, run_ok_sum_us, run_failed_sum_us FROM rollups"
    )
    assert len({row[:6] for row in found}) == len(found)
    return {row[:6]: row[6:] for row in found}


def executions(writer: SteppedWriter) -> dict[AttemptKey, tuple[Any, ...]]:
    found = writer.rows(
        "SELECT tenant, environment, system, queue, job_id, attempt, job_class, worker_id, state, toUnixTimestamp64Micro(enqueued_at),"
        " toUnixTimestamp64Micro(eligible_at), toUnixTimestamp64Micro(started_at), toUnixTimestamp64Micro(finished_at), wait_us, run_us,"
        " toUnixTimestamp64Micro(dead_at), toUnixTimestamp64Micro(retried_at) FROM executions"
    )
    assert len({row[:6] for row in found}) == len(found)
    return {AttemptKey(*row[:6]): row[6:] for row in found}


def expected_execution(f: AttemptFacts) -> tuple[Any, ...]:
    state = Outcome(f.outcome).name.lower() if f.outcome else "waiting" if start_us(f) is None else "running"
    return (
        f.job_class, f.worker_id, state, f.enqueued_us, f.eligible_us, start_us(f), f.outcome_us, wait_us(f), run_us(f), f.dead_us,
        f.retried_us,
    )  # fmt: skip


def fresh(settings: Settings) -> Settings:
    """A database for one example."""
    settings = replace(settings, clickhouse_database=f"{settings.clickhouse_database}_{next(databases)}")
    prepare(settings)
    return settings


# An event is appended when it happens or a while later; the second number repeats it later still.
delays = st.sampled_from([0, 0, 0, 1, 90, 600])
appended = st.lists(st.tuples(job_events(), delays, st.none() | delays), min_size=1, max_size=25)
steps = st.lists(
    st.sampled_from(["commit"] * 6 + ["recompute"] * 3 + ["mark", "executions", "rows", "unfinished", "crash", "optimize"]), max_size=25
)


def _log(drawn: list[tuple[dict[str, Any], int, int | None]]) -> list[tuple[int, dict[str, Any]]]:
    log = []
    for number, (event, delay_s, again_s) in enumerate(drawn):
        event["id"] = f"event-{number:012d}"
        at_us = time_us(event["time"]) + delay_s * SECOND
        log.append((at_us, event))
        if again_s is not None:
            log.append((at_us + again_s * SECOND, event))
    return sorted(log, key=lambda pair: pair[0])


# The fixture only names an engine: every example has a database of its own. Making one takes too long for hypothesis to shrink a failure.
@hypothesis_settings(searching(25), suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(drawn=appended, plan=steps, remembered=st.sampled_from([2, 4, 1000]), size=st.integers(1, 7))
def test_any_history_of_the_writer_gives_the_same_history(
    history_settings: Settings, drawn: list[Any], plan: list[str], remembered: int, size: int
) -> None:
    settings = fresh(history_settings)
    log = _log(drawn)
    writer = SteppedWriter(settings, log_of(log, settings.partitions), remembered)
    try:
        _walk(writer, plan, size)
        known = facts_by_attempt(event for _, event in log)
        assert executions(writer) == {key: expected_execution(facts) for key, facts in known.items()}
        assert rollups(writer) == minutes_of(known)
    finally:
        writer.drop()


def _walk(writer: SteppedWriter, plan: list[str], size: int) -> None:
    """The steps of `plan`, then whatever is left until everything is written and recomputed."""
    for step in plan:
        if step == "recompute":
            writer.recompute()
        elif step == "unfinished":
            writer.recompute(finish=False)
            writer.crash()
        elif step == "optimize":
            writer.merge_parts()
        elif step == "crash":
            writer.crash()
        elif not writer.done:
            writer.step(size, step)
            if step != "commit":
                writer.crash()
    while not writer.done:
        writer.step(size)
    writer.recompute()
    assert not any(owned.dirty.pending() for owned in writer.owned.values())
