"""Totals, rows, steps' values and what snapshots mean: without any store."""

import asyncio
import random

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.query import history_rows, live_rows
from jobtide.query.answers import Now, numbers
from jobtide.query.brief import Brief
from jobtide.query.hot_series import Series
from jobtide.query.measures import COUNTS, Totals, merged, percentiles_ms
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.readers import Group
from jobtide.query.rows import slowest
from jobtide.query.selection import Selection
from jobtide.query.series_values import seconds_points, value_points
from jobtide.query.steps import Steps
from jobtide.streams.sketches import histogram
from jobtide.streams.snapshots import (
    HistogramSnapshot,
    LedgerSnapshot,
    ProgressSnapshot,
    SeriesSnapshot,
    SourceProgress,
    WindowSnapshot,
    WorkerSnapshot,
)

from tests.fakes.job_world import exact_quantile

samples = st.lists(st.integers(0, 10**10), max_size=60)
counts = st.integers(0, 1000)
totals = st.builds(
    Totals,
    *[counts] * len(COUNTS),
    samples.map(histogram.of), samples.map(histogram.of), samples.map(histogram.of),
)  # fmt: skip


@given(st.lists(totals, max_size=5), st.randoms())
def test_merging_is_adding_in_any_order(parts: list[Totals], shuffle: random.Random) -> None:
    whole = merged(parts)
    shuffled = list(parts)
    shuffle.shuffle(shuffled)
    assert merged(shuffled) == whole
    for name in COUNTS:
        assert getattr(whole, name) == sum(getattr(p, name) for p in parts)
    assert histogram.count(whole.run) == sum(histogram.count(p.run_ok) + histogram.count(p.run_failed) for p in parts)


@given(st.lists(samples, min_size=1, max_size=4))
def test_percentiles_of_merged_parts_are_those_of_all_values(parts: list[list[int]]) -> None:
    values = sorted(v for part in parts for v in part)
    found = percentiles_ms(merged(Totals(wait=histogram.of(part)) for part in parts).wait)
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        if not values:
            assert found[name] is None
            continue
        wanted_ms = exact_quantile(values, q) / 1000
        value = found[name]
        assert value is not None
        assert abs(value - wanted_ms) <= 0.01 * wanted_ms


def test_rates_divide_by_what_they_say() -> None:
    t = Totals(finished=6, failed=2, cancelled=3, discarded=1)
    row = numbers(t, None, 60)
    assert row["failure_rate"] == 0.25
    assert row["throughput_per_s"] == 0.2
    assert row["in_flight"] is row["waiting"] is None
    assert numbers(Totals(), Now(), 0)["throughput_per_s"] is numbers(Totals(), Now(), 0)["failure_rate"] is None


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("finished", [3.0, 0.0, 0.0]),
        ("throughput", [0.4, 0.0, 0.2]),
        ("failure_rate", [0.25, None, 1.0]),
        ("run_p50", [pytest.approx(2, rel=0.01), None, pytest.approx(7, rel=0.01)]),
        ("run_max", [pytest.approx(9, rel=0.01), None, pytest.approx(7, rel=0.01)]),
    ],
)
def test_every_step_has_a_value_and_the_open_one_is_divided_by_its_part(metric: str, wanted: list[float | None]) -> None:
    steps = Steps(Range(0, 30 * SECOND_US), 10)
    found = {
        0: Totals(finished=3, failed=1, run_ok=histogram.of([1000, 2000, 9000]), run_failed=histogram.of([2000])),
        20 * SECOND_US: Totals(failed=1, run_failed=histogram.of([7000])),
    }
    assert value_points(found, steps, metric, 25 * SECOND_US) == wanted


def test_seconds_are_added_to_steps() -> None:
    steps = Steps(Range(100 * SECOND_US, 106 * SECOND_US), 2)
    found = {100: (3, 1), 101: (1, 0), 105: (2, 2), 99: (9, 9)}
    assert seconds_points(found, steps, "throughput") == [2.0, 0.0, 1.0]
    assert seconds_points(found, steps, "failed") == [1.0, 0.0, 2.0]


def test_the_slowest_are_ranked_by_p95_and_those_without_waits_left_out() -> None:
    groups = [Group((name,), Totals(wait=histogram.of(waits)), 1, 1) for name, waits in (("a", [5]), ("b", []), ("c", [9, 9]), ("d", [7]))]
    assert [g.key for g in slowest(groups, 2)] == [("c",), ("d",)]


@given(
    st.lists(st.sampled_from("abc"), min_size=5, max_size=5), st.lists(st.sampled_from([None, "a", "b"]), min_size=5, max_size=5), st.integers(0, 5)
)
def test_a_selection_matches_the_parts_a_key_has(key: list[str], wanted: list[str | None], depth: int) -> None:
    selected = Selection(*wanted).matches(tuple(key[:depth]))
    assert selected == all(w is None or w == k for w, k in list(zip(wanted, key, strict=True))[:depth])


def test_complete_is_what_the_slowest_partition_says_and_unknown_while_one_does_not_know() -> None:
    def told(partition: int, until: int, watermark: int) -> ProgressSnapshot:
        return ProgressSnapshot(partition, until, {"0": SourceProgress(watermark, "active"), "10": SourceProgress(3, "idle")}, 4, 2)

    found = live_rows.progress([told(0, 50, 70), told(1, 40, 60)])
    assert (found.watermark_us, found.complete_until_us, found.late_dropped, found.rejected) == (70, 40, 4, 2)
    assert [(p.partition, p.state) for p in found.partitions] == [(0, "active"), (10, "idle")]
    assert live_rows.progress([told(0, 50, 70), told(1, 0, 60)]).complete_until_us is None
    assert live_rows.progress([]).complete_until_us is None


