"""What the tables say of attempts and minutes equals what the stream's facts say: for any order, repetition, cut and crash, on both engines."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jobtide.sinks.clickhouse.migrate import prepare
from jobtide.streams.events import Kind
from jobtide.streams.folds.attempts import (
    FAILED,
    FINISHED,
    STARTED,
    AttemptFacts,
    AttemptKey,
    Outcome,
    contributions,
    run_us,
    start_us,
    wait_us,
)
from jobtide.streams.settings import Settings
from jobtide.streams.sketches import histogram

from tests.fakes.history_log import SteppedWriter, log_of
from tests.properties.searching import searching
from tests.properties.test_sinks_moves import add_facts, delays, in_append_order, moving_events

COUNTS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "dead", "retried")  # in the order of the fields
UNCOUNTED = (Kind.HEARTBEAT, Kind.PROGRESS)


@pytest.fixture
def migrated(history_settings: Settings) -> Settings:
    """A database with the schema; every example leaves it empty."""
    prepare(history_settings)
    return history_settings


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


_SUMS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead", "negative_waits")
_SUMS_US = ("wait_sum_us", "run_ok_sum_us", "run_failed_sum_us")
_HISTOGRAMS = ("wait_hist", "run_ok_hist", "run_failed_hist")
_SERIES = "tenant, environment, system, queue, job_class"
HOURS = f"SELECT {_SERIES}, toUnixTimestamp(hour) AS h, {', '.join((*_SUMS, *_SUMS_US, *_HISTOGRAMS))} FROM rollup_hours ORDER BY {_SERIES}, h"
HOURS_OF_MINUTES = (
    f"SELECT {_SERIES}, toUnixTimestamp(toStartOfHour(minute)) AS h, {', '.join(f'sum({name})' for name in (*_SUMS, *_SUMS_US))},"
    f" {', '.join(f'sumMap({name})' for name in _HISTOGRAMS)} FROM rollups GROUP BY {_SERIES}, h ORDER BY {_SERIES}, h"
)


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


many = st.lists(st.tuples(moving_events(), delays, st.none() | delays), min_size=12, max_size=40)
steps = st.lists(
    st.sampled_from(["commit"] * 5 + ["recompute"] * 3 + ["mark", "executions", "rows", "rows", "unfinished", "crash", "merge"]),
    min_size=8,
    max_size=25,
)


# No shrinking, and few examples: each takes a tenth of a second on a quiet machine, seconds on a busy one, on both engines.
@hypothesis_settings(searching(15), suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(drawn=many, plan=steps, remembered=st.sampled_from([2, 4, 1000]), size=st.integers(1, 7))
def test_any_history_of_the_writer_gives_the_same_history(migrated: Settings, drawn: list[Any], plan: list[str], remembered: int, size: int) -> None:
    log = in_append_order(drawn)
    writer = SteppedWriter(migrated, log_of(log, migrated.partitions), remembered)
    try:
        _walk(writer, plan, size)
        known: dict[AttemptKey, AttemptFacts] = {}
        for _, event in log:
            add_facts(known, event)
        assert executions(writer) == {key: expected_execution(facts) for key, facts in known.items()}
        assert rollups(writer) == minutes_of(known)
        assert writer.rows(HOURS) == writer.rows(HOURS_OF_MINUTES)
    finally:
        writer.forget_all()


def _walk(writer: SteppedWriter, plan: list[str], size: int) -> None:
    """The steps of `plan`, then whatever is left until everything is written and recomputed."""
    for step in plan:
        if step == "recompute":
            writer.recompute()
        elif step == "unfinished":
            writer.recompute(finish=False)
            writer.crash()
        elif step == "merge":
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