def test_history_is_complete_to_the_slowest_partition_that_is_not_idle_or_not_rolled_up() -> None:
    rows = [(0, 100, 90, "active", 0), (1, 50, 50, "idle", 0), (2, 120, 95, "lagging", 0)]
    assert (history_rows.progress(rows).watermark_us, history_rows.progress(rows).complete_until_us) == (120, 90)
    assert history_rows.progress([(0, 100, 90, "idle", 0)]).complete_until_us == 90
    assert history_rows.progress([(0, 100, 100, "idle", 0), (1, 80, 80, "idle", 0)]).complete_until_us == 100
    assert history_rows.progress([]).complete_until_us is None


def _line(
    partition: int, epoch: str, received: int, missing: int, last_us: int = 0, clean: bool = False, expected: int | None = None
) -> LedgerSnapshot:
    return LedgerSnapshot(partition, epoch, "/s", "acme", "celery", received, 1, missing, 0, last_us, clean, expected)


def test_an_epoch_is_all_its_partitions_together() -> None:
    found = live_rows.epochs(
        [_line(1, "e1", 10, 1, 5, True, 11), _line(0, "e1", 20, 0, 7, True, 20), _line(0, "e0", 1, 0), _line(1, "e0", 1, 0, 0, True, 1)]
    )
    assert [key for key, _ in found] == [("acme", "celery", "e0"), ("acme", "celery", "e1")]
    e0, e1 = found[0][1], found[1][1]
    assert (e1.received, e1.missing, e1.expected, e1.clean, e1.ratio, e1.duplicates) == (30, 1, 31, True, 30 / 31, 2)
    assert (e0.expected, e0.clean) == (None, False)


def test_silent_without_goodbye_is_unclean() -> None:
    minute = 60 * SECOND_US
    lines = [_line(0, "gone", 1, 0, minute), _line(0, "here", 1, 0, 3 * minute), _line(0, "ended", 1, 0, minute, True)]
    assert live_rows.completeness(live_rows.epochs(lines), 3 * minute).unclean_epochs == 1


@pytest.mark.parametrize(
    ("status", "interval_ms", "age_s", "alive"),
    [("busy", 1000.0, 2.9, True), ("busy", 1000.0, 3.1, False), ("idle", None, 59, True), ("idle", None, 61, False), ("offline", None, 1, False)],
)
def test_a_worker_is_alive_for_three_of_its_heartbeats(status: str, interval_ms: float | None, age_s: float, alive: bool) -> None:
    worker = WorkerSnapshot("t", "e", "s", "w", status, 1_000_000 * SECOND_US, interval_ms=interval_ms)
    row = live_rows.worker(worker, 1_000_000 * SECOND_US + round(age_s * SECOND_US))
    assert (row.alive, row.heartbeat_age_ms) == (alive, pytest.approx(age_s * 1000))


async def test_what_is_asked_at_once_is_asked_once_and_errors_are_not_kept() -> None:
    now, asked = 0.0, 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if asked == 2:
            raise ValueError
        return asked

    brief: Brief[int] = Brief(1.0, lambda: now)
    first = asyncio.create_task(brief.get("k", ask))
    await asyncio.sleep(0)
    second = asyncio.create_task(brief.get("k", ask))
    await asyncio.sleep(0)
    first.cancel()  # the other one must not lose its answer
    assert await second == 1
    assert await brief.get("k", ask) == 1
    now = 1.0
    with pytest.raises(ValueError):
        await brief.get("k", ask)
    assert await brief.get("k", ask) == 3
    assert await brief.get("other", ask) == 4


def test_a_series_is_read_as_it_is_written() -> None:
    """The lazy form of the mirror and the contract's own struct hold the same."""
    h = HistogramSnapshot(2, 30, [(-1, 1), (170, 1)])
    window = WindowSnapshot(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, h, HistogramSnapshot(1, 5, [(80, 1)]), HistogramSnapshot(0, 0, []))
    written = SeriesSnapshot("t", "e", "s", "q", "c", 99, 1, 2, None, {"1m": window}, [(60, 2, 1)])
    read = msgspec.json.decode(msgspec.json.encode(written), type=Series)
    assert (read.tenant, read.job_class, read.at, read.in_flight, read.waiting, read.oldest_waiting_us) == ("t", "c", 99, 1, 2, None)
    assert read.seconds() == [(60, 2, 1)]
    assert read.windows["1m"].totals() == Totals(3, 4, 5, 6, 7, 8, 9, 10, 11, {-1: 1, 170: 1}, {80: 1}, {}, 30, 5, 0)
    assert (read.windows["1m"].from_us, read.windows["1m"].to_us, read.windows["1m"].busy) == (1, 2, True)


def test_snapshots_of_a_newer_writer_are_understood() -> None:
    text = orjson.dumps({"partition": 0, "complete_until": 1, "sources": {}, "live_late_dropped": 0, "new": 1})
    assert msgspec.json.decode(text, type=ProgressSnapshot).complete_until == 1
